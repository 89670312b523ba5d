"""The Pair Loss against a literal float64 reading of Eq. 3-6 and 8, with explicit target maps and loops."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.memory_bench.measuring import measure_step
from memory.networks import error, gradient_vector, managed, slabs, small_unet, volume
from torch import Tensor, nn
from training.tiny_run import fit_on_cpu
from training.toy_cases import write_toy_cases

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.memory.meter import PeakMeter
from FetusMapV2Lib.memory.plan import Choices, Storage, UnitChoice
from FetusMapV2Lib.models.model_file import load_model
from FetusMapV2Lib.network import onednn
from FetusMapV2Lib.network.heatmap import gaussian_target
from FetusMapV2Lib.training.callbacks import validate
from FetusMapV2Lib.training.case_folder import CaseFolder, ReducedVolumes
from FetusMapV2Lib.training.losses import HeatmapLoss, PairLoss, build_loss
from FetusMapV2Lib.training.pose_module import PoseModule
from FetusMapV2Lib.training.preset import Preset
from FetusMapV2Lib.training.preset_options import LossOptions
from FetusMapV2Lib.training.samples import ValidationViews

SHAPE = (6, 5, 4)
SIGMA = 1.2
NAN = float("nan")
#: The paper's groups, by the paper's numbers.
TRUNK = range(1, 11)
ARMS, LEGS = ((11, 12, 13), (14, 15, 16)), ((17, 18, 19), (20, 21, 22))
SCHEMA = default_schema()
MIRROR = torch.tensor(SCHEMA.mirror_rows.tolist())


def samples(dtype: torch.dtype = torch.float64, spread: float = 3.0) -> tuple[Tensor, Tensor, Tensor]:
    """Three samples: whole, with missing landmarks (one limb without any), without a fetus."""
    generator = torch.Generator().manual_seed(5)
    logits = spread * torch.randn(3, 22, *SHAPE, generator=generator, dtype=dtype)
    size = torch.tensor(SHAPE[::-1], dtype=dtype) - 1
    points = torch.rand(3, 22, 3, generator=generator, dtype=dtype) * size
    for number in (2, 12, 14, 15, 20, 21, 22):
        points[1, number - 1] = NAN
    points[2] = NAN
    return logits, points, torch.tensor([True, True, False])


def gaussian(point: Tensor, present: bool) -> Tensor | None:
    """Eq. 2, summing to one over the grid; None if missing; the flat map without a fetus."""
    if not present:
        return torch.full(SHAPE, 1 / math.prod(SHAPE), dtype=torch.float64)
    if point.isnan().any():
        return None
    values = torch.zeros(SHAPE, dtype=torch.float64)
    for k in range(SHAPE[0]):
        for j in range(SHAPE[1]):
            for i in range(SHAPE[2]):
                square = (i - point[0]) ** 2 + (j - point[1]) ** 2 + (k - point[2]) ** 2
                values[k, j, i] = torch.exp(-square / (2 * SIGMA**2))
    return values / values.sum()


def literal(logits: Tensor, points: Tensor, present: Tensor, options: LossOptions | None = None) -> Tensor:
    """Eq. 8 as printed, divided by the number of maps."""
    options = options or LossOptions()
    total = torch.zeros((), dtype=torch.float64)
    for z, point, there in zip(logits, points, present, strict=True):
        p = [torch.exp(one) / torch.exp(one).sum() for one in z]
        g = [gaussian(one, bool(there)) for one in point]

        def k(maps: tuple[int, ...], targets: tuple[int, ...], p: list = p, g: list = g) -> Tensor:
            found = torch.zeros((), dtype=torch.float64)
            for a, b in zip(maps, targets, strict=True):
                if g[b - 1] is not None:
                    found = found - (torch.log(p[a - 1]) * g[b - 1]).sum()
            return found

        total = total + options.trunk * k(tuple(TRUNK), tuple(TRUNK))
        for left, right in (ARMS, LEGS):
            annotated, exchanged = k(left, left) + k(right, right), k(left, right) + k(right, left)
            total = total + options.assigned * torch.minimum(annotated, exchanged)
            for a, b in zip(left, right, strict=True):
                for target in (g[a - 1], g[b - 1]):
                    if target is not None:
                        total = total - options.joint * (torch.log(p[a - 1] + p[b - 1]) * target).sum()
    return total / (len(logits) * 22)


@pytest.mark.parametrize("options", [LossOptions(), LossOptions(0.5, 2.0, 0.25), LossOptions(joint=0.0)])
def test_it_is_eq_8_and_its_gradient(options: LossOptions) -> None:
    logits, points, present = samples()
    for given in (logits, logits[:, MIRROR]):  # so that each way of assigning is met
        given = given.clone().requires_grad_()
        found = PairLoss(SIGMA, SCHEMA, options)(given, points, present).total
        expected = literal(given, points, present, options)
        assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-12)
        slopes = [torch.autograd.grad(total, given)[0] for total in (found, expected)]
        assert error(slopes[0], slopes[1]) < 1e-12


def test_gradcheck() -> None:
    logits, points, present = samples()
    few = slice(0, 2), slice(None), slice(0, 3), slice(0, 2), slice(0, 3)
    small = logits[few].clone().requires_grad_()
    loss = PairLoss(SIGMA, SCHEMA)
    assert torch.autograd.gradcheck(lambda z: loss(z, points[:2], present[:2]).total, (small,), fast_mode=True)


def test_the_assignment_is_one_for_the_whole_limb() -> None:
    """Shoulder and elbow exchanged, the wrist not: the limb is taken as exchanged, and the wrist pays."""
    _, points, present = samples()
    points, present = points[:1], present[:1]
    perfect = torch.stack([gaussian(point, True).log() for point in points[0]])[None]
    rows = [row - 1 for number in (0, 1) for row in (ARMS[0][number], ARMS[1][number])]
    wrong = perfect.clone()
    wrong[:, rows] = perfect[:, MIRROR][:, rows]
    loss = PairLoss(SIGMA, SCHEMA, LossOptions(trunk=0, joint=0))
    found, best = (float(loss(maps, points, present).total) for maps in (wrong, perfect))
    assert found == pytest.approx(float(literal(wrong, points, present, LossOptions(trunk=0, joint=0))), rel=1e-12)
    assert found > best + 0.01


def test_exchanged_sides_cost_nothing_and_move_nothing() -> None:
    """Fig. 6: a prediction with arms or legs exchanged is as good as the right one, in both parts of the loss."""
    _, points, present = samples()
    right = torch.stack([3 * gaussian(point, True).sqrt() for point in points[0]])[None].repeat(2, 1, 1, 1, 1)
    points, present = points[:1].repeat(2, 1, 1), present[:1].repeat(2)
    loss = PairLoss(SIGMA, SCHEMA)
    costs, slopes = [], []
    arms = [number - 1 for side in ARMS for number in side]
    for exchanged in ([], arms, list(range(22))):
        maps = right.clone()
        maps[:, exchanged] = right[:, MIRROR][:, exchanged]
        maps.requires_grad_()
        parts = loss(maps, points, present)
        costs.append((parts.total.detach(), *(parts.parts[name] for name in ("assigned", "joint"))))
        (slope,) = torch.autograd.grad(parts.total, maps)
        back = slope.clone()
        back[:, exchanged] = slope[:, MIRROR][:, exchanged]
        slopes.append(back)
        assert float(parts.parts["exchanged"]) == pytest.approx(len(set(exchanged) - set(range(10))) / 12)
    plain = HeatmapLoss(SIGMA)
    assert float(plain(right[:, MIRROR], points, present).total) > float(plain(right, points, present).total) + 0.01
    for cost, slope in zip(costs[1:], slopes[1:], strict=True):
        assert torch.allclose(torch.stack(cost), torch.stack(costs[0]), rtol=1e-12)
        assert error(slope, slopes[0]) < 1e-12


def test_both_limbs_on_one_side_cost_in_l2() -> None:
    """Fig. 6(a): both legs found at the left one. L2 pulls one of them over, as it pulls nobody from the truth."""
    _, points, present = samples()
    points, present = points[:1], present[:1]
    perfect = torch.stack([gaussian(point, True).log() for point in points[0]])[None]
    one_side = perfect.clone()
    for left, right in zip(*LEGS, strict=True):
        one_side[:, right - 1] = perfect[:, left - 1]
    loss = PairLoss(SIGMA, SCHEMA, LossOptions(trunk=0, assigned=0))
    slopes, costs = [], []
    for maps in (perfect, one_side):
        maps.requires_grad_()
        parts = loss(maps, points, present)
        costs.append(float(parts.parts["joint"]))
        slopes.append(torch.autograd.grad(parts.total, maps)[0])
    assert costs[1] > costs[0] + 0.1
    assert slopes[0].abs().max() < 1e-12  # the sum of both targets is the least that L2 can reach
    assert slopes[1][:, [number - 1 for side in LEGS for number in side]].abs().max() > 1e-4


def test_missing_landmarks_and_samples_without_a_fetus() -> None:
    logits, points, present = samples()
    logits.requires_grad_()
    parts = PairLoss(SIGMA, SCHEMA)(logits, points, present)
    (gradient,) = torch.autograd.grad(parts.total, logits)
    assert gradient.isfinite().all()
    assert gradient[1, 1].abs().sum() == 0  # a trunk landmark
    flat = torch.zeros_like(logits).requires_grad_()
    (gradient,) = torch.autograd.grad(PairLoss(SIGMA, SCHEMA)(flat, points, present).total, flat)
    assert gradient[2].abs().max() < 1e-12
    assert gradient[0].abs().max() > 1e-4
    nothing = PairLoss(SIGMA, SCHEMA)(logits, torch.full_like(points, NAN), torch.tensor([True] * 3))
    assert float(nothing.total.detach()) == 0
    assert all(float(value) == 0 for value in nothing.parts.values())


def test_equally_good_sides_stay_as_annotated() -> None:
    logits, points, present = samples()
    parts = PairLoss(SIGMA, SCHEMA)(torch.zeros_like(logits), points, present).parts
    assert float(parts["exchanged"]) == 0
    assert float(PairLoss(SIGMA, SCHEMA)(logits[:, MIRROR], points, present).parts["exchanged"]) > 0


def test_the_share_of_exchanged_limbs_counts_annotated_pairs() -> None:
    points = samples()[1][[0, 0, 0]].clone()
    maps = [torch.stack([torch.log(gaussian(one, True) + 1e-9) for one in each]) for each in points]
    logits, present = torch.stack(maps), torch.tensor([True, True, False])
    arms = [number - 1 for side in ARMS for number in side]
    logits[0, arms] = logits[0, MIRROR[arms]]
    points[1, 11:] = NAN  # of all limbs one shoulder is annotated
    points[2] = NAN
    parts = PairLoss(SIGMA, SCHEMA)(logits, points, present).parts
    assert float(parts["exchanged"]) == pytest.approx(1 / 3)  # arms and legs of the first, arms of the second


def test_a_second_pass_is_for_l2_alone() -> None:
    _, points, present = samples()
    passes = [PairLoss(SIGMA, SCHEMA, LossOptions(joint=joint)).in_slabs(points, present).passes for joint in (0, 1)]
    assert passes == [1, 2]


def test_parts_are_means_over_what_is_known() -> None:
    logits, points, present = samples()
    parts = PairLoss(SIGMA, SCHEMA)(logits, points, present).parts
    counted = (~points.isnan().any(dim=-1) | ~present[:, None]).to(torch.float64)
    maps = logits.shape[0] * 22
    for name, options, rows in (
        ("heatmap", LossOptions(joint=0), slice(0, 22)),
        ("assigned", LossOptions(trunk=0, joint=0), slice(10, 22)),
        ("joint", LossOptions(trunk=0, assigned=0), slice(10, 22)),
    ):
        expected = float(literal(logits, points, present, options)) * maps / float(counted[:, rows].sum())
        assert float(parts[name]) == pytest.approx(expected, rel=1e-12), name


def test_the_mean_over_a_single_landmark_is_that_landmark() -> None:
    """The left shoulder is annotated alone, and its map and that of the right one are exchanged."""
    left, right = 10, 13
    points = torch.full((1, 22, 3), NAN, dtype=torch.float64)
    points[0, left] = samples()[1][0, left]
    logits, present = torch.zeros(1, 22, *SHAPE, dtype=torch.float64), torch.tensor([True])
    logits[0, right] = torch.log(gaussian(points[0, left], True) + 1e-9)
    parts = PairLoss(SIGMA, SCHEMA)(logits, points, present).parts
    assert float(parts["exchanged"]) == 1.0
    expected = float(literal(logits, points, present, LossOptions(trunk=0, joint=0))) * 22
    assert float(parts["assigned"]) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("rows", [1, 4, 6])
def test_slabs_give_the_loss_and_its_gradient(rows: int) -> None:
    logits, points, present = samples()
    loss = PairLoss(SIGMA, SCHEMA)
    logits.requires_grad_()
    expected = literal(logits, points, present)
    (slope,) = torch.autograd.grad(expected, logits)
    slabs = loss.in_slabs(points, present)
    slabs.begin(tuple(logits.shape), logits.device, logits.dtype)
    parts = [slice(k, min(k + rows, SHAPE[0])) for k in range(0, SHAPE[0], rows)]
    for number in range(slabs.passes):
        for part in parts:
            slabs.accumulate(number, logits.detach()[:, :, part], part)
    assert float(slabs.value()) == pytest.approx(float(expected.detach()), rel=1e-12)
    for _ in range(2):  # an executor may ask twice
        found = torch.cat([slabs.gradient(logits.detach()[:, :, part].clone(), part) for part in parts], dim=2)
        assert error(found, slope) < 1e-12
    whole = loss(logits, points, present).parts
    assert all(float(value) == pytest.approx(float(whole[name]), rel=1e-12) for name, value in slabs.parts().items())


@pytest.mark.parametrize(
    "choices",
    [
        Choices(head_rows=5),
        Choices(fused_head=False),
        Choices(units={"down.0.first": UnitChoice(Storage.NEVER, 2), "up.0.convs.first": UnitChoice(Storage.KEPT, 2)}),
        Choices(slab_rows=6, streamed_to_host=("z", "dy")),
        slabs(small_unet(), 4, Storage.NEVER),
    ],
    ids=["fused", "whole", "never", "streamed", "slabs"],
)
def test_under_a_memory_plan(choices: Choices) -> None:
    network = small_unet(landmarks=22)
    x = volume(size=(16, 16, 16))
    points = torch.rand(1, 22, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(6)) * 15
    points[0, [3, 12]] = NAN
    present = torch.tensor([True])
    loss = build_loss("pair", 2.0)
    network.zero_grad()
    total = loss(network(x), points, present).total
    (3 * total).backward()
    expected = gradient_vector(network)
    network.zero_grad()
    found = managed(network, choices).loss(x, loss.in_slabs(points, present))
    (3 * found).backward()
    assert float(found.detach()) == pytest.approx(float(total.detach()), rel=1e-12)
    assert error(gradient_vector(network), expected) < 1e-12


def test_half_precision_logits_are_summed_in_float32() -> None:
    logits, points, present = samples(torch.float32)
    rounded = logits.to(torch.bfloat16).requires_grad_()
    wide = rounded.detach().double().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        low = PairLoss(SIGMA, SCHEMA)(rounded, points, present)
    assert low.total.dtype == torch.float32
    expected = literal(wide, points.double(), present)
    assert float(low.total.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    (gradient,) = torch.autograd.grad(low.total, rounded)
    assert gradient.dtype == torch.bfloat16
    assert error(gradient.double(), torch.autograd.grad(expected, wide)[0]) < 4e-3


@pytest.mark.parametrize("scale", [1e2, 1e4])
def test_extreme_logits_stay_finite_and_right(scale: float) -> None:
    logits, points, present = samples(torch.float32, spread=scale)
    logits.requires_grad_()
    parts = PairLoss(SIGMA, SCHEMA)(logits, points, present)
    (gradient,) = torch.autograd.grad(parts.total, logits)
    assert parts.total.isfinite() and gradient.isfinite().all()
    wide = logits.detach().double().requires_grad_()
    exact = PairLoss(SIGMA, SCHEMA)(wide, points.double(), present).total
    assert float(parts.total.detach()) == pytest.approx(float(exact.detach()), rel=1e-5)
    assert error(gradient.double(), torch.autograd.grad(exact, wide)[0]) < 1e-2


def peak(loss: HeatmapLoss | PairLoss, dtype: torch.dtype, shape: tuple[int, ...]) -> int:
    logits = torch.randn(1, 22, *shape).to(dtype).requires_grad_()
    points, present = 32 * torch.rand(1, 22, 3), torch.tensor([True])
    meter = PeakMeter("cpu")
    meter.count(logits)
    with meter:
        loss(logits, points, present).total.backward()
    return meter.peak


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_takes_no_more_memory_than_the_plain_loss(dtype: torch.dtype) -> None:
    shape = (32, 32, 32)
    found, plain = peak(PairLoss(2.0, SCHEMA), dtype, shape), peak(HeatmapLoss(2.0), dtype, shape)
    assert found <= 1.05 * plain
    assert plain > 22 * math.prod(shape) * 4  # the meter saw the maps


def test_nor_does_it_under_a_memory_plan() -> None:
    network = small_unet(torch.float32, landmarks=22)
    points, present = 32 * torch.rand(1, 22, 3), torch.tensor([True])
    peaks = []
    for loss in (PairLoss(2.0, SCHEMA), HeatmapLoss(2.0)):
        call = managed(network, Choices(head_rows=4))
        x = volume(dtype=torch.float32, size=(32, 32, 32))
        slabs = loss.in_slabs(points, present)
        step = measure_step(lambda c=call, x=x, s=slabs: c.loss(x, s).backward(), "cpu", [list(network.parameters())])
        peaks.append(step.peak_bytes)
        network.zero_grad()
    assert peaks[0] <= 1.05 * peaks[1]


def test_a_run_in_a_budget_ends_with_the_same_weights(
    cases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # plans know nothing of convolutions in halves: the plain run must round as they do
    monkeypatch.setattr(onednn, "_FEWEST_VOXELS", 1 << 30)
    preset = toy_preset(steps=4)
    weights = []
    for name, budget in (("plain", ""), ("within", "6MiB")):
        model = load_model(fit_on_cpu(preset, cases, tmp_path / name, overrides={"memory.budget": budget}))
        weights.append(torch.cat([value.flatten() for value in model.network.state_dict().values()]))
    assert (tmp_path / "within" / "memory-plan.json").exists()
    # Adam's first steps have the size of the learning rate: rounding of a gradient near zero shows
    assert error(weights[1], weights[0]) < 5e-3


def test_maps_of_another_schema_are_refused() -> None:
    logits, points, present = samples()
    with pytest.raises(ValueError, match="22 landmarks"):
        PairLoss(SIGMA, SCHEMA)(logits[:, :5], points[:, :5], present)


def toy_preset(size: Sequence[int] = (24, 16, 16), widths: Sequence[int] = (8, 12, 16), **run: Any) -> Preset:
    return Preset.from_dict(
        {
            "name": "toy",
            "input_size": list(size),
            "sigma": 1.0,
            "loss": "pair",
            "network": {"widths": list(widths)},
            "augmentation": {"quarter_turns": "none"},
            "optimiser": {"learning_rate": 1e-2, "gradient_clip": 5.0},
            "run": {"steps": 40, "cache_spacing_mm": 3.0, "validate_every": 1000, **run},
        }
    )


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cases")
    write_toy_cases(folder, 4)
    return folder


def views_of(cases: Path, preset: Preset, cache: Path) -> ValidationViews:
    return ValidationViews(CaseFolder(cases).cases, ReducedVolumes(cache, preset.run.cache_spacing_mm), preset, None)


#: Smaller than the other, as few CPUs have convolutions in bfloat16.
_IN_BFLOAT16 = {"precision": "bf16-mixed", "channels_last": True, "size": (16, 16, 16), "widths": (4, 8)}


@pytest.mark.parametrize("run", [{}, _IN_BFLOAT16], ids=["float32", "bfloat16"])
def test_a_run_learns_with_it(cases: Path, tmp_path: Path, run: dict[str, Any]) -> None:
    preset = toy_preset(**run)
    model = load_model(fit_on_cpu(preset, cases, tmp_path / "run"))
    assert model.info.preset["loss"] == "pair"
    sample = views_of(cases, preset, tmp_path)[0]
    with torch.no_grad():
        logits = model.network(sample["image"][None])
    parts = PairLoss(preset.sigma, SCHEMA)(logits, sample["points"][None], sample["present"][None]).parts
    flat = math.log(math.prod(preset.input_size))
    assert float(parts["heatmap"]) < flat - 1.0
    assert float(parts["joint"]) < flat - math.log(2) - 1.0  # log(p_l + p_r) of flat maps


class Painted(nn.Module):
    """Draws the heatmaps of given points whatever it is shown."""

    def __init__(self, points: Tensor, preset: Preset) -> None:
        super().__init__()
        maps = [gaussian_target(one, preset.input_size, preset.sigma) for one in points]
        self.register_buffer("logits", torch.stack(maps).log().clamp_min(-100)[:, None])
        self.shown = 0

    def forward(self, image: Tensor) -> Tensor:
        self.shown += 1
        return self.logits[self.shown - 1]


def test_validation_names_the_sides_before_it_measures(cases: Path, tmp_path: Path) -> None:
    preset = toy_preset()
    views = views_of(cases, preset, tmp_path)
    module = PoseModule(preset, 22, 1)
    points = torch.stack([views[number]["points"] for number in range(len(views))])
    errors = []
    for drawn in (points, points[:, MIRROR]):
        module.network = Painted(drawn, preset)
        errors.append(validate(module, views))
    assert errors[0]["ed_mm_whole"] < 0.3
    assert errors[1] == pytest.approx(errors[0])
