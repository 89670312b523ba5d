"""A locale with a decimal comma, made where the system can make one."""

from __future__ import annotations

import shutil
import subprocess
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
    if not (folder / "de_DE.UTF-8").is_dir():
        return {}, "the source of the locale de_DE (Debian: locales)"
    return {"LC_ALL": "de_DE.UTF-8", "LOCPATH": str(folder)}, ""
