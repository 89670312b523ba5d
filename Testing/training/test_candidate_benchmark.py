"""The benchmark that trains a candidate: it is cut, carried away in parts, and goes on elsewhere to the end."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from benchmarks import checkpoint_parts
from benchmarks import train_candidate as benchmark
from imaging.samples import sample
from training.toy_cases import write_toy_cases

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.writing import write_volume
from FetusMapV2Lib.training.checkpoints import read_checkpoint


def test_a_file_is_whole_again_after_its_parts_were_carried(tmp_path: Path) -> None:
    file = tmp_path / "last.ckpt"
    for content in (bytes(range(256)) * 4, b"second" * 300):
        file.write_bytes(content)
        checkpoint_parts.split(file, tmp_path / "parts", part_bytes=500)
        parts = list((tmp_path / "parts").glob("*.part"))
        assert len(parts) == -(-len(content) // 500) and max(part.stat().st_size for part in parts) <= 500
        assert checkpoint_parts.join(tmp_path / "parts", tmp_path / "there").read_bytes() == content
    assert checkpoint_parts.PART_BYTES < 16 * 2**20
    parts[0].write_bytes(b"x" * 500)
    with pytest.raises(InputError, match="damaged"):
        checkpoint_parts.join(tmp_path / "parts", tmp_path / "elsewhere")
    parts[0].unlink()
    with pytest.raises(InputError, match="missing"):
        checkpoint_parts.join(tmp_path / "parts", tmp_path / "elsewhere")
    assert not (tmp_path / "elsewhere" / "last.ckpt").exists()


def test_a_run_that_was_cut_goes_on_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ["--tiny", "--device", "cpu", "--processes", "1", "--workers", "0", "--negatives", str(tmp_path / "none")]
    write_volume(tmp_path / "none" / "noise.nrrd", sample())
    here, there = tmp_path / "here", tmp_path / "there"
    # what simulates and what measures have tests of their own
    monkeypatch.setattr(benchmark, "simulate", lambda work, *_: write_toy_cases(work / "cases", 3))
    measured: list[Path] = []
    monkeypatch.setattr(benchmark, "measure", lambda model, *_: measured.append(model))
    original = benchmark.train

    def cut(*arguments: Any) -> Path:
        """As the timer would after the first step."""
        return original(*arguments, on_progress=lambda *_: signal.raise_signal(signal.SIGTERM))

    monkeypatch.setattr(benchmark, "train", cut)
    benchmark.main([*given, "--output", str(here / "out"), "--work", str(here / "work")])
    assert "stopped in time" in capsys.readouterr().out
    monkeypatch.setattr(benchmark, "train", original)
    carried = ["--continue-from", str(here / "out" / "kept")]
    benchmark.main([*given, *carried, "--output", str(there / "out"), "--work", str(there / "work")])
    assert "trained to the end" in capsys.readouterr().out
    assert read_checkpoint(there / "work" / "run" / "last.ckpt")["global_step"] == 3
    names = json.loads((there / "out" / "kept" / "run.json").read_text())["training"]
    assert names == ["case-00", "case-01", "case-02"]
    assert measured[-1] == there / "out" / "kept" / "candidate.safetensors" and measured[-1].is_file()


def test_cases_are_simulated_in_shares_that_are_not_made_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every number of every kind once; a share that failed ends the benchmark."""
    made: list[list[str]] = []

    class Ended:
        returncode = 0

    def run(command: list[str], **_: Any) -> Ended:
        made.append(command)
        return Ended()

    monkeypatch.setattr(benchmark.subprocess, "run", run)
    plan = benchmark.Plan()
    benchmark.simulate(tmp_path, plan, 4, "cpu")
    numbers = [
        (command[4], number)
        for command in made
        for start, count in [[int(command[command.index(name) + 1]) for name in ("--start", "--count")]]
        for number in range(start, start + count)
    ]
    assert len(numbers) == len(set(numbers)) == sum(some.count for some in plan.cases)
    assert {folder for folder, _ in numbers} == {str(tmp_path / "cases"), str(tmp_path / "negatives")}
    (tmp_path / "negatives").mkdir()
    for number in range(6000, 6048):
        (tmp_path / "negatives" / f"case-{number:04d}.json").touch()
    made.clear()
    benchmark.simulate(tmp_path, plan, 4, "cpu")
    assert made and not any("negatives" in command[4] for command in made)
    monkeypatch.setattr(Ended, "returncode", 1)
    with pytest.raises(SystemExit, match="failed"):
        benchmark.simulate(tmp_path, plan, 4, "cpu")
