"""What Slicer would install, as a tree."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The qt-scripted-modules folder of an installation, in a path with spaces."""
    folder = tmp_path_factory.mktemp("an installed Slicer")
    stand_in = ROOT / "Testing" / "bench" / "cmake"
    configure = ["cmake", "-S", str(ROOT), "-B", str(folder / "build"), f"-DSlicer_DIR={stand_in}"]
    for command in (configure, ["cmake", "--install", str(folder / "build"), "--prefix", str(folder / "tree")]):
        result = subprocess.run(command, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr
    return next((folder / "tree").rglob("qt-scripted-modules"))
