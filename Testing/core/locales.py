"""A locale with a decimal comma, made where the system can make one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def comma_locale(folder: Path) -> dict[str, str]:
    """Variables of an environment whose decimals have a comma (de_DE); skips the test where there is no such locale."""
    variables, missing = made_comma_locale(folder)
    if missing:
        pytest.skip(f"needs {missing}")
    return variables


def made_comma_locale(folder: Path) -> tuple[dict[str, str], str]:
    """The same for a test that goes without: no variables, and what is missing."""
    if shutil.which("localedef") is None:
        return {}, "localedef"
    command = ["localedef", "-i", "de_DE", "-f", "UTF-8", str(folder / "de_DE.UTF-8")]
    subprocess.run(command, capture_output=True, check=False)
    variables = {"LC_ALL": "de_DE.UTF-8", "LOCPATH": str(folder)}
    taken = [sys.executable, "-c", "import locale; locale.setlocale(locale.LC_ALL, '')"]  # half a locale is none
    if subprocess.run(taken, capture_output=True, env={**os.environ, **variables}).returncode:
        return {}, "the source of the locale de_DE (Debian: locales)"
    return variables, ""
