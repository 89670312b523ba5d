"""Processes for tests: whether one lives, and scripts in the place of Python."""

from __future__ import annotations

import os
import stat
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

posix = pytest.mark.skipif(os.name != "posix", reason="signals and scripts of POSIX")


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def script(folder: Path, code: str) -> Path:
    path = folder / "python-of-its-own"
    path.write_text(f"#!{sys.executable}\n{textwrap.dedent(code)}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path
