"""Starting the command: quick, without heavy libraries, helpful, and the same as an installed program."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from FetusMapV2Lib import __version__
from FetusMapV2Lib.core import packages

HEAVY = ("torch", "SimpleITK", "pydicom", "scipy", "lightning", "monai", "vtk", "slicer", "matplotlib")
COMMANDS = ("plan", "estimate", "simulate", "check", "train", "calibrate", "models", "presets", "demo")


def python(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command, environment = [sys.executable, "-c", code], {**os.environ, **variables}
    return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=environment)


def test_help_loads_nothing_heavy() -> None:
    done = python(
        "import sys\nsys.argv = ['fetusmap', '--help']\n"
        "from FetusMapV2Lib.cli import main\n"
        "try:\n    main()\n"
        f"finally:\n    print('LOADED', [name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("LOADED []")
    assert all(command in done.stdout for command in COMMANDS)
    assert "Research use only" in done.stdout


def test_as_a_module_a_mistake_is_one_line_and_exit_code_2(tmp_path) -> None:
    command = [sys.executable, "-m", "FetusMapV2Lib.cli", "check", str(tmp_path / "no")]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("Error: ")
    assert list(tmp_path.iterdir()) == []


def test_a_command_that_does_not_exist_is_said_once(tmp_path) -> None:
    command = [sys.executable, "-m", "FetusMapV2Lib.cli", "nonsense"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=tmp_path)
    usage, error = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert usage.startswith("Usage: ") and error.startswith("Error: No such command")


def test_version(fetusmap) -> None:
    answer = fetusmap("--version")
    assert (answer.code, answer.out) == (0, f"FetusMapV2 {__version__}\n")


def test_without_arguments_there_is_help(fetusmap) -> None:
    answer = fetusmap()
    assert all(command in answer.out + answer.err for command in COMMANDS)


@pytest.mark.parametrize("command", [*COMMANDS, ("models", "list"), ("models", "verify")])
def test_every_command_explains_itself(fetusmap, command) -> None:
    words = [command] if isinstance(command, str) else command
    answer = fetusmap(*words, "--help")
    assert answer.code == 0
    assert "Usage" in answer.out


@pytest.mark.parametrize(
    "arguments", [("estimat",), ("estimate",), ("estimate", "x.nrrd"), ("simulate",), ("train", "--steps", "two")]
)
def test_wrong_usage_is_exit_code_2(fetusmap, arguments) -> None:
    answer = fetusmap(*arguments)
    assert answer.code == 2
    assert answer.out == "" and "Usage" in answer.err


def test_presets(fetusmap) -> None:
    answer = fetusmap("presets")
    assert answer.code == 0
    assert "unet" in answer.out and "176x112x112" in answer.out and "bundled" in answer.out


@pytest.mark.parametrize(
    "raised, code", [(KeyboardInterrupt(), 130), (signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=str
)
def test_being_stopped_is_one_line_and_an_exit_code(fetusmap, monkeypatch, raised, code) -> None:
    from FetusMapV2Lib.training import preset

    def interrupted() -> None:
        if isinstance(raised, KeyboardInterrupt):
            raise raised
        try:
            signal.raise_signal(raised)
        finally:
            raise SystemExit(1)  # as Lightning does

    monkeypatch.setattr(preset, "preset_names", interrupted)
    if isinstance(raised, KeyboardInterrupt) or hasattr(signal, "SIGTERM"):
        answer = fetusmap("presets")
        assert (answer.code, answer.out) == (code, "")
        assert answer.err == "Stopped; what was finished is kept.\n"


def test_an_error_nobody_foresaw_is_one_line_that_steers_no_terminal(fetusmap, monkeypatch) -> None:
    from FetusMapV2Lib.training import preset

    def broken() -> None:
        raise KeyError("\x1b[2Jred")

    monkeypatch.setattr(preset, "preset_names", broken)
    answer = fetusmap("presets")
    assert answer.code == 1 and answer.err.count("\n") == 1
    assert "unexpected KeyError" in answer.err and "FETUSMAP_TRACEBACK" in answer.err and "\x1b" not in answer.err


@pytest.mark.parametrize("columns", ["20", "200"])
def test_a_narrow_terminal_cuts_no_name_and_no_number(columns) -> None:
    done = python(
        "from rich.table import Table\nfrom FetusMapV2Lib.cli.console import print_message, print_table\n"
        "table = Table('measurement', 'estimate')\n"
        "table.add_row('Crown-rump length of it all', '79.31 ± 12.34 mm')\ntable.add_row('\\x1b[2J', '[bold]')\n"
        "print_table(table)\nprint_message('what\\x1b[0m ever')\n",
        COLUMNS=columns, PYTHONIOENCODING="ascii:backslashreplace", TERM="dumb", LC_ALL="C",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "79.31 \\xb1 12.34 mm" in done.stdout and "[bold]" in done.stdout and "\\x1b[2J" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr and done.stderr == "what\\x1b[0m ever\n"


def test_an_optional_package_that_is_missing_is_named(fetusmap, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    answer = fetusmap("train", "--data", tmp_path, "--output", tmp_path / "out")
    assert answer.code == 2 and "lightning" in answer.err and 'pip install ".[train]"' in answer.err
    answer = fetusmap("estimate", "a.nrrd", "--output", tmp_path / "out", "--scene")
    assert answer.code == 2 and "slicer" in answer.err and 'pip install ".[slicer]"' in answer.err
