"""`fetusmap models`: list, add, extend and verify models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer
from rich.table import Table

from FetusMapV2Lib.cli.console import (
    OverwriteOption,
    out,
    print_message,
    print_table,
)
from FetusMapV2Lib.core.errors import UserError

models_app = typer.Typer(help="List and verify models.", no_args_is_help=True)


@models_app.command("list")
def list_models() -> None:
    """List the bundled models and your own."""
    from FetusMapV2Lib.models.model_index import list_models as listed

    table = Table("name", "size", "what it is", "file")
    for entry in listed():
        table.add_row(entry.name, f"{entry.size_bytes / 2**20:.1f} MiB", entry.description, str(entry.path))
    print_table(table)


@models_app.command("add")
def add_model(
    file: Annotated[Path, typer.Argument(help="A trained model file.")],
    name: Annotated[str, typer.Option("--name", help="The name of the model.")],
    description: Annotated[str, typer.Option("--description", help="One line for the list.")] = "",
    default: Annotated[bool, typer.Option("--default", help="Use it when none is named.")] = False,
    index: Annotated[
        Optional[Path], typer.Option("--index", help="The models.json to enter it in; the model is copied beside it.")
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Copy a model into your data folder, where updates leave it alone (FETUSMAPV2_DATA names another folder)."""
    from FetusMapV2Lib.models.model_index import install_model

    entry = install_model(file, name, description=description, default=default, overwrite=overwrite, index=index)
    print_message(f"{entry.name}: {entry.size_bytes / 2**20:.1f} MiB, {entry.path}")


@models_app.command("add-poses")
def add_poses(
    model: Annotated[str, typer.Argument(help="Name or path of a model.")],
    cases: Annotated[Path, typer.Argument(help="Folder of annotated cases: volumes with their Markups JSON.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The model file to write.")],
    overwrite: OverwriteOption = False,
) -> None:
    """Extend a model's pose library by a site's own annotated cases; its weights stay as they are."""
    from FetusMapV2Lib.models import pose_library

    extended, added = pose_library.add_poses(model, cases, output, overwrite=overwrite)
    print_message(f"{added} poses added, {len(extended.poses)} in all: {output}")


@models_app.command("average")
def average(
    first: Annotated[str, typer.Argument(help="Name or path of a model, such as the start of a training.")],
    second: Annotated[str, typer.Argument(help="Name or path of a model of the same network, such as its result.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The model file to write.")],
    share: Annotated[float, typer.Option("--share", help="Of the second model's weights, 0-1.")] = 0.5,
    keep: Annotated[
        bool, typer.Option("--keep-calibration", help="Keep that of FIRST, of which SECOND is a further training.")
    ] = False,
    half: Annotated[bool, typer.Option("--half", help="Store the weights as float16.")] = False,
    small: Annotated[bool, typer.Option("--int8", help="Store them in 8 bits, with a scale per channel.")] = False,
    overwrite: OverwriteOption = False,
) -> None:
    """Write a model whose weights lie between those of two; it has to be calibrated, or keeps what the first has."""
    from FetusMapV2Lib.models.weight_averaging import average_models

    if half and small:
        raise UserError("weights are stored in one way", where="--half --int8", remedy="Give one of the two")
    precision = "int8" if small else "float16" if half else ""
    average_models(first, second, output, share, keep_calibration=keep, precision=precision, overwrite=overwrite)
    following = "look next whether its radii hold (`fetusmap evaluate`)"
    print_message(f"{output}: written; {following if keep else 'calibrate it next (`fetusmap calibrate`)'}")


@models_app.command("verify")
def verify_models(
    model: Annotated[Optional[str], typer.Argument(help="Name or path; all models of the index if left out.")] = None,
) -> None:
    """Check that models are complete, unchanged and of this landmark schema."""
    from FetusMapV2Lib.models.model_index import verify

    for line in verify(model):
        out.print(line, soft_wrap=True)
