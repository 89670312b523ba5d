"""Presets with the same weights by construction are trained once, whatever is asked for first."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from training.toy_cases import write_toy_cases

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.evaluation.case_set import case_set
from FetusMapV2Lib.evaluation.paper.protocol import (
    Protocol,
    Reproduced,
    compare_with_paper,
    cross_validate,
    settled_folds,
)
from FetusMapV2Lib.evaluation.paper.recipes import recipes
from FetusMapV2Lib.evaluation.paper.sharing import settled_trainings
from FetusMapV2Lib.imaging.training_cases import find_cases
from FetusMapV2Lib.models.model_file import load_model
from FetusMapV2Lib.training.preset import load_preset

TINY = {
    "run.steps": 2,
    "input_size": [32, 24, 24],
    "network.widths": [4, 6],
    "run.cache_spacing_mm": 3.0,
}


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toys")
    write_toy_cases(folder, 4)
    return folder


def reproduced(data: Path, output: Path, names: str, **changes: object) -> Reproduced:
    cases = case_set(find_cases(data))
    chosen = recipes(names, {**TINY, **changes})
    parts = settled_folds(output, cases, 2, 0)
    protocol = Protocol(data, output, chosen, cases, parts, device="cpu", predict_memory=False)
    return compare_with_paper(protocol, cross_validate(protocol))


@pytest.mark.parametrize(
    "one,other",
    [
        ("unet", "ussl"),
        ("up", "upssl"),
        ("ugcp", "fetusmap"),
        ("ugcprev", "fetusmapv2-wo-p"),
        ("fetusmapv2", "fetusmapv2-wo-ssl"),
    ],
)
def test_refinement_leaves_the_weights_alone(one: str, other: str, tmp_path: Path) -> None:
    first, second = load_preset(one), load_preset(other)
    assert first.has_weights_of(second) and second.has_weights_of(first)
    assert not first.trains_like(second)  # the model files differ
    assert settled_trainings(tmp_path, [second, first]) == {one: second, other: second}


def test_every_other_difference_makes_other_weights() -> None:
    names = ("unet", "up", "ugcp", "urev", "ugcprev", "fetusmapv2", "urnn", "unet-l")
    presets = [load_preset(name) for name in names]
    for one in presets:
        assert [other.name for other in presets if one.has_weights_of(other)] == [one.name]
    at_one_size = [load_preset(name).with_overrides(TINY) for name in ("unet", "ugcp", "urev")]
    assert at_one_size[0].has_weights_of(at_one_size[1])  # checkpoints do not change the gradients
    assert not at_one_size[0].has_weights_of(at_one_size[2])  # reversible blocks are other blocks


@pytest.fixture(scope="module")
def done(toys: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Reproduced]:
    """Three presets that share their weights at one size, the last named alike but for the checkpoints."""
    output = tmp_path_factory.mktemp("done")
    return output, reproduced(toys, output, "ussl,unet,ugcp")


def model_file(output: Path, name: str, fold: int) -> Path:
    return output / "runs" / name / f"fold-{fold}" / "model.safetensors"


def test_one_training_many_models(done: tuple[Path, Reproduced]) -> None:
    output, result = done
    assert {path.parent.parent.name for path in (output / "runs").glob("*/*/last.ckpt")} == {"ussl"}
    models = {name: load_model(model_file(output, name, 2)) for name in ("ussl", "unet", "ugcp")}
    weights = {name: model.network.state_dict() for name, model in models.items()}
    for name, model in models.items():
        preset = load_preset(name).with_overrides(TINY)
        assert model.info.preset == preset.to_dict()
        assert model.info.refined_landmarks == preset.refinement.refined
        assert model.info.training.get("weights_of") == (None if name == "ussl" else "ussl")
        assert all(torch.equal(value, weights["ussl"][key]) for key, value in weights[name].items())
    other = load_model(model_file(output, "unet", 1)).network.state_dict()
    assert not torch.equal(other["head.weight"], weights["unet"]["head.weight"])
    assert "| unet | 176x112x112 | 32x24x24 | - | heatmap | - | of ussl |" in result.recipe
    (resources,) = [table for table in result.tables if table.number == 4]
    seconds, trained = resources.head.index("s per volume, ours"), resources.head.index("trained by us at")
    times = {row[0]: row[seconds] for row in resources.rows if row[trained] == "32x24x24"}
    assert float(times["UNet"]) > 0
    assert times["UGCP"] == "-"  # no step was run with its checkpoints


def test_a_later_call_goes_on_from_there(done: tuple[Path, Reproduced], toys: Path, tmp_path: Path) -> None:
    output = tmp_path / "later"
    shutil.copytree(done[0], output)
    lost = model_file(output, "unet", 1)
    before = {path: path.read_bytes() for folder in ("runs", "predictions") for path in (output / folder).rglob("*.*")}
    lost.unlink()
    reproduced(toys, output, "unet,ussl")  # asked for in another order
    assert {path: path.read_bytes() for path in before} == before


def test_another_recipe_in_the_same_folder_is_refused(
    done: tuple[Path, Reproduced], toys: Path, tmp_path: Path
) -> None:
    output = tmp_path / "other"
    shutil.copytree(done[0], output)
    with pytest.raises(UserError, match="another preset, number of steps"):
        reproduced(toys, output, "ussl", **{"run.steps": 3})
    note = output / "runs" / "ussl" / "fold-1" / "run.json"
    note.write_text(json.dumps({"preset": 3}), encoding="utf-8")
    with pytest.raises(UserError, match="lacks the key seed"):
        reproduced(toys, output, "unet")
