"""Adversarial training: labels and losses against a literal reading, who learns from what, and whole runs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from benchmarks.memory_bench.measuring import measure_step
from torch._subclasses import FakeTensorMode
from torch.optim.optimizer import register_optimizer_step_pre_hook
from training.tiny_run import fit_on_cpu
from training.toy_cases import write_toy_cases

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.memory.cost_model import step_without_data
from FetusMapV2Lib.memory.meter import on_meta
from FetusMapV2Lib.memory.planner import plan_training
from FetusMapV2Lib.models.model_file import load_model
from FetusMapV2Lib.network.discriminator import cell_masses, gaussian_cell_masses
from FetusMapV2Lib.network.unet import UNet3d
from FetusMapV2Lib.training.adversarial import Adversary, Poses, adversarial_bytes, like_truth, near_truth, peak_voxels
from FetusMapV2Lib.training.pose_module import PoseModule, plan_step, unplanned_bytes
from FetusMapV2Lib.training.preset import Preset, load_preset
from FetusMapV2Lib.training.preset_options import AdversarialOptions

NAN = float("nan")
SHAPE = (16, 12, 8)
OPTIONS = AdversarialOptions(pose_weight=0.3, confidence_weight=0.2, reduction=2, widths=(4, 6))


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits, volume, points and presence: a landmark is missing in the first sample, the last has no fetus."""
    generator = torch.Generator().manual_seed(5)
    points = torch.rand(3, 4, 3, generator=generator, dtype=torch.float64) * torch.tensor([7.0, 11.0, 15.0])
    logits = torch.randn(3, 4, *SHAPE, generator=generator, dtype=torch.float64)
    for sample in range(3):
        for row in range(0, 4, 2):  # every other map has a peak at the truth
            i, j, k = points[sample, row].round().long().tolist()
            logits[sample, row, k, j, i] += 20
    points[0, 1] = NAN  # and the last sample has points, but no fetus
    volume = torch.rand(3, 1, *SHAPE, generator=generator, dtype=torch.float64)
    return logits.requires_grad_(), volume, points, torch.tensor([True, True, False])


def adversary(options: AdversarialOptions = OPTIONS) -> Adversary:
    torch.manual_seed(1)
    return Adversary(options, 4, 1.0).double()


def test_a_landmark_passes_near_the_truth() -> None:
    generator = torch.Generator().manual_seed(2)
    points, found = torch.rand(2, 5, 6, 3, generator=generator, dtype=torch.float64).mul(30).unbind()
    points[0, 2] = points[3, :5] = NAN
    passed = near_truth(found, points, 0.4)
    for sample in range(5):
        known = [row for row in range(6) if not points[sample, row].isnan().any()]
        pairs = [math.dist(points[sample, a].tolist(), points[sample, b].tolist()) for a in known for b in known]
        for row in range(6):
            distance = math.dist(found[sample, row].tolist(), points[sample, row].tolist())
            assert bool(passed[sample, row]) == (row in known and distance / max(max(pairs), 1e-9) < 0.4)
    assert 3 <= int(passed.sum()) <= 20


def test_at_the_threshold_nothing_passes() -> None:
    points = torch.tensor([[[0.0, 0.0, 0.0], [10.0, 0.0, 0.0]]])
    found = torch.tensor([[[5.0, 0.0, 0.0], [5.5, 0.0, 0.0]]])
    assert near_truth(found, points, 0.5).tolist() == [[False, True]]
    true = torch.zeros(1, 2, 2, 2, 2)
    true[0, 0, 0, 0, 0] = 1.0
    assert like_truth(0.5 * true, true, 0.5).tolist() == [[False, False]]  # the second true map is zero


def test_a_heatmap_passes_that_is_like_the_gaussian() -> None:
    sigma, shape = 2.0, (32, 32, 32)
    point = torch.tensor([[[16.0, 15.0, 17.0]]], dtype=torch.float64)
    true = gaussian_cell_masses(point, shape, sigma, 4)
    flat = torch.full_like(true, 1 / true.numel())
    passes = {
        "the same": (true, True),
        "a voxel beside": (gaussian_cell_masses(point + 1, shape, sigma, 4), True),
        "a third lost": (2 / 3 * true + 1 / 3 * flat, True),
        "most of it lost": (1 / 5 * true + 4 / 5 * flat, False),
        "twice as wide": (gaussian_cell_masses(point, shape, 2 * sigma, 4), False),
        "elsewhere": (gaussian_cell_masses(point - 8, shape, sigma, 4), False),
        "flat": (flat, False),
    }
    for name, (found, expected) in passes.items():
        assert bool(like_truth(found, true, 0.7)) == expected, name
        relative = math.sqrt(float(((found - true) ** 2).sum())) / math.sqrt(float((true**2).sum()))
        assert (relative < 0.7) == expected, name
    assert not like_truth(true, torch.zeros_like(true), 0.7)


def test_peaks_are_the_highest_voxels() -> None:
    logits = torch.randn(2, 3, *SHAPE)
    logits[1, 2, 7, 5, 3] = 100
    peaks = peak_voxels(logits)
    assert peaks[1, 2].tolist() == [3, 5, 7]
    i, j, k = peaks[0, 1].long().tolist()
    assert logits[0, 1, k, j, i] == logits[0, 1].max()


def test_what_the_discriminators_see() -> None:
    logits, volume, points, present = batch()
    poses = adversary().poses(logits, volume, points, present)
    counted = [[True, False, True, True], [True] * 4, [False] * 4]
    assert poses.counted.tolist() == counted
    assert torch.allclose(poses.found.sum(dim=(2, 3, 4)), poses.counted.double())
    assert torch.allclose(poses.true.sum(dim=(2, 3, 4)), poses.counted.double())
    assert torch.allclose(poses.found[1], cell_masses(logits, 2)[1])
    assert torch.allclose(poses.true[1], gaussian_cell_masses(points[1], SHAPE, 1.0, 2))
    assert torch.allclose(poses.volume[1, 0, 0, 0, 0], volume[1, 0, :2, :2, :2].mean())
    assert poses.right.tolist()[2] == poses.confident.tolist()[2] == [False] * 4
    assert poses.right[0, 0] and poses.right[1, 2]


def asked(judge: Adversary, name: str, masses: torch.Tensor, poses: Poses) -> list[list[float]]:
    """Probabilities."""
    answers: torch.Tensor = judge.discriminators[name](masses, poses.volume)
    return torch.sigmoid(answers).tolist()


def test_the_losses_are_those_of_the_cited_work() -> None:
    judge = adversary()
    poses = judge.poses(*batch())
    judging, deceiving = 0.0, 0.0
    for name, labels, weight in (("pose", poses.right, 0.3), ("confidence", poses.confident, 0.2)):
        real, found = (asked(judge, name, masses, poses) for masses in (poses.true, poses.found))
        for sample in range(3):
            for row in range(4):
                if poses.counted[sample, row]:
                    label = float(labels[sample, row])
                    judging -= math.log(real[sample][row]) + math.log(1 - abs(found[sample][row] - label))
                    deceiving -= weight * math.log(found[sample][row])
    total, parts = judge.judging_loss(poses)
    assert float(total.detach()) == pytest.approx(judging / 12)
    assert float(total.detach()) == pytest.approx(
        sum(float(parts[f"{name}_{of}"]) for name in ("pose", "confidence") for of in ("real", "found"))
    )
    assert float(parts["pose_passed"]) == pytest.approx(float(poses.right.sum()) / 7)
    assert float(judge.deceiving_loss(poses)[0].detach()) == pytest.approx(deceiving / 12)


def test_each_side_learns_from_its_own_loss_alone() -> None:
    judge = adversary()
    logits, *others = batch()
    poses = judge.poses(logits, *others)
    judge.judging_loss(poses)[0].backward()
    assert logits.grad is None
    assert all(float(parameter.grad.abs().max()) > 0 for parameter in judge.parameters())
    judge.zero_grad()
    judge.deceiving_loss(poses)[0].backward()
    assert all(parameter.grad is None for parameter in judge.parameters())
    assert all(parameter.requires_grad for parameter in judge.parameters())
    reached = logits.grad.abs().amax(dim=(2, 3, 4)) > 0
    assert torch.equal(reached, poses.counted)  # and a missing landmark is left alone


def test_the_gradient_of_the_logits_is_right() -> None:
    judge = adversary()
    logits, *others = batch()
    poses = judge.poses(logits, *others)
    (gradient,) = torch.autograd.grad(judge.deceiving_loss(poses)[0], logits)
    direction = torch.randn(logits.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    step = 1e-6
    ahead, behind = (
        judge.deceiving_loss(judge.poses((logits + sign * step * direction).detach(), *others))[0] for sign in (1, -1)
    )
    assert float((gradient * direction).sum()) == pytest.approx(float(ahead - behind) / (2 * step), rel=1e-4)


@pytest.mark.parametrize("name", ["pose", "confidence"])
def test_a_weight_of_zero_leaves_a_discriminator_out(name: str) -> None:
    judge = adversary(AdversarialOptions(**{f"{name}_weight": 0.1}, reduction=2, widths=(4, 6)))
    assert list(judge.discriminators) == [name]
    poses = judge.poses(*batch())
    assert {key.split("_")[0] for key in {**judge.judging_loss(poses)[1], **judge.deceiving_loss(poses)[1]}} == {name}


def test_discriminators_learn_and_then_pull_a_doubtful_map_to_its_place() -> None:
    torch.manual_seed(0)
    judge = Adversary(AdversarialOptions(pose_weight=1.0, reduction=2, widths=(8, 12)), 3, 1.0)
    optimiser = torch.optim.Adam(judge.parameters(), lr=1e-2)
    body = torch.tensor([[4.0, 4.0, 4.0], [4.0, 12.0, 4.0], [4.0, 12.0, 12.0]])
    volume, present = torch.zeros(1, 1, 16, 16, 16), torch.tensor([True])

    def maps(points: torch.Tensor) -> torch.Tensor:
        masses = gaussian_cell_masses(points[None], (16, 16, 16), 1.0, 1)
        return masses.clamp_min(1e-12).log()

    for _ in range(60):
        points = body + torch.rand(3)  # moves the whole body, by less than a cell
        wrong = points.clone()
        wrong[2, 2] -= 8  # the third landmark lies where the second is
        poses = judge.poses(maps(wrong), volume, points[None], present)
        optimiser.zero_grad()
        judge.judging_loss(poses)[0].backward()
        optimiser.step()
    assert poses.right.tolist() == [[True, True, False]]
    with torch.no_grad():
        assert asked(judge, "pose", poses.true, poses)[0][2] > 0.9
        found = asked(judge, "pose", poses.found, poses)[0]
    assert found[0] > 0.9 and found[1] > 0.9 and found[2] < 0.1
    doubtful = torch.logaddexp(maps(points), maps(wrong)).requires_grad_()
    (gradient,) = torch.autograd.grad(
        judge.deceiving_loss(judge.poses(doubtful, volume, points[None], present))[0], doubtful
    )
    at_truth, elsewhere = (gradient[0, 2, k : k + 8, 8:, :8].sum() for k in (8, 0))
    assert at_truth < 0 < elsewhere  # a step against the gradient moves the map towards the truth


# --- whole runs ---


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cases")
    write_toy_cases(folder, 5)
    return folder


def toy_preset(**overrides: Any) -> Preset:
    return load_preset("ugan").with_overrides(
        {
            "input_size": [32, 24, 24],
            "sigma": 1.0,
            "network.widths": [4, 6],
            "adversarial.widths": [4, 6],
            "adversarial.learning_rate": 1e-3,
            "optimiser.learning_rate": 4e-3,
            "optimiser.schedule": "cosine",
            "optimiser.gradient_clip": 5.0,
            "run.steps": 5,
            "run.average_decay": 0.9,
            "run.cache_spacing_mm": 3.0,
            "run.validate_every": 1000,
            "run.checkpoint_every": 2,
            **overrides,
        }
    )


def flat(tree: Any, path: str = "") -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint by their path."""
    if isinstance(tree, torch.Tensor):
        return {path: tree}
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, (list, tuple)) else ()
    return {name: value for key, one in items for name, value in flat(one, f"{path}/{key}").items()}


class KilledError(Exception):
    """Stands for a kill."""


def kill(fraction: float, stage: str) -> None:
    if fraction >= 0.6:
        raise KilledError


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_killed_and_resumed_equals_never_killed(
    cases: Path, tmp_path: Path, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    preset = toy_preset(**{"run.precision": precision, "run.channels_last": precision != "32-true"})
    seen: list[float] = []
    whole = fit_on_cpu(preset, cases, tmp_path / "whole", on_progress=lambda f, _: seen.append(f))
    assert seen == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])  # two optimisers, but one step at a time
    with pytest.raises(KilledError):
        fit_on_cpu(preset, cases, tmp_path / "cut", on_progress=kill)
    fit_on_cpu(preset, cases, tmp_path / "cut", resume=True)
    one, two = (torch.load(tmp_path / name / "last.ckpt", weights_only=True) for name in ("whole", "cut"))
    assert one["global_step"] == two["global_step"] == 5
    assert len(one["optimizer_states"]) == len(one["lr_schedulers"]) == 2
    tensors = [flat({key: state[key] for key in ("state_dict", "optimizer_states")}) for state in (one, two)]
    assert tensors[0].keys() == tensors[1].keys()
    assert all(torch.equal(value, tensors[1][name]) for name, value in tensors[0].items())
    assert any("adversary.discriminators.pose" in name for name in tensors[0])
    check_export(whole, one["state_dict"])


def check_export(model: Path, state: dict[str, torch.Tensor]) -> None:
    """The model is the network alone, with the averaged weights."""
    weights = load_model(model).network.state_dict()
    assert {f"averaged.{name}" for name in weights} == {name for name in state if name.startswith("averaged.")}
    assert all(torch.equal(value, state[f"averaged.{name}"]) for name, value in weights.items())
    assert not torch.equal(weights["head.weight"], state["network.head.weight"])


@pytest.fixture
def norms() -> Iterator[list[tuple[int, float]]]:
    """Number of parameters and gradient norm at every step of any optimiser."""
    seen: list[tuple[int, float]] = []

    def look(optimiser: torch.optim.Optimizer, *_: Any) -> None:
        parameters = optimiser.param_groups[0]["params"]
        seen.append((len(parameters), float(torch.stack([p.grad.norm() for p in parameters]).norm())))

    handle = register_optimizer_step_pre_hook(look)
    yield seen
    handle.remove()


def test_both_gradients_are_clipped(tmp_path: Path, norms: list[tuple[int, float]]) -> None:
    cases = tmp_path / "cases"
    write_toy_cases(cases, 3)
    for name, clip in (("free", 0.0), ("clipped", 1e-3)):
        preset = toy_preset(**{"optimiser.gradient_clip": clip, "run.steps": 2})
        fit_on_cpu(preset, cases, tmp_path / name)
    assert len(norms) == 8  # two runs of two steps of two optimisers
    assert norms[0][0] != norms[1][0]
    assert all(norm > 1.5e-3 for _, norm in norms[:4])
    assert all(norm == pytest.approx(1e-3, rel=1e-2) for _, norm in norms[4:])


@pytest.fixture(scope="module")
def trained(cases: Path, tmp_path_factory: pytest.TempPathFactory) -> UNet3d:
    """A network after two steps."""
    folder = tmp_path_factory.mktemp("trained")
    return load_model(fit_on_cpu(toy_preset(**{"run.steps": 2}), cases, folder)).network


def test_it_is_another_training_than_without(trained: UNet3d, cases: Path, tmp_path: Path) -> None:
    off = {"adversarial.pose_weight": 0.0, "adversarial.confidence_weight": 0.0}
    without = load_model(fit_on_cpu(toy_preset(**{"run.steps": 2, **off}), cases, tmp_path)).network
    assert trained.config == without.config
    assert not torch.equal(trained.head.weight, without.head.weight)


def test_checkpointing_goes_with_it(trained: UNet3d, cases: Path, tmp_path: Path) -> None:
    preset = toy_preset(**{"run.steps": 2, "memory.scheme": "gcp"})
    planned = load_model(fit_on_cpu(preset, cases, tmp_path)).network
    assert (tmp_path / "memory-plan.json").is_file()
    pairs = zip(trained.state_dict().values(), planned.state_dict().values(), strict=True)
    assert all(torch.allclose(one, two, atol=1e-4) for one, two in pairs)


def test_plans_without_whole_heatmaps_are_refused(cases: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="whole heatmaps"):
        toy_preset(**{"memory.budget": "1GiB"})
    with pytest.raises(UserError, match=r"whole heatmaps.*memory\.scheme"):
        fit_on_cpu(toy_preset(), cases, tmp_path / "run", overrides={"memory.budget": "1GiB"})
    assert not (tmp_path / "run" / "model.safetensors").exists()
    module = PoseModule(toy_preset(), 22, 1)
    with pytest.raises(UserError, match="scheme to gcp"):
        plan_step(module.preset, module.network)
    with pytest.raises(UserError, match="whole heatmaps"):
        module.manage(plan_training(module.network, (32, 24, 24), max_slowdown=1.5))
    assert module.managed is None


@pytest.mark.parametrize(
    "change,message",
    [
        ({"loss": "pair"}, "by name"),
        ({"views.whole": 0.0, "views.patch": 1.0, "views.patch_spacing_mm": 4.0}, "whole poses"),
        ({"input_size": [32, 24, 28]}, "multiple of"),
        ({"adversarial.reduction": 8, "input_size": [32, 24, 24]}, "multiple of 16"),
        ({"adversarial.reduction": 0}, "1 to 256"),
        ({"adversarial.widths": []}, "at least one"),
        ({"adversarial.pose_weight": -0.1}, "negative"),
        ({"adversarial.pose_threshold": 0.0}, "positive"),
        ({"adversarial.learning_rate": 0.0}, "positive"),
    ],
)
def test_bad_combinations_are_said(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        toy_preset(**change)


def test_it_is_off_unless_asked_for() -> None:
    preset = load_preset("unet")
    assert not preset.adversarial.active
    module = PoseModule(preset.with_overrides({"network.widths": [4, 6]}), 22, 1)
    assert module.adversary is None and module.automatic_optimization
    assert adversarial_bytes(preset, 22) == 0
    ugan = load_preset("ugan").to_dict()
    assert {key for key, value in preset.to_dict().items() if ugan[key] != value} == {
        "name",
        "description",
        "adversarial",
    }


def test_the_memory_it_takes_is_not_more_than_said() -> None:
    preset = load_preset("ugan").with_overrides({"input_size": [64, 48, 48], "network.widths": [8, 16, 32, 64]})
    alone = step_without_data(on_meta(PoseModule(preset, 22, 1).network), (1, 1, 64, 48, 48)).peak_bytes
    with FakeTensorMode():
        module = PoseModule(preset, 22, 1)
        assert module.adversary is not None
        optimisers = [torch.optim.Adam(part.parameters(), foreach=False) for part in (module.network, module.adversary)]
        for parameter in module.parameters():
            parameter.grad = torch.zeros_like(parameter)
        for optimiser in optimisers:
            optimiser.step()  # makes its state
        volume, points = torch.empty(1, 1, 64, 48, 48), torch.zeros(1, 22, 3)
        present = torch.ones(1, dtype=torch.bool)

        def step() -> None:
            module.zero_grad()
            logits = module.network(volume)
            poses = module.adversary.poses(logits, volume, points, present)
            module.adversary.judging_loss(poses)[0].backward()
            total = module.loss(logits, points, present).total + module.adversary.deceiving_loss(poses)[0]
            total.backward()

        states = [list(state.values()) for optimiser in optimisers for state in optimiser.state.values()]
        taken = measure_step(step, "cpu", [list(module.parameters()), states]).peak_bytes
    assert alone < taken <= alone + unplanned_bytes(preset, module.network)
