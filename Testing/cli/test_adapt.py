"""The commands of docs/adapting.md, one after the other, on tiny data and a tiny model; and mistakes in them."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from adaptation.sites import write_start
from training.toy_cases import write_toy_cases

PAGE = Path(__file__).resolve().parents[2] / "docs" / "adapting.md"
#: What the commands get so that they take seconds.
SHORT = {
    "adapt": "--steps 12 --folds 2 --simulated 6 --model start.safetensors --device cpu --threads 1",
    "evaluate": "--device cpu",
    "estimate": "--device cpu",
    "calibrate": "--device cpu --force",
}


def commands() -> list[list[str]]:
    tutorial, _, _ = PAGE.read_text(encoding="utf-8").partition("## Measured")
    blocks = re.findall(r"```sh\n(.*?)```", tutorial, flags=re.DOTALL)
    return [shlex.split(line) for block in blocks for line in block.splitlines()]


def test_every_command_of_the_tutorial_works(fetusmap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FETUSMAPV2_DATA", str(tmp_path / "data"))
    write_start(tmp_path / "world", threshold=0.0).rename("start.safetensors")
    for folder, seed in (("cases", 9), ("others", 21)):
        write_toy_cases(tmp_path / folder, 6, seed=seed)
        for path in (tmp_path / folder).glob("case-05*"):  # the one without a fetus
            path.unlink()
    (tmp_path / "new.nrrd").write_bytes((tmp_path / "others" / "case-00.nrrd").read_bytes())
    Path("our-idea.safetensors").write_bytes(Path("start.safetensors").read_bytes())
    names = []
    for program, name, *rest in commands():
        assert program == "fetusmap"
        names.append(name)
        given = [word if word != "simulated-2" else "start.safetensors" for word in rest]
        answer = fetusmap(name, *given, *SHORT.get(name, "").split())
        assert answer.code == 0, answer.err
    assert names == ["check", "adapt", "evaluate", "models", "estimate", "calibrate", "models"]
    for file in (
        "checked/check.html", "adapted/model.safetensors", "adapted/model-card.md", "adapted/report.md",
        "scores/summary.csv", "results/new.measurements.json",
    ):  # fmt: skip
        assert (tmp_path / file).is_file(), file

    record = json.loads(Path("adapted/adaptation.json").read_text())
    record["outcome"]["objections"] = ["it is worse"]
    Path("adapted/adaptation.json").write_text(json.dumps(record))
    again = fetusmap(*commands()[1][1:], *SHORT["adapt"].split())
    assert again.code == 3 and "refused: it is worse" in again.err


def test_mistakes_are_one_line_each_and_leave_nothing(fetusmap, model_file: Path, tmp_path: Path) -> None:
    write_toy_cases(tmp_path / "few", 3)
    output = tmp_path / "out"
    for options, clue in (
        (("--data", tmp_path / "none"), "does not exist"),
        (("--data", tmp_path / "few"), "too few to adapt to"),
        (("--data", tmp_path / "few", "--model", model_file), "not calibrated"),
        (("--data", tmp_path / "few", "--folds", 1), "1 folds are too few"),
        (("--data", tmp_path / "few", "--negatives", tmp_path / "few"), "too few to adapt to"),
    ):
        answer = fetusmap("adapt", *options, "--output", output, "--device", "cpu")
        assert answer.code == 2 and len(answer.errors()) == 1 and clue in answer.err, answer.err
        assert not output.exists()
