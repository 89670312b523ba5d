"""`fetusmap calibrate`: radii, confidences and detection threshold of a model, fitted to held-out cases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from FetusMapV2Lib.cli.console import (
    DeviceOption,
    print_message,
    print_table,
    progress_bar,
    reporter,
)
from FetusMapV2Lib.cli.items import CommandItems

if TYPE_CHECKING:
    from rich.table import Table

    from FetusMapV2Lib.models.world_calibration import WorldCoverage

#: Columns of the table of worlds.
COVERAGE_HEADS = (
    "world", "cases", "ED (mm)", "unfamiliar", "in 90 % radius", "sure, > 5 mm", "ECE", "found", "doubtful",
    "found without a fetus",
)  # fmt: skip


def calibrate(
    model: Annotated[Path, typer.Argument(help="Model file; it is rewritten with its calibration.")],
    data: Annotated[
        list[Path],
        typer.Option("--data", help="Held-out cases with landmarks, some without a fetus; more than once for worlds."),
    ],
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Forget the earlier calibration (needs 10 cases); else it is moved.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Calibrate a useless model, too.")] = False,
    shift: Annotated[
        bool, typer.Option("--shift", help="Fit also where landmarks lie elsewhere than the network sees them.")
    ] = False,
    device: DeviceOption = "auto",
) -> None:
    """Fit radii, confidences and the detection threshold of a model to held-out cases.

    With several folders each is a world of its own, the model's own first: all weigh the same, and what is unlike the
    first gets wider radii.

    An earlier calibration of the model is moved by n cases in n of n + 30 parts; three are enough for that. Without
    cases that show no fetus the earlier detection threshold stays, with --fresh as well.

    With --shift landmarks are moved by as much as those of all bodies lie elsewhere than the network sees them, in
    crown-rump lengths along the axes of the body: who annotated these cases may take another place for the forehead
    than who annotated the training. Five cases are enough to begin with.

    A case that cannot be used is left out; it is named at the end, and the exit code is 2.
    """
    from FetusMapV2Lib.anatomy.landmark_shift import moved_landmarks
    from FetusMapV2Lib.evaluation.calibrating import calibrate_on_worlds

    batch = CommandItems("cases")
    with progress_bar() as bar:
        task = bar.add_task("calibrating", total=1.0)
        run_case = batch.case_runner("case")
        result = calibrate_on_worlds(
            model,
            data,
            fresh=fresh,
            force=force,
            shift=shift,
            device=device,
            on_progress=reporter(bar, task),
            run_case=run_case,
        )
    for remark in result.remarks:
        print_message(remark, "yellow")
    print_table(_coverage_table("How radii and confidences hold", result.worlds))
    if result.left_out:
        print_table(_coverage_table("... in a world that was left out of the fit", result.left_out))
    two_peaked = sum(row.two_peaked for row in result.worlds)
    if two_peaked:
        inside = sum(row.inside_either for row in result.worlds)
        print_message(f"Of {two_peaked} limb landmarks with two regions {inside} lie in one of them.")
    calibration = result.calibration
    found, doubtful = calibration.detection_threshold, calibration.least_detection_score
    print_message(
        f"Calibrated on {calibration.cases} cases; detection threshold {found:.2f}, doubtful from {doubtful:.2f}."
    )
    if shift:
        print_message(moved_landmarks(calibration.shift))
    batch.end()


def _coverage_table(title: str, rows: Sequence[WorldCoverage]) -> Table:
    from rich.table import Table

    from FetusMapV2Lib.evaluation.accuracy_table import decimal, percent

    table = Table(*COVERAGE_HEADS, title=title)
    for row in rows:
        shares = (row.inside_radius, row.sure_but_wrong, row.found, row.doubtful, row.false_found)
        inside, wrong, found, doubtful, false_found = map(percent, shares)
        table.add_row(
            row.name, str(row.cases), decimal(row.error_mm), decimal(row.unfamiliarity), inside, wrong,
            decimal(row.confidence_error), found, doubtful, false_found,
        )  # fmt: skip
    return table
