"""The `fetusmap` application: its commands put together, and how a process of it starts and ends.

Heavy libraries are imported by the command that needs them, so that `fetusmap --help` answers at once.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from FetusMapV2Lib.cli.calibrate import calibrate
from FetusMapV2Lib.cli.console import out
from FetusMapV2Lib.cli.demo import demo
from FetusMapV2Lib.cli.estimate import estimate
from FetusMapV2Lib.cli.evaluate import evaluate
from FetusMapV2Lib.cli.models import models_app
from FetusMapV2Lib.cli.plan import plan
from FetusMapV2Lib.cli.presets import presets
from FetusMapV2Lib.cli.reproduce import reproduce
from FetusMapV2Lib.cli.running import run
from FetusMapV2Lib.cli.simulate import simulate
from FetusMapV2Lib.cli.supervisor import supervised
from FetusMapV2Lib.cli.supervisor_link import connect
from FetusMapV2Lib.cli.train import train
from FetusMapV2Lib.core.version import SOFTWARE

app = typer.Typer(
    name="fetusmap",
    help="Pose of a 10-15 week fetus in 3D ultrasound. Research use only.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (simulate, train, calibrate, plan, estimate, evaluate, reproduce, presets, demo):
    app.command()(command)
app.add_typer(models_app, name="models")


def main() -> None:
    """Run the command line; every error ends with one line and an exit code, never with a traceback."""
    code = None if connect() else supervised()
    sys.exit(run(app) if code is None else code)


def _print_version(asked: bool) -> None:
    if asked:
        out.print(SOFTWARE)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Pose of a 10-15 week fetus in 3D ultrasound. Research use only."""
