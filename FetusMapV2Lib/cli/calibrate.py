"""`fetusmap calibrate`: radii, confidences and detection threshold of a model, fitted to held-out cases."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from FetusMapV2Lib.cli.console import (
    DeviceOption,
    print_message,
    progress_bar,
    reporter,
)
from FetusMapV2Lib.cli.items import CommandItems


def calibrate(
    model: Annotated[Path, typer.Argument(help="Model file; it is rewritten with its calibration.")],
    data: Annotated[Path, typer.Option("--data", help="Held-out cases with landmarks; some without a fetus.")],
    device: DeviceOption = "auto",
) -> None:
    """Fit radii, confidences and the detection threshold of a model to held-out cases.

    A case that cannot be used is left out; it is named at the end, and the exit code is 2.
    """
    from FetusMapV2Lib.evaluation.calibrating import calibrate_model

    batch = CommandItems("cases")
    with progress_bar() as bar:
        task = bar.add_task("calibrating", total=1.0)
        run_case = batch.case_runner("case")
        calibration = calibrate_model(model, data, device=device, on_progress=reporter(bar, task), run_case=run_case)
    threshold = calibration.detection_threshold
    print_message(f"Calibrated on {calibration.cases} cases; detection threshold {threshold:.2f}.")
    batch.end()
