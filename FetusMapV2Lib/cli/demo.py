"""`fetusmap demo`: one simulated case from the volume to the picture, compared with the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from FetusMapV2Lib.cli.console import (
    OverwriteOption,
    out,
    print_result,
    print_table,
    progress_bar,
    reporter,
    truth_table,
)
from FetusMapV2Lib.core.atomic_files import usable_folder
from FetusMapV2Lib.core.packages import require_package
from FetusMapV2Lib.core.publishing import ensure_replaceable


def demo(
    output: Annotated[Path, typer.Option("--output", help="Folder for the case and the results.")] = Path(
        "demo-output"
    ),
    seed: Annotated[int, typer.Option("--seed", min=0, help="Which simulated fetus.")] = 20260,
    overwrite: OverwriteOption = False,
) -> None:
    """Simulate one case, estimate its pose, and compare it with the truth."""
    from FetusMapV2Lib.estimation.engine import PoseEngine
    from FetusMapV2Lib.exporting import RESULT_KINDS, ExportOptions, export, export_paths
    from FetusMapV2Lib.phantom.simulated_case import simulate_case, write_case

    stem = "case-0000.estimate"
    require_package("slicer", "the demonstration", "slicer")
    options = ExportOptions((*RESULT_KINDS, "scene", "picture"), stem=stem, overwrite=overwrite)
    engine = PoseEngine.load()
    usable_folder(output)
    case_files = [f"case-0000{suffix}" for suffix in (".nrrd", ".mrk.json", ".json")]
    ensure_replaceable(output, "case-0000", case_files, overwrite=overwrite)
    expected = [path.name for path in export_paths(output, stem, options)]
    ensure_replaceable(output, stem, expected, overwrite=overwrite)
    with progress_bar() as bar:
        task = bar.add_task("simulating an ultrasound volume", total=1.0)
        case = simulate_case(seed, 0, shape_kji=(276, 188, 187), spacing_mm=0.5, style="held-out")
        write_case(output, case, 0, overwrite=overwrite)
        result = engine.estimate(case.volume, on_progress=reporter(bar, task))
        bar.update(task, completed=0.9, description="writing the Slicer scene and the picture")
        export(result, case.volume, output, options)
    print_result("case-0000", result)
    print_table(truth_table(case, result))
    if result.found:
        out.print(f"Scene and picture: {output / stem}.mrb, .png", soft_wrap=True)
