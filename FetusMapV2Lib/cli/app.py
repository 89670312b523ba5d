"""The `fetusmap` application: its commands put together, and how a process of it starts and ends.

Heavy libraries are imported by the command that needs them, so that `fetusmap --help` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from FetusMapV2Lib.cli.adapt import adapt
from FetusMapV2Lib.cli.batch import batch
from FetusMapV2Lib.cli.calibrate import calibrate
from FetusMapV2Lib.cli.check import check
from FetusMapV2Lib.cli.console import out, print_message, set_verbosity
from FetusMapV2Lib.cli.demo import demo
from FetusMapV2Lib.cli.estimate import estimate
from FetusMapV2Lib.cli.evaluate import evaluate
from FetusMapV2Lib.cli.models import models_app
from FetusMapV2Lib.cli.plan import plan
from FetusMapV2Lib.cli.presets import presets
from FetusMapV2Lib.cli.reproduce import reproduce
from FetusMapV2Lib.cli.running import run
from FetusMapV2Lib.cli.send import send
from FetusMapV2Lib.cli.serve import serve
from FetusMapV2Lib.cli.settings_file import find_settings, read_settings
from FetusMapV2Lib.cli.simulate import simulate
from FetusMapV2Lib.cli.supervisor import supervised
from FetusMapV2Lib.cli.supervisor_link import connect, supervisor_link
from FetusMapV2Lib.cli.train import train
from FetusMapV2Lib.core.version import SOFTWARE

app = typer.Typer(
    name="fetusmap",
    help="Pose of a 10-15 week fetus in 3D ultrasound. Research use only.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
#: Commands in the order of the help, with examples that end their own help.
_COMMANDS: dict[Callable[..., None], tuple[str, ...]] = {
    simulate: ("fetusmap simulate cases --count 20 --seed 1 --empty 2",),
    check: ("fetusmap check cases --output checked",),
    train: (
        "fetusmap train --data cases --output run",
        "fetusmap train --data cases --output run --resume",
        "fetusmap train --data cases --output run --devices 4 --set run.batch_size=8",
    ),
    adapt: ("fetusmap adapt --data cases --output adapted --minutes 15",),
    calibrate: ("fetusmap calibrate run/model.safetensors --data held-out",),
    plan: ("fetusmap plan --preset fetusmapv2 --memory-budget 8GiB",),
    estimate: (
        "fetusmap estimate scan.nrrd --output results --picture --report",
        "fetusmap estimate 'scans/*.nrrd' --output results --skip-existing --log results.log",
        "fetusmap estimate DICOM-FOLDER --output results --without-identifiers",
    ),
    batch: (
        "fetusmap batch scans --output results --jobs 4",
        "fetusmap batch cases.csv --output results --shard 3/16",
        "find scans -name '*.nrrd' | fetusmap batch - --output results",
    ),
    serve: ("fetusmap serve scans", "fetusmap serve scan.nrrd --port 8700"),
    send: (
        "fetusmap send results/*.dcm --pacs PACS@archive.example:104",
        "fetusmap send results/scan.sr.dcm --dicomweb https://archive.example/dicom-web",
    ),
    evaluate: ("fetusmap evaluate held-out --model simulated-2 --model run/model.safetensors --output tables",),
    reproduce: (
        "fetusmap reproduce --data cases --output paper --presets paper --scale 1/4",
        "fetusmap reproduce --data cases --output paper --presets unet,fetusmapv2 --ray auto",
    ),
    presets: (),
    demo: ("fetusmap demo --output demo-output",),
}
for command, examples in _COMMANDS.items():
    app.command(epilog="\n\n".join(("Examples:", *examples)) if examples else None)(command)
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
    context: typer.Context,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Print every stage, and tracebacks.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print results, warnings and errors only.")] = False,
    log: Annotated[
        Optional[Path], typer.Option("--log", metavar="FILE", help="Append what is printed and all stages to a file.")
    ] = None,
    config: Annotated[
        Optional[Path],
        typer.Option("--config", metavar="FILE", help="Settings file; default fetusmap.toml here or of the user."),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Pose of a 10-15 week fetus in 3D ultrasound. Research use only."""
    set_verbosity(verbose=verbose, quiet=quiet, log_file=log)
    settings = config or find_settings()
    if settings is not None:
        context.default_map = read_settings(settings, _known_options(context.command))
        _say_settings(settings, context.default_map.get(context.invoked_subcommand or "", {}))


def _known_options(group: Any) -> dict[str, dict[str, str]]:
    """Options of all commands: their names without dashes -> names of parameters."""
    return {
        name: {option[2:]: param.name for param in command.params for option in param.opts if option.startswith("--")}
        for name, command in group.commands.items()
        if not hasattr(command, "commands")
    }


def _say_settings(path: Path, settings: dict[str, Any]) -> None:
    """Say which options come from a file; they are no less effective than those of the command line."""
    if settings and not supervisor_link().earlier_records:
        listed = ", ".join(f"{name.replace('_', '-')} = {value}" for name, value in settings.items())
        print_message(f"Settings of {path}, unless given here: {listed}")
