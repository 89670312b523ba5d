"""The heatmap loss against a literal float64 reading of Eq. 5."""

from __future__ import annotations

import math

import pytest
import torch

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.network.heatmap import gaussian_target
from FetusMapV2Lib.training.losses import HeatmapLoss, PairLoss, build_loss, cross_entropy
from FetusMapV2Lib.training.pose_module import PoseModule
from FetusMapV2Lib.training.preset import Preset
from FetusMapV2Lib.training.preset_options import LossOptions

SHAPE = (6, 5, 4)
NAN = float("nan")


def samples(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    logits = 3 * torch.randn(2, 3, *SHAPE, generator=generator, dtype=dtype)
    points = torch.tensor(
        [[[1.2, 3.3, 4.4], [NAN, NAN, NAN], [3.0, 0.1, 0.0]], [[2.0, 2.0, 2.0], [0.5, 4.0, 5.0], [NAN, NAN, NAN]]],
        dtype=dtype,
    )
    return logits, points, torch.tensor([True, True])


def literal(logits: torch.Tensor, point: torch.Tensor, sigma: float) -> torch.Tensor:
    """K(P, G) of Eq. 5 for one landmark, written as in the paper."""
    probability = torch.exp(logits) / torch.exp(logits).sum()
    return -(torch.log(probability) * gaussian_target(point[None], SHAPE, sigma)[0]).sum()


def test_it_is_eq_5_and_missing_landmarks_cost_nothing() -> None:
    logits, points, present = samples()
    entropy = cross_entropy(logits, points, present, 1.5)
    for sample in range(2):
        for row in range(3):
            point = points[sample, row]
            expected = 0.0 if point.isnan().any() else literal(logits[sample, row], point, 1.5)
            assert float(entropy[sample, row]) == pytest.approx(float(expected), rel=1e-12)


def test_gradients_are_right_and_zero_where_missing() -> None:
    logits, points, present = samples()
    logits.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda z: cross_entropy(z, points, present, 1.5), (logits,))
    (gradient,) = torch.autograd.grad(HeatmapLoss(1.5)(logits, points, present).total, logits)
    assert gradient[0, 1].abs().sum() == 0 and gradient[1, 2].abs().sum() == 0
    assert torch.isfinite(gradient).all()


def test_the_loss_is_least_at_the_target() -> None:
    points = torch.tensor([[[1.5, 2.5, 3.5]]], dtype=torch.float64)
    target = gaussian_target(points[0], SHAPE, 1.5)[None]
    present = torch.tensor([True])
    logits = target.log().requires_grad_(True)
    entropy = cross_entropy(logits, points, present, 1.5)
    assert float(entropy.detach()) == pytest.approx(float(-(target * target.log()).sum()))
    (gradient,) = torch.autograd.grad(entropy.sum(), logits)
    assert gradient.abs().max() < 1e-12


def test_without_a_fetus_the_flat_map_is_best() -> None:
    logits, points, _ = samples()
    absent = torch.tensor([False, False])
    flat = torch.zeros_like(logits)
    assert torch.allclose(
        cross_entropy(flat, points, absent, 1.5), torch.full((2, 3), math.log(math.prod(SHAPE)), dtype=torch.float64)
    )
    expected = -torch.log_softmax(logits.flatten(2), dim=2).mean(dim=2)
    assert torch.allclose(cross_entropy(logits, points, absent, 1.5), expected)


def test_half_precision_logits_are_summed_in_float32() -> None:
    logits, points, present = samples(torch.float32)
    rounded = logits.to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        low = cross_entropy(rounded, points, present, 1.5)
    assert low.dtype == torch.float32
    assert torch.allclose(low, cross_entropy(rounded.float(), points, present, 1.5))


def test_the_mean_is_over_all_landmarks_and_the_log_over_the_known() -> None:
    logits, points, present = samples()
    parts = HeatmapLoss(1.5)(logits, points, present)
    entropy = cross_entropy(logits, points, present, 1.5)
    assert float(parts.total) == pytest.approx(float(entropy.sum() / 6))
    assert float(parts.parts["heatmap"]) == pytest.approx(float(entropy.sum() / 4))


def test_a_sample_without_any_landmark_gives_zero_not_nan() -> None:
    logits, points, present = samples()
    nowhere = torch.full_like(points, NAN)
    parts = HeatmapLoss(1.5)(logits, nowhere, present)
    assert float(parts.total) == 0.0
    assert float(parts.parts["heatmap"]) == 0.0
    slabs = HeatmapLoss(1.5).in_slabs(nowhere, present)
    slabs.begin(tuple(logits.shape), logits.device, logits.dtype)
    slabs.accumulate(0, logits, slice(0, logits.shape[2]))
    assert float(slabs.value()) == float(slabs.parts()["heatmap"]) == 0.0


def test_unknown_losses_are_refused() -> None:
    with pytest.raises(UserError, match="unknown loss"):
        build_loss("hinge", 2.0)
    with pytest.raises(UserError, match="cannot be used with patches"):
        build_loss("pair", 2.0, of_patches=True)


def test_a_preset_names_its_loss_and_weighs_its_parts() -> None:
    small = {"name": "small", "network": {"widths": [2, 2]}}
    plain = PoseModule(Preset.from_dict(small), 22, 1).loss
    assert isinstance(plain, HeatmapLoss)
    pair = PoseModule(Preset.from_dict({**small, "loss": "pair", "sigma": 1.5}), 22, 1).loss
    assert isinstance(pair, PairLoss)
    assert (pair.sigma, pair.options) == (1.5, LossOptions(1.0, 1.0, 1.0))
    weights = {"trunk": 2.0, "joint": 0.0}
    weighed = PoseModule(Preset.from_dict({**small, "loss": "pair", "loss_weights": weights}), 22, 1).loss
    assert isinstance(weighed, PairLoss)
    assert weighed.options == LossOptions(2.0, 1.0, 0.0)
    with pytest.raises(UserError, match="must not be negative"):
        Preset.from_dict({**small, "loss_weights": {"joint": -1.0}})
    with pytest.raises(UserError, match="not all zero"):
        Preset.from_dict({**small, "loss_weights": {"trunk": 0.0, "assigned": 0.0, "joint": 0.0}})
