"""The benchmark that trains a candidate: it is cut, carried away in parts, and goes on elsewhere to the end."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from benchmarks import checkpoint_parts
from benchmarks import train_simulated_3 as benchmark
from training.toy_cases import write_toy_cases

from FetusMapV2Lib.core.errors import InputError
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
    given = ["--tiny", "--device", "cpu", "--processes", "1", "--workers", "0"]
    here, there = tmp_path / "here", tmp_path / "there"
    # what simulates and what measures have tests of their own
    monkeypatch.setattr(benchmark, "simulate", lambda folder, *_: write_toy_cases(folder, 3))
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
