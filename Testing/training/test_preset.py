"""Presets are data: the bundled ones load, say the paper's recipe, and mistakes are named."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from robustness.mutations import damaged, damaged_json
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.training.pose_module import learning_rate_factor, network_config
from FetusMapV2Lib.training.preset import PRESET_FOLDER, Preset, load_preset, preset_names
from FetusMapV2Lib.training.preset_options import OptimiserOptions


def test_unet_is_the_papers_recipe() -> None:
    preset = load_preset("unet")
    assert preset.input_size == (176, 112, 112)
    assert preset.network.widths == (40, 80, 160, 320, 640)
    assert preset.sigma == 2.0
    assert (preset.optimiser.learning_rate, preset.optimiser.betas) == (1e-4, (0.5, 0.999))
    assert (preset.run.epochs, preset.run.batch_size, preset.run.precision) == (100, 1, "32-true")
    assert (preset.views.whole, preset.views.close) == (1.0, 0.0)
    assert preset.augmentation.quarter_turns == "all"
    assert preset.augmentation.scale[0] < 1 < preset.augmentation.scale[1]


def test_upatch_differs_from_unet_in_its_views_alone() -> None:
    patches, plain = load_preset("upatch"), load_preset("unet")
    assert (patches.views.whole, patches.views.patch, patches.views.patch_spacing_mm) == (0.0, 1.0, 0.5)
    assert patches.samples_per_volume == 27 and plain.samples_per_volume == 1
    back = {"views": plain.to_dict()["views"], "description": plain.description, "name": plain.name}
    run = {**patches.to_dict()["run"], "cache_spacing_mm": plain.run.cache_spacing_mm}
    assert Preset.from_dict({**patches.to_dict(), **back, "run": run}) == plain


def test_the_bundled_model_fits_into_its_15_megabytes() -> None:
    preset = load_preset("bundled")
    from FetusMapV2Lib.models.architectures import build_network
    from FetusMapV2Lib.network.unet import parameter_bytes

    with torch.device("meta"):
        network = build_network(network_config(preset, 22))
    assert parameter_bytes(network) < 14e6
    assert min(preset.views.whole, preset.views.close, preset.views.tight) > 0


def test_every_bundled_preset_loads_and_survives_json() -> None:
    for preset in map(load_preset, preset_names()):
        assert Preset.from_dict(json.loads(json.dumps(preset.to_dict()))) == preset
        assert preset.description


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": "red"}, "unknown key colour"),
        ({"run": {"step": 3}}, "unknown key run.step"),
        ({"sigma": "two"}, "the preset: sigma must be a number"),
        ({"input_size": [100, 64, 64]}, "multiples of 16"),
        ({"input_size": [96, 64]}, "the preset: input_size must be a list of 3 values"),
        ({"run": {"batch_size": 0}}, "batch_size"),
        ({"run": {"steps": 1.5}}, "run.steps must be a whole number"),
        ({"optimiser": {"schedule": "magic"}}, "schedule"),
        ({"views": {"whole": 0, "close": 0}}, "positive weight"),
        ({"views": {"patch": -1}}, "positive weight"),
        ({"views": {"patch": 1}, "run": {"cache_spacing_mm": 0.5}}, "no other view"),
        ({"views": {"whole": 0, "patch": 1}, "loss": "pair", "run": {"cache_spacing_mm": 0.5}}, "loss heatmap"),
        ({"views": {"whole": 0, "patch": 1}}, "cache_spacing_mm may be no larger"),
        ({"views": {"patch_spacing_mm": 0}}, "patch_spacing_mm must be positive"),
        ({"views": {"patch_aimed": 2}}, "patch_aimed"),
        ({"views": {"patches_per_volume": 0}}, "patches_per_volume"),
        ({"extends": "nobody"}, "which does not exist"),
        ({"network": 3}, "must have a JSON object as network"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(change), encoding="utf-8")
    with pytest.raises(UserError, match=message):
        load_preset(path)


def test_a_file_may_extend_a_bundled_preset(tmp_path: Path) -> None:
    path = tmp_path / "meins ü.json"
    path.write_text(json.dumps({"extends": "unet", "run": {"epochs": 3}}), encoding="utf-8")
    preset = load_preset(path)
    assert preset.name == "meins ü"
    assert preset.run.epochs == 3
    assert preset.input_size == (176, 112, 112)


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(UserError, match="bundled"):
        load_preset("fetusmapv3")


def test_overrides_by_dotted_path() -> None:
    preset = load_preset("unet").with_overrides({"run.steps": 7, "optimiser.betas": (0.9, 0.99)})
    assert preset.run.steps == 7
    assert preset.optimiser.betas == (0.9, 0.99)
    with pytest.raises(UserError, match="no field"):
        preset.with_overrides({"run.stepz": 7})


def test_learning_rate_rises_then_falls() -> None:
    options = load_preset("bundled").optimiser
    factors = [learning_rate_factor(step, 1000, options) for step in range(1000)]
    top = max(factors)
    assert top == pytest.approx(1.0)
    assert factors[0] < 0.1
    assert factors[-1] == pytest.approx(options.final_factor, abs=1e-3)
    assert learning_rate_factor(500, 1000, load_preset("unet").optimiser) == 1.0


@pytest.mark.parametrize(("steps", "warmup"), [(200, 0.05), (200, 0.0), (7, 0.3)])
def test_the_schedule_is_that_of_torch(steps: int, warmup: float) -> None:
    options = OptimiserOptions(schedule="cosine", warmup=warmup, final_factor=0.02)
    first = max(1, round(warmup * steps))
    optimiser = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=1.0)
    rising = LinearLR(optimiser, start_factor=1 / first, total_iters=max(1, first - 1))
    falling = CosineAnnealingLR(optimiser, steps - first, eta_min=options.final_factor)
    schedule = SequentialLR(optimiser, [rising, falling], milestones=[first])
    for step in range(steps):
        assert learning_rate_factor(step, steps, options) == pytest.approx(schedule.get_last_lr()[0], rel=1e-12)
        optimiser.step()
        schedule.step()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "../../x"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a" * 101}, "name"),
        ({"network": {"widths": []}}, "widths"),
        ({"network": {"widths": [4] * 100}}, "widths"),
        ({"network": {"widths": [10**9, 4]}}, "widths"),
        ({"network": {"widths": [4] * 10**5}}, "widths"),
        ({"network": {"part_channels": 10**6}}, "part_channels"),
        ({"input_size": [10**6, 10**6, 16]}, "input_size"),
        ({"input_size": [0, 16, 16]}, "input_size"),
        ({"sigma": 10**15}, "sigma"),
        ({"run": {"steps": -3, "epochs": 1}}, "run.steps"),
        ({"run": {"steps": 10**12}}, "run.steps"),
        ({"run": {"batch_size": 10**6}}, "batch_size"),
        ({"optimiser": {"betas": [0.9, 2.0]}}, "betas"),
        ({"loss": "none"}, "loss"),
    ],
)
def test_what_nobody_could_train_is_one_line(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    path = tmp_path / "own.json"
    path.write_text(json.dumps({"extends": "unet", **changes}), encoding="utf-8")
    with pytest.raises(UserError, match=said) as refused:
        load_preset(path)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 500


@pytest.mark.parametrize("parent", ["../presets/unet", 5, [], {"a": 1}, "x" * 5000, "nobody", "a\0"])
def test_only_a_bundled_preset_can_be_extended(tmp_path: Path, parent: Any) -> None:
    path = tmp_path / "own.json"
    path.write_text(json.dumps({"extends": parent}), encoding="utf-8")
    with pytest.raises(UserError, match="does not exist"):
        load_preset(path)


@pytest.mark.parametrize("name", ["", "x" * 5000, "a\0b", "../presets/unet"])
def test_a_name_of_no_preset_is_one_line(name: str) -> None:
    with pytest.raises(UserError, match="no such preset"):
        load_preset(name)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 10**400])
def test_a_wish_that_is_no_number_is_one_line(value: float) -> None:
    for field in ("sigma", "optimiser.learning_rate", "run.steps"):
        with pytest.raises(UserError, match=field.rpartition(".")[2]):
            load_preset("unet").with_overrides({field: value})


def test_a_preset_however_damaged_is_read_or_one_line(tmp_path: Path) -> None:
    content, generator = (PRESET_FOLDER / "fetusmapv2.json").read_bytes(), random.Random(5)
    whole = json.dumps(load_preset("fetusmapv2").to_dict()).encode()
    for number in range(200):
        path = tmp_path / "own.json"
        path.write_bytes(
            damaged_json(generator, whole)[0]
            if number % 2
            else damaged(generator, {"a": content}, len(content), whole)[0]["a"]
        )
        try:
            load_preset(path)
        except UserError as error:
            assert error.line().isprintable()
