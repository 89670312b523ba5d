"""The example scripts, as far as they run without the Slicer application."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def logic_with(scene):
    from bench.modules import load_python
    from FetusMapV2Panel import selftest

    python = load_python(EXAMPLES.parent / "FetusMapV2" / "FetusMapV2.py")
    return lambda **arguments: python.FetusMapV2Logic(lambda device: selftest.EngineStandIn(device, **arguments))


@pytest.fixture
def volume_file(volume, scene, tmp_path):
    import slicer

    path = tmp_path / "Fall ü 1.nrrd"
    assert slicer.util.saveNode(volume, str(path))
    scene.Clear(0)
    return path


def test_slicer_script_writes_scene_and_table(volume_file, logic_with, tmp_path, capsys):
    assert example("estimate_in_slicer").estimate(volume_file, tmp_path / "out", logic_with()) == 0
    assert (tmp_path / "out" / "Fall ü 1.mrb").stat().st_size > 1000
    lines = (tmp_path / "out" / "Fall ü 1.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 10
    assert lines[1].startswith("Crown-rump length,60.1 ± 1.9 mm")
    assert "Research use only" in capsys.readouterr().out


def test_slicer_script_without_a_fetus_or_a_file(volume_file, logic_with, tmp_path, capsys):
    script = example("estimate_in_slicer")
    assert script.estimate(volume_file, tmp_path / "out", logic_with(found=False)) == 1
    assert not (tmp_path / "out").exists()
    assert script.estimate(tmp_path / "none.nrrd", tmp_path / "out", logic_with()) == 2


def test_folder_script_calls_the_command_line(tmp_path, monkeypatch):
    script = example("estimate_folder")
    for name in ("b.nrrd", "a.NII.GZ", "notes.txt"):
        (tmp_path / name).touch()
    calls = []

    def run(command):
        calls.append(command)
        return type("Done", (), {"returncode": 0})

    monkeypatch.setattr(script.subprocess, "run", run)
    assert script.main([str(tmp_path), "out", "--device", "cpu"]) == 0
    files = [str(tmp_path / "a.NII.GZ"), str(tmp_path / "b.nrrd")]
    expected = ["-m", "FetusMapV2Lib.cli", "estimate", *files, "--output", "out", "--device", "cpu"]
    assert calls == [[sys.executable, *expected]]
    assert script.main([str(tmp_path / ".." / tmp_path.name), "out"]) == 0
