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


def test_the_same_numbers_in_every_environment(tmp_path: Path) -> None:
    pytest.importorskip("PySide6")
    script, plain, odd = tmp_path / "run.py", tmp_path / "plain", tmp_path / "odd"
    script.write_text(_RUN)
    names = [str(tmp_path / name) for name in ("a.nrrd", "Fötus.nrrd")]
    for name in names:
        write_volume(name, ball_volume()[0])
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), str(root / "Testing")])

    def estimate(files: list[str], output: Path, options: list[str], environment: dict[str, str]) -> None:
        command = [sys.executable, str(script), "estimate", *files, "-o", str(output), "--device", "cpu", *options]
        environment = {**os.environ, "PYTHONPATH": path, **environment}
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr

    estimate(names[:1], plain, [], {"FETUSMAP_SUPERVISOR": "0"})
    german, _missing = made_comma_locale(tmp_path)
    estimate(names, odd, ["--pdf"], {**_ODD, **german})  # Qt prints the first before the second is read
    expected = results(plain, "a")
    assert results(odd, "a") == expected
    assert results(odd, "Fötus") == expected
