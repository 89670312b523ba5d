"""Presets are data: the bundled ones load, say the paper's recipe, and mistakes are named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from FetusMapV2Lib.foundation.errors import UserError
from FetusMapV2Lib.training.module import learning_rate_factor, network_config
from FetusMapV2Lib.training.presets import Preset, list_presets, load_preset


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
    from FetusMapV2Lib.estimation.networks import build_network
    from FetusMapV2Lib.network.unet import parameter_bytes

    with torch.device("meta"):
        network = build_network(network_config(preset, 22))
    assert parameter_bytes(network) < 14e6
    assert preset.views.close > 0


def test_every_bundled_preset_loads_and_survives_json() -> None:
    for preset in list_presets():
        assert Preset.from_dict(json.loads(json.dumps(preset.to_dict()))) == preset
        assert preset.description


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": "red"}, "unknown preset key colour"),
        ({"run": {"step": 3}}, "unknown preset key run.step"),
        ({"sigma": "two"}, "preset key sigma must be float"),
        ({"input_size": [100, 64, 64]}, "multiples of 16"),
        ({"input_size": [96, 64]}, "preset key input_size"),
        ({"run": {"batch_size": 0}}, "batch_size"),
        ({"run": {"steps": 1.5}}, "run.steps must be int"),
        ({"optimiser": {"schedule": "magic"}}, "schedule"),
        ({"views": {"whole": 0, "close": 0}}, "positive weight"),
        ({"views": {"patch": -1}}, "positive weight"),
        ({"views": {"patch": 1}, "run": {"cache_spacing_mm": 0.5}}, "no other view"),
        ({"views": {"whole": 0, "patch": 1}, "loss": "pair", "run": {"cache_spacing_mm": 0.5}}, "loss heatmap"),
        ({"views": {"whole": 0, "patch": 1}}, "cache_spacing_mm no larger"),
        ({"views": {"patch_spacing_mm": 0}}, "patch_spacing_mm must be positive"),
        ({"views": {"patch_aimed": 2}}, "patch_aimed"),
        ({"views": {"patches_per_volume": 0}}, "patches_per_volume"),
        ({"extends": "nobody"}, "which does not exist"),
        ({"network": 3}, "must be a JSON object"),
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
