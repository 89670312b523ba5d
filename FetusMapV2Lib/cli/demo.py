"""`fetusmap demo`: one simulated case from the volume to the picture, compared with the truth."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from FetusMapV2Lib.cli.console import (
    OverwriteOption,
    out,
    print_message,
    print_result,
    print_table,
    progress_bar,
    reporter,
    truth_table,
)
from FetusMapV2Lib.core.atomic_files import usable_folder
from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.core.packages import require_package
from FetusMapV2Lib.core.publishing import ensure_replaceable

#: Kinds of files that need real Slicer nodes and views.
_VIEWS = ("scene", "picture")


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
    left_out = _why_no_views()
    kinds = [kind for kind in (*RESULT_KINDS, "html", "scene", "picture") if not (left_out and kind in _VIEWS)]
    options = ExportOptions(kinds, stem=stem, overwrite=overwrite, pictures=() if left_out else None)
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
        bar.update(task, completed=0.9, description="writing the results")
        export(result, case.volume, output, options)
    print_result("case-0000", result)
    print_table(truth_table(case, result))
    if result.has_pose:
        out.print(f"Report: {output / stem}.report.html", soft_wrap=True)
    if left_out:
        print_message(f"Without a Slicer scene and pictures: {left_out}", "yellow")
    elif result.has_pose:
        out.print(f"Scene and picture: {output / stem}.mrb, .png", soft_wrap=True)
    out.print(f"See and correct it in a browser: {_serving(output)}", soft_wrap=True)


def _why_no_views() -> str:
    """Why no scene and no picture can be written, and what to do; empty if they can."""
    try:
        require_package("slicer", "a scene or picture", "slicer")
    except UserError as error:
        return error.line()
    return ""


def _serving(output: Path) -> str:
    """The command that serves the page, preceded by what installs it where that is missing."""
    program = Path(sys.argv[0])
    if program.stem != "fetusmap":  # started in another way
        program = Path("fetusmap")
    elif program.is_relative_to(Path.cwd()):
        program = program.relative_to(Path.cwd())
    install = "" if find_spec("trame") is not None else 'pip install ".[serve]", then '
    return f"{install}{program} serve {output}"
