"""`fetusmap check`: what is wrong with a folder of annotated cases, before anything is trained on it.

Heavy libraries are imported where they are needed, as in `cli`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from FetusMapV2Lib.cli.console import out, print_message, progress_bar, reporter
from FetusMapV2Lib.core.errors import InputError

if TYPE_CHECKING:
    from FetusMapV2Lib.training.checking.finding import CheckedFolder

SkipCheckOption = Annotated[
    bool, typer.Option("--skip-check", help="Do not check the cases first (see `fetusmap check`).")
]
#: Warnings listed before a training; all of them are on the page of `fetusmap check`.
_MOST_WARNINGS = 20


def check(
    cases: Annotated[Path, typer.Argument(help="Folder of annotated cases: NAME.nrrd with NAME.mrk.json.")],
    output: Annotated[
        Optional[Path], typer.Option("--output", "-o", help="Folder for check.html, with pictures, and check.json.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Check annotated cases: landmarks, sides, lengths, voxel sizes, duplicates, names. One line for each finding.

    The exit code is 2 if there are errors, 0 if there are only warnings or nothing.
    """
    from FetusMapV2Lib.core.atomic_files import usable_folder, write_json, write_text
    from FetusMapV2Lib.training.checking.page import check_page

    folder = usable_folder(output) if output is not None else None
    checked = _checked(cases, pictures=folder is not None)
    if as_json:
        out.print(json.dumps(checked.document(), indent=1), soft_wrap=True)
    else:
        for finding in checked.findings:
            out.print(finding.line(), soft_wrap=True)
    if folder is not None:
        write_text(folder / "check.html", check_page(checked))
        write_json(folder / "check.json", checked.document())
    print_message(f"{checked.summary()}." + ("" if folder is None else f" Pictures in {folder / 'check.html'}"))
    if checked.errors:
        raise typer.Exit(2)


def check_first(cases: Path) -> None:
    """Check the cases of a training: warnings are printed, errors end the command.

    Raises:
        InputError: there are errors, or no case.
    """
    checked = _checked(cases, pictures=False)
    for finding in checked.warnings[:_MOST_WARNINGS]:
        print_message(finding.line(), "yellow")
    if len(checked.warnings) > _MOST_WARNINGS:
        print_message(f"{len(checked.warnings) - _MOST_WARNINGS} more warnings: see `fetusmap check`", "yellow")
    for finding in checked.errors:
        print_message(finding.line(), "red")
    if checked.errors:
        errors = len(checked.errors)
        raise InputError(
            f"the check of the cases found {errors} error{'' if errors == 1 else 's'}",
            where=cases,
            remedy="Correct them (`fetusmap check CASES --output DIR` shows them), or train on the cases as they are",
            option="--skip-check",
        )


def _checked(cases: Path, *, pictures: bool) -> CheckedFolder:
    from FetusMapV2Lib.training.checking.case_check import check_cases

    with progress_bar() as bar:
        task = bar.add_task("checking", total=1.0)
        return check_cases(cases, pictures=pictures, on_progress=reporter(bar, task))
