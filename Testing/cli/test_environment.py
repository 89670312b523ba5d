"""The same numbers wherever a command runs: language, time zone, encoding and kind of terminal change nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli.synthetic_balls import ball_volume
from core.locales import made_comma_locale

from FetusMapV2Lib.imaging.writing import write_volume

_RUN = """
from cli.synthetic_balls import ball_engine
from FetusMapV2Lib.cli import main
from FetusMapV2Lib.estimation.engine import PoseEngine
PoseEngine.load = classmethod(lambda cls, *_, **__: ball_engine())
main()
"""
_ODD = {"TZ": "Pacific/Kiritimati", "PYTHONIOENCODING": "ascii", "TERM": "dumb", "COLUMNS": "20", "NO_COLOR": "1"}


def results(folder: Path, name: str) -> list[object]:
    """What does not tell of seconds."""
    table = (folder / f"{name}.measurements.csv").read_text(encoding="utf-8")
    landmarks, document = (
        json.loads((folder / f"{name}{suffix}").read_text(encoding="utf-8"))
        for suffix in (".mrk.json", ".measurements.json")
    )
    del document["seconds"]
    return [table, landmarks, document]


def test_the_same_numbers_in_every_environment(fetusmap, sees_balls, tmp_path: Path) -> None:
    pytest.importorskip("PySide6")
    script, plain, odd = tmp_path / "run.py", tmp_path / "plain", tmp_path / "odd"
    script.write_text(_RUN)
    names = [str(tmp_path / name) for name in ("a.nrrd", "Fötus.nrrd")]
    for name in names:
        write_volume(name, ball_volume()[0])
    assert fetusmap("estimate", names[0], "-o", plain, "--device", "cpu").code == 0
    root = Path(__file__).parents[2]
    german, _missing = made_comma_locale(tmp_path)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(root / "Testing")]), **_ODD, **german}
    environment.pop("QT_QPA_PLATFORM", None)  # a process without a screen prints the PDF
    # Qt prints the first before the second is read
    command = [sys.executable, str(script), "estimate", *names, "-o", str(odd), "--device", "cpu", "--pdf"]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    expected = results(plain, "a")
    for name in ("a", "Fötus"):
        assert results(odd, name) == expected
        assert (odd / f"{name}.report.pdf").read_bytes().startswith(b"%PDF-")
        assert not (odd / f"{name}.report.html").exists()
