"""Processes for tests: whether one lives, programs in the place of Python, and engines that follow a script."""

from __future__ import annotations

import os
import stat
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from remote.scripted_engine import PYTHON

posix = pytest.mark.skipif(os.name != "posix", reason="signals and scripts of POSIX")

#: Seconds in which something happens that is never long in coming; a slow machine may need them.
SOON_S = 300.0


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


def wait_until(condition: Callable[[], bool], seconds: float = SOON_S) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def script(folder: Path, code: str, name: str = "python-of-its-own") -> Path:
    """A program that runs this code in the place of Python."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{textwrap.dedent(code)}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@dataclass(frozen=True)
class Scripted:
    """An engine that follows a script, see `scripted_engine`.

    Attributes:
        python: the program to run in the place of Python.
        model: the folder of the script, to be given as the model.
    """

    python: Path
    model: Path

    @classmethod
    def make(cls, folder: Path, name: str = "python-of-its-own") -> Scripted:
        """A script without events; the program has this name."""
        model = folder / "script ß"
        model.mkdir()
        return cls(script(folder / "bin", PYTHON, name), model)

    def at(self, stage: str, act: str, times: int = 1) -> None:
        """Let the engine "kill" or "stop" itself, "starve" or "wait" when it reaches a stage."""
        (self.model / f"{act} at {stage}").write_text(str(times))
