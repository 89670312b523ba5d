"""The loss of patches against a literal float64 reading: the volume's Gaussian cut by the patch, the rest outside."""

from __future__ import annotations

import math

import pytest
import torch
from memory.networks import error, gradient_vector, managed, slabs, small_unet, volume
from torch import Tensor

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.memory.plan import Choices, Storage, UnitChoice
from FetusMapV2Lib.network.heatmap import gaussian_target, log_probabilities
from FetusMapV2Lib.training.losses import HeatmapLoss, PatchLoss, build_loss
from FetusMapV2Lib.training.pose_module import PoseModule
from FetusMapV2Lib.training.preset import Preset

SHAPE = (6, 5, 4)
SIGMA = 1.2
NAN = float("nan")
#: Inside, at a border, on a voxel beside the patch, far away, missing.
POINTS = [[1.6, 2.3, 2.9], [-0.5, 4.2, 5.4], [1.0, 2.0, 7.0], [-40.0, 90.0, 3.0], [NAN, NAN, NAN]]


def samples(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """A patch of a fetus, and one of a volume without."""
    generator = torch.Generator().manual_seed(3)
    logits = 3 * torch.randn(2, 5, *SHAPE, generator=generator, dtype=dtype)
    points = torch.tensor([POINTS, [[NAN] * 3] * 5], dtype=dtype)
    return logits, points, torch.tensor([True, False])


def literal(logits: Tensor, point: Tensor, present: bool) -> Tensor:
    """-sum(log p * target) over the voxels and "outside", whose logit is that of all voxels of a flat map together."""
    beyond = 12  # voxels around the patch that stand for the rest of the volume
    target = torch.zeros(SHAPE, dtype=torch.float64)
    if present:
        large = [n + 2 * beyond for n in SHAPE]
        whole = gaussian_target(point[None] + beyond, large, SIGMA)[0]
        if (point.abs() < 2 * beyond).all():
            target = whole[tuple(slice(beyond, beyond + n) for n in SHAPE)]
    weights = torch.exp(logits)
    outside = math.prod(SHAPE)
    total = weights.sum() + outside
    inside = (torch.log(weights / total) * target).sum()
    return -inside - torch.log(outside / total) * (1 - target.sum())


def test_it_is_eq_5_over_the_patch_and_outside() -> None:
    logits, points, present = samples()
    expected = sum(
        literal(logits[sample, row], points[sample, row], bool(present[sample]))
        for sample in range(2)
        for row in range(5)
        if not (present[sample] and points[sample, row].isnan().any())
    )
    found = PatchLoss(SIGMA)(logits, points, present)
    assert float(found.total) * 10 == pytest.approx(float(expected), rel=1e-6)
    assert float(found.parts["heatmap"]) == pytest.approx(float(expected) / 9, rel=1e-6)


def test_the_part_outside_is_never_negative() -> None:
    logits = torch.zeros(1, 1, *SHAPE, dtype=torch.float64)
    middle = torch.tensor([[[2.0, 2.0, 2.0]]], dtype=torch.float64)
    # sigma 0.5: the sampled Gaussian sums to more than one
    found = PatchLoss(0.5)(logits, middle, torch.tensor([True]))
    assert float(found.total) == pytest.approx(math.log(2 * math.prod(SHAPE)), rel=1e-12)


def test_gradients_are_right_and_zero_where_missing() -> None:
    logits, points, present = samples()
    logits.requires_grad_(True)
    loss = PatchLoss(SIGMA)
    assert torch.autograd.gradcheck(lambda z: loss(z, points, present).total, (logits,))
    (gradient,) = torch.autograd.grad(loss(logits, points, present).total, logits)
    assert gradient[0, 4].abs().sum() == 0
    assert gradient[0, 3].min() > 0  # far outside: every voxel is too likely


def test_inside_it_is_the_plain_loss_and_the_wish_to_be_inside() -> None:
    """-log p(x) = -log p(x | inside) - log p(inside)."""
    shape = (24, 22, 20)
    logits = torch.randn(1, 1, *shape, dtype=torch.float64)
    points, present = torch.tensor([[[9.3, 11.1, 12.4]]], dtype=torch.float64), torch.tensor([True])
    inside = torch.logsumexp(logits.flatten(), 0)
    wish = torch.logaddexp(inside, torch.tensor(math.log(math.prod(shape)), dtype=torch.float64)) - inside
    expected = HeatmapLoss(SIGMA)(logits, points, present).total + wish
    assert float(PatchLoss(SIGMA)(logits, points, present).total) == pytest.approx(float(expected), rel=1e-7)


def test_nothing_jumps_at_the_border() -> None:
    """The loss of a fixed map as a landmark leaves the patch, in steps of a hundredth voxel."""
    logits = torch.randn(1, 1, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    path = torch.arange(2.0, 9.0, 0.01, dtype=torch.float64)
    points = torch.stack([torch.full_like(path, 1.5), torch.full_like(path, 2.0), path], dim=1)[:, None, None]
    values = torch.stack([PatchLoss(SIGMA)(logits, point, torch.tensor([True])).total for point in points])
    assert float(values.diff().abs().max()) < 0.03
    assert float(values[0]) > float(values[-1]) + 1  # from a voxel to "outside"


def test_what_it_teaches_is_what_stitching_reads() -> None:
    """Gradient descent on free logits ends with the part of the volume's Gaussian that the patch shows."""
    _, points, present = samples(torch.float32)
    logits = torch.zeros(2, 5, *SHAPE, requires_grad=True)
    optimiser = torch.optim.Adam([logits], lr=0.3)
    for _ in range(400):
        optimiser.zero_grad()
        PatchLoss(SIGMA)(logits, points, present).total.backward()
        optimiser.step()
    seen = log_probabilities(logits.detach()[0].clone()).exp()
    whole = gaussian_target(points[0, :3] + 12, [n + 24 for n in SHAPE], SIGMA)
    assert torch.allclose(seen[:3], whole[:, 12:18, 12:17, 12:16], atol=2e-3)
    assert float(seen[3].sum()) < 1e-3
    assert float(log_probabilities(logits.detach()[1].clone()).exp().sum()) < 5e-3


@pytest.mark.parametrize("rows", [1, 4])
def test_slabs_give_the_loss_and_its_gradient(rows: int) -> None:
    logits, points, present = samples()
    whole = PatchLoss(SIGMA)(logits.requires_grad_(), points, present)
    (expected,) = torch.autograd.grad(whole.total, logits)
    slabs = PatchLoss(SIGMA).in_slabs(points, present)
    slabs.begin(tuple(logits.shape), logits.device, logits.dtype)
    parts = [slice(k, min(k + rows, SHAPE[0])) for k in range(0, SHAPE[0], rows)]
    for part in parts:
        slabs.accumulate(0, logits.detach()[:, :, part], part)
    assert float(slabs.value()) == pytest.approx(float(whole.total.detach()), rel=1e-12)
    found = torch.cat([slabs.gradient(logits.detach()[:, :, part].clone(), part) for part in parts], dim=2)
    assert error(found, expected) < 1e-12


@pytest.mark.parametrize(
    "choices",
    [
        Choices(head_rows=5),
        Choices(units={"down.0.first": UnitChoice(Storage.NEVER, 2)}),
        Choices(slab_rows=6, streamed_to_host=("z", "dy")),
        slabs(small_unet(), 4, Storage.NEVER),
    ],
    ids=["fused", "never", "streamed", "slabs"],
)
def test_under_a_memory_plan(choices: Choices) -> None:
    network = small_unet()
    x = volume(size=(16, 16, 16))
    points = torch.tensor([[[3.2, 7.7, 15.8], [20.0, 3.0, 4.0], [NAN] * 3, [8.0] * 3, [-9.0] * 3]], dtype=torch.float64)
    present = torch.tensor([True])
    loss = PatchLoss(2.0)
    network.zero_grad()
    total = loss(network(x), points, present).total
    total.backward()
    expected = gradient_vector(network)
    network.zero_grad()
    found = managed(network, choices).loss(x, loss.in_slabs(points, present))
    found.backward()
    assert float(found.detach()) == pytest.approx(float(total.detach()), rel=1e-12)
    assert error(gradient_vector(network), expected) < 1e-12


def test_it_belongs_to_presets_of_patches() -> None:
    toy = {"name": "toy", "input_size": [32, 24, 24], "network": {"widths": [2, 3]}}
    patches = {"views": {"whole": 0.0, "patch": 1.0, "patch_spacing_mm": 2.0}}
    assert isinstance(PoseModule(Preset.from_dict(toy), 22, 1).loss, HeatmapLoss)
    assert isinstance(PoseModule(Preset.from_dict({**toy, **patches}), 22, 1).loss, PatchLoss)
    with pytest.raises(UserError, match="patches"):
        build_loss("pair", 2.0, of_patches=True)
