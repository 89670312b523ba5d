"""The tensors of a model file: how weights are stored, and which tensors are refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from models.rewritten_files import rewritten
from safetensors.torch import load_file

from FetusMapV2Lib.core.errors import ModelError
from FetusMapV2Lib.models.model_file import Model, load_model, save_model, tensors_checksum
from FetusMapV2Lib.network.unet import UNet3d


@pytest.fixture
def wide(model: Model) -> Model:
    """A network whose weights are most of its file."""
    network = UNet3d(widths=(8, 16, 32))
    return replace(model, network=network).with_info(network=dict(network.config))


def test_half_precision_halves_the_weights(wide: Model, tmp_path: Path) -> None:
    save_model(tmp_path / "full", wide)
    save_model(tmp_path / "half", wide.with_info(weights="float16"))
    assert (tmp_path / "half").stat().st_size < 0.6 * (tmp_path / "full").stat().st_size
    again = load_model(tmp_path / "half")
    assert all(p.dtype == torch.float32 for p in again.network.parameters())
    volume = torch.rand(1, 1, 32, 16, 16)
    assert torch.allclose(again.network(volume), wide.network(volume), atol=1e-2)
    # saved again it stays what it is
    assert save_model(tmp_path / "again", again) == again.checksum


def test_eight_bits_quarter_the_weights_and_stay_the_same_when_saved_again(wide: Model, tmp_path: Path) -> None:
    with torch.no_grad():
        wide.network.state_dict()["head.weight"][0] = 0.0  # a channel of nothing has a scale, too
    save_model(tmp_path / "full", wide)
    checksum = save_model(tmp_path / "bytes", wide.with_info(weights="int8"))
    assert (tmp_path / "bytes").stat().st_size < 0.33 * (tmp_path / "full").stat().st_size
    again = load_model(tmp_path / "bytes")
    assert again.checksum == checksum and all(p.dtype == torch.float32 for p in again.network.parameters())
    for name, value in wide.network.state_dict().items():
        read = again.network.state_dict()[name]
        most = value.abs().flatten(1).amax(dim=1) if value.ndim > 1 else torch.zeros(())
        off = (read - value).abs().flatten(1).amax(dim=1) if value.ndim > 1 else (read - value).abs().max()
        assert (off <= most * 0.51 / 127).all()
    volume = torch.rand(1, 1, 32, 16, 16)
    assert torch.allclose(again.network(volume), wide.network(volume), atol=0.05)
    assert save_model(tmp_path / "again", again) == again.checksum


def damaged_tensors(path: Path, damage: Callable[[dict[str, torch.Tensor]], object]) -> Path:
    """Other tensors with a checksum that is right."""
    tensors = load_file(path)
    damage(tensors)
    return rewritten(path, tensors, checksum=tensors_checksum(tensors))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda t: t.pop("network.head.bias"), "head.bias is missing"),
        (lambda t: t.update({"network.more": torch.zeros(1)}), "is no weight"),
        (lambda t: t.update({"network.head.bias": torch.zeros(21)}), "shape"),
        (lambda t: t.update({"network.head.bias": torch.zeros(22, dtype=torch.float64)}), "float64"),
        (lambda t: t.update({"network.head.bias": torch.zeros(22, dtype=torch.int64)}), "int64"),
        (lambda t: t["network.head.bias"].fill_(float("nan")), "NaN or infinity"),
        (lambda t: t["network.head.bias"].fill_(float("inf")), "NaN or infinity"),
        (lambda t: t.pop("prior.poses"), "missing"),
        (lambda t: t.update({"prior.poses": torch.zeros(5, 21, 3)}), "another shape"),
        (lambda t: t.update({"prior.poses": torch.zeros(5, 22, 3, dtype=torch.int32)}), "floating-point"),
        (lambda t: t["prior.poses"][0, 0].fill_(float("inf")), "not finite"),
        (lambda t: t["prior.poses"][0, 0, 0].fill_(float("nan")), "not finite"),
        (lambda t: t.update({"prior.template": torch.zeros(22, 4)}), "another shape"),
        (lambda t: t["prior.template"][0].fill_(float("nan")), "not finite"),
        (lambda t: t["prior.poses"][0, 0].fill_(10_100.0), "too far away"),
        (lambda t: t["prior.template"][0].fill_(-10_100.0), "too far away"),
    ],
)
def test_tensors_that_are_none_of_such_a_model_are_refused(
    model: Model, tmp_path: Path, damage: Callable[[dict[str, torch.Tensor]], object], message: str
) -> None:
    path = tmp_path / "m.safetensors"
    save_model(path, model)
    damaged_tensors(path, damage)
    with pytest.raises(ModelError, match=message):
        load_model(path)


_SCALES_OF_HEAD = "scales.head.weight"


@pytest.mark.parametrize(
    "damage",
    [
        lambda t: t.pop(_SCALES_OF_HEAD),
        lambda t: t.update({"scales.nothing": torch.ones(22)}),
        lambda t: t.update({_SCALES_OF_HEAD: torch.ones(21)}),
        lambda t: t.update({_SCALES_OF_HEAD: torch.ones(22).half()}),
        lambda t: t[_SCALES_OF_HEAD].fill_(float("inf")),
    ],
)
def test_scales_that_do_not_fit_are_refused(
    model: Model, tmp_path: Path, damage: Callable[[dict[str, torch.Tensor]], object]
) -> None:
    save_model(tmp_path / "m", model.with_info(weights="int8"))
    damaged_tensors(tmp_path / "m", damage)
    with pytest.raises(ModelError, match="scales"):
        load_model(tmp_path / "m")


def test_positions_ten_metres_away_are_accepted(model: Model, tmp_path: Path) -> None:
    poses = model.poses.copy()
    poses[0, 0] = 9_900.0
    save_model(tmp_path / "far", replace(model, poses=poses, template=model.template.clip(max=0.1) - 9_900.0))
    assert load_model(tmp_path / "far").poses[0, 0, 0] == 9_900.0
