"""The example scripts, as far as they run without the Slicer application."""

from __future__ import annotations

import importlib.util
import shutil
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


def slicer_util():
    import slicer

    return slicer.util


class Counted:
    """Makes module logics with a stand-in engine, and counts its estimates; some volumes have a fetus, some do not."""

    def __init__(self, python) -> None:
        self._python, self.names, self.empty = python, [], set()

    def __call__(self):
        from FetusMapV2Panel import selftest

        counted = self

        class Engine(selftest.EngineStandIn):
            def estimate(self, volume, **options):
                counted.names.append(volume.name)
                if volume.name == "interrupted":
                    raise KeyboardInterrupt
                self._found = volume.name not in counted.empty
                return super().estimate(volume, **options)

        return self._python.FetusMapV2Logic(Engine)


@pytest.fixture
def logic(scene):
    from bench.modules import load_python

    return Counted(load_python(EXAMPLES.parent / "FetusMapV2" / "FetusMapV2.py"))


@pytest.fixture
def folder(volume, scene, tmp_path):
    """Three volumes, one file that is none, and one that is nothing to it."""
    import slicer

    cases = tmp_path / "Fälle"
    cases.mkdir()
    for name in ("a.1.nrrd", "a.2.nrrd", "leer.nrrd"):
        assert slicer.util.saveNode(volume, str(cases / name))
    (cases / "broken.nrrd").write_text("not a volume")
    (cases / "notes.txt").touch()
    scene.Clear(0)
    return cases


def test_slicer_script_works_through_a_folder_and_goes_on_where_it_was(folder, logic, tmp_path, capsys):
    main, out = example("estimate_in_slicer").main, tmp_path / "out"
    logic.empty.add("leer")
    assert main([str(folder), "--output", str(out)], logic) == 2
    assert {path.name for path in out.iterdir()} == {"a.1.mrb", "a.1.csv", "a.2.mrb", "a.2.csv", "leer.csv"}
    lines = (out / "a.1.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 13
    assert lines[1].startswith("Crown-rump length,60.1 ± 1.9 mm")
    assert (out / "a.1.mrb").stat().st_size > 1000
    assert "No fetus found." in (out / "leer.csv").read_text(encoding="utf-8")
    said = capsys.readouterr()
    assert "3 of 4 done, 1 failed" in said.out
    assert "Research use only" in said.out
    (failure,) = [line for line in said.err.splitlines() if "failed" in line]
    assert "broken.nrrd" in failure
    assert logic.names == ["a.1", "a.2", "leer"]

    (out / "a.2.csv").unlink()  # as if it had been cut short while it worked on this one
    (folder / "broken.nrrd").unlink()
    assert main([str(folder), "--output", str(out)], logic) == 0
    assert logic.names == ["a.1", "a.2", "leer", "a.2"]


def test_slicer_script_keeps_what_was_finished_when_it_is_interrupted(folder, logic, tmp_path, capsys):
    (folder / "a.2.nrrd").rename(folder / "interrupted.nrrd")
    main, out = example("estimate_in_slicer").main, tmp_path / "out"
    (folder / "broken.nrrd").unlink()
    assert main([str(folder), "--output", str(out)], logic) == 130
    assert {path.name for path in out.iterdir()} == {"a.1.mrb", "a.1.csv"}
    assert "what was finished is kept" in capsys.readouterr().err


def test_slicer_script_goes_on_whatever_a_volume_does(folder, logic, tmp_path, capsys, monkeypatch):
    """Errors nobody foresaw, one name in two folders, a volume that ended Slicer twice."""
    main, out = example("estimate_in_slicer").main, tmp_path / "out"
    (folder / "broken.nrrd").rename(folder / "odd.nrrd")
    (folder / "._a.1.nrrd").write_bytes(b"of macOS")
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(folder / "a.1.nrrd", other / "A.1.nrrd")
    out.mkdir()
    (out / ".a.2.attempts").write_text("xx")
    load = slicer_util().loadVolume

    def odd(path, properties):
        if path.endswith("odd.nrrd"):
            raise KeyError("\x1b[2J")
        return load(path, properties)

    monkeypatch.setattr(slicer_util(), "loadVolume", odd)
    assert main([str(folder), str(other), "--output", str(out)], logic) == 2
    assert logic.names == ["a.1", "leer"]
    said = capsys.readouterr()
    assert "2 of 5 done, 3 failed" in said.out and "\x1b" not in said.err and "._a" not in said.err
    for words in ("unexpected KeyError", "the names of those of", "Slicer ended twice"):
        assert said.err.count(words) == 2  # at its turn, and at the end
    assert [path.name for path in out.glob(".*.attempts")] == [".a.2.attempts"]


def test_folder_script_fits_into_a_command_line_and_says_what_it_cannot_enter(tmp_path, capsys):
    script = example("estimate_folder")
    files = [tmp_path / f"{number:04d}.nrrd" for number in range(2000)]
    portions = script.portions(files)
    assert [file for portion in portions for file in portion] == list(map(str, files))
    assert len(portions) > 1 and max(len(" ".join(portion)) for portion in portions) < 30_000
    assert script.main([str(tmp_path / "no\x1b[2J"), "out"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_slicer_script_passes_its_options_on(folder, logic, tmp_path):
    script, seen = example("estimate_in_slicer"), []
    options = ["--device", "cpu", "--memory-budget", "1.5", "--refine", "prior", "--mirrored", "--model", "m"]

    class Logic:
        def process(self, volume, settings):
            seen.append(settings.toPlain())
            raise RuntimeError("enough")

        def close(self):
            seen.append("closed")

    assert script.main([str(folder / "a.1.nrrd"), "--output", str(tmp_path / "out"), *options], Logic) == 2
    assert seen == [
        {"device": "cpu", "memoryBudget": 1.5, "refine": "prior", "mirrored": True, "model": "m"},
        "closed",
    ]


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


def test_tutorial_goes_from_a_volume_to_files_and_a_memory_plan(tmp_path, capsys):
    assert example("tutorial").main(["--output", str(tmp_path), "--spacing", "2"]) == 0
    said = capsys.readouterr().out
    for words in ("69x47x47", "Crown-rump length: 68.", "13w0d", "moved by the refinement", "GiB"):
        assert words in said
    suffixes = (".fhir.json", ".measurements.csv", ".measurements.json", ".mrk.json")
    assert sorted(path.name for path in tmp_path.glob("case*")) == [f"case-0000{suffix}" for suffix in suffixes]


def test_tutorial_ends_with_one_line_where_something_cannot_be_done(tmp_path, capsys):
    assert example("tutorial").main(["--output", str(tmp_path), "--spacing", "90"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_every_example_is_in_the_documentation():
    pages = [EXAMPLES.parent / "README.md", *EXAMPLES.parent.glob("docs/*.md")]
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    scripts = [path.name for path in EXAMPLES.iterdir() if path.suffix == ".py"]
    assert len(scripts) >= 3
    assert [name for name in scripts if f"examples/{name}" not in text] == []
