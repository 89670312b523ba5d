"""`fetusmap reproduce`: every case is tested by a model that did not see it; a cut run ends with the same tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli.conftest import Command
from training.toy_cases import write_toy_cases

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.evaluation.case_set import case_set
from FetusMapV2Lib.evaluation.paper.memory_facts import predicted_memory
from FetusMapV2Lib.evaluation.paper.protocol import Protocol, run_protocol, settled_folds
from FetusMapV2Lib.evaluation.paper.recipes import recipes
from FetusMapV2Lib.evaluation.paper.tables import PLANNER
from FetusMapV2Lib.imaging.training_cases import find_cases

TINY = {"run.steps": 2, "input_size": [32, 24, 24], "network.widths": [2, 3, 4], "run.cache_spacing_mm": 3.0}
OPTIONS = ["--steps", "2", "--input-size", "32,24,24", "--widths", "2,3,4", "--device", "cpu", "--no-memory"]


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six cases with a fetus and one without."""
    folder = tmp_path_factory.mktemp("toys")
    write_toy_cases(folder, 7)
    return folder


class PowerCutError(Exception):
    """Stands for a power cut."""


def protocol(data: Path, output: Path) -> Protocol:
    """A tiny protocol of one preset."""
    cases = case_set(find_cases(data))
    parts = settled_folds(output, cases, 2, 0)
    return Protocol(data, output, recipes("unet", TINY), cases, parts, device="cpu", predict_memory=False)


def untimed(output: Path) -> dict[str, object]:
    """The tables without how long training took."""
    tables = json.loads((output / "tables.json").read_text(encoding="utf-8"))["tables"]
    column = tables["4"]["head"].index("s per volume, ours")
    for row in tables["4"]["rows"]:
        row[column] = ""
    return dict(tables)


def test_a_cut_run_ends_with_the_same_tables(toys: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run_protocol(protocol(toys, whole))
    for moment in (0.1, 0.4, 0.7):  # in a training, in the estimates, in the second fold

        def on_progress(fraction: float, stage: str, moment: float = moment) -> None:
            if fraction >= moment:
                raise PowerCutError

        with pytest.raises(PowerCutError):
            run_protocol(protocol(toys, cut), on_progress=on_progress)
        assert not (cut / "tables.json").exists()
    before = {path: path.read_bytes() for path in (cut / "predictions").rglob("*.json")}
    assert before
    run_protocol(protocol(toys, cut))
    assert all(path.read_bytes() == text for path, text in before.items())
    assert untimed(cut) == untimed(whole)
    document = json.loads((whole / "tables.json").read_text(encoding="utf-8"))
    assert document["volumes"] == "simulated volumes"
    rows = document["tables"]["2"]["rows"]
    assert [row[-1] for row in rows if row[:2] == ["UGAN", "ours"]] == ["not run"]
    assert {row[0] for row in rows if row[1] == "ours" and row[-1] != "not run"} == {"UNet"}


def test_folds_by_processes_of_their_own(fetusmap: Command, toys: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    call = ("reproduce", "--data", toys, "--output", output, "--presets", "unet", *OPTIONS)
    for number in (2, 1):
        answer = fetusmap(*call, "--fold", number)
        assert answer.code == 0, answer.err
        assert not (output / "tables.json").exists()
    assert {path.parent.name for path in (output / "runs").rglob("model.safetensors")} == {"fold-1", "fold-2"}
    made = {path: path.read_bytes() for part in ("runs", "predictions") for path in (output / part).rglob("*.*")}
    assert sum(path.parent.parent.name == "predictions" for path in made) == 7
    assert fetusmap(*call).code == 0
    assert {path: path.read_bytes() for path in made} == made  # nothing is recomputed
    assert (output / "tables.json").is_file()


def test_no_model_is_tested_on_what_it_saw(fetusmap: Command, toys: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- reproduce table-8 -->\nnot run yet\n<!-- /reproduce table-8 -->\n", encoding="utf-8")
    arguments = ["--data", toys, "--output", tmp_path / "out", "--presets", "unet", "--folds", "3", "--page", page]
    answer = fetusmap("reproduce", *arguments, *OPTIONS)
    assert answer.code == 0, answer.err
    folds = json.loads((tmp_path / "out" / "folds.json").read_text(encoding="utf-8"))["folds"]
    assert sorted(name for fold in folds for name in fold) == [f"case-{n:02d}" for n in range(7)]
    for number, tested in enumerate(folds, start=1):
        run = json.loads((tmp_path / "out/runs/unet" / f"fold-{number}/run.json").read_text(encoding="utf-8"))
        seen = set(run["training"]) | set(run["held_out"])
        assert len(seen) == 7 - len(tested) and not seen & set(tested)
    assert "Crown-rump length" in page.read_text(encoding="utf-8")
    assert (tmp_path / "out" / "tables.md").read_text(encoding="utf-8").count("\n### Table") == 7
    again = fetusmap("reproduce", *arguments[:-4], "--folds", "2", *OPTIONS)
    assert again.code == 2 and "other cases, folds or another seed" in again.errors()[0]


@pytest.mark.parametrize(
    "arguments,words",
    [
        (("--presets", "nothing-of-the-kind"), "nothing-of-the-kind"),
        (("--presets", "unet,unet"), "one twice"),
        (("--presets", ","), "no presets"),
        (("--widths", "wide"), "not channels per level"),
        (("--scale", "1/4"), "its own size under --scale"),
        (("--set", "run.steps"), "FIELD=VALUE"),
        (("--set", "run.step=3"), "no field 'run.step'"),
        (("--set", "run.steps=3", "--set", "run.steps=4"), "twice"),
        (("--set", "run.precision=half"), "32-true or bf16-mixed"),
        (("--folds", "4"), "too few for 4 folds"),
        (("--fold", "3"), "there is no fold 3"),
        (("--fold", "1", "--page", "none.md"), "one fold makes no tables"),
        (("--fold", "1", "--ray", "local"), "a cluster trains all folds"),
        (("--page", "none.md"), "cannot be read"),
        (("--data", "none"), "does not exist"),
    ],
)
def test_mistakes_are_one_line(
    fetusmap: Command, toys: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    answer = fetusmap("reproduce", "--data", toys, "--output", tmp_path / "out", *OPTIONS, *arguments)
    assert answer.code == 2
    (line,) = answer.errors()
    assert words in line
    assert not (tmp_path / "out" / "runs").exists()


def test_folds_are_dealt_once(toys: Path, tmp_path: Path) -> None:
    cases = case_set(find_cases(toys))
    parts = settled_folds(tmp_path, cases, 2, 0)
    assert settled_folds(tmp_path, cases, 2, 0) == parts
    assert {len(part) for part in parts} == {3, 4}
    with pytest.raises(UserError, match="another seed"):
        settled_folds(tmp_path, cases, 2, 1)


def test_memory_of_a_scheme_lies_below_the_plain_step() -> None:
    plain, gcp, ours = (predicted_memory(scheme, (32, 32, 32), (4, 6)) for scheme in ("", "gcp", PLANNER))
    assert plain.peak_bytes > gcp.peak_bytes > plain.parameter_bytes
    assert plain.peak_bytes > ours.peak_bytes


def test_a_miniature_of_several_systems(fetusmap: Command, toys: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- reproduce recipe -->\nnot run yet\n<!-- /reproduce recipe -->\n", encoding="utf-8")
    arguments = ["--data", toys, "--output", tmp_path / "out", "--steps", "1", "--scale", "1/8", "--widths", "2,4"]
    arguments += ["--set", "optimiser.learning_rate=1e-3", "--device", "cpu", "--no-memory", "--page", page]
    answer = fetusmap("reproduce", *arguments, "--presets", "fetusmap,ugcp")
    assert answer.code == 0, answer.err
    text = (tmp_path / "out" / "tables.md").read_text(encoding="utf-8")
    assert text.startswith("# The paper's tables, on simulated volumes\n\nResearch use only.")
    assert text.index("optimiser.learning_rate` 0.001 instead of 0.0001") < text.index("### Table 2")
    assert "| fetusmap | 192x112x128 | 24x14x16 | gcp | heatmap | full, limbs | its own |" in text
    assert "| ugcp | 192x112x128 | 24x14x16 | gcp | heatmap | - | of fetusmap |" in text
    assert "6 simulated volumes with a fetus and 1 without, in 2 folds" in text
    assert "24x14x16" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("scale", ["0", "2", "half", "1/0"])
def test_a_scale_is_a_fraction(fetusmap: Command, toys: Path, tmp_path: Path, scale: str) -> None:
    answer = fetusmap("reproduce", "--data", toys, "--output", tmp_path / "out", "--scale", scale)
    assert answer.code == 2 and "not a fraction of a size" in answer.errors()[0]
