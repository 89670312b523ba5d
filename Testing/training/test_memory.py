"""Training under a memory plan: the loss met slab by slab, and whole runs with the same weights as without."""

from __future__ import annotations

import copy
import json
import logging
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from memory.networks import error, gradient_vector, managed, plan_of, run, slabs, small_unet, volume
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from training.toy_cases import write_toy_cases

from FetusMapV2Lib.memory.managed import slab_loss
from FetusMapV2Lib.memory.plan import BudgetError, Choices, MemoryPlan, Storage, UnitChoice
from FetusMapV2Lib.models.model_file import load_model
from FetusMapV2Lib.training import fitting
from FetusMapV2Lib.training.fitting import train
from FetusMapV2Lib.training.losses import HeatmapLoss, build_loss
from FetusMapV2Lib.training.pose_module import PoseModule
from FetusMapV2Lib.training.preset import Preset
from FetusMapV2Lib.training.training_options import TrainingOptions

SIZE = (24, 16, 40)
#: Adam's first steps have the size of the learning rate whatever the gradient: rounding of a gradient near zero shows
SAME = 5e-3


def targets(batch: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Points with one missing, and a last sample without a fetus."""
    generator = torch.Generator().manual_seed(4)
    points = torch.rand(batch, 5, 3, generator=generator, dtype=torch.float64) * torch.tensor([38.0, 14.0, 22.0])
    points[0, 2] = math.nan
    points[-1] = math.nan
    present = torch.ones(batch, dtype=torch.bool)
    present[-1] = False
    return points, present


@pytest.mark.parametrize("rows", [1, 5, 24])
def test_slabs_give_the_loss_and_its_gradient(rows):
    points, present = targets()
    loss = HeatmapLoss(2.0)
    logits = (4 * torch.randn(3, 5, *SIZE, dtype=torch.float64)).requires_grad_()
    whole = loss(logits, points, present)
    (expected,) = torch.autograd.grad(whole.total, logits)
    slabs = loss.in_slabs(points, present)
    slabs.begin(tuple(logits.shape), logits.device, logits.dtype)
    parts = [slice(k, min(k + rows, SIZE[0])) for k in range(0, SIZE[0], rows)]
    for part in parts:
        slabs.accumulate(0, logits.detach()[:, :, part], part)
    assert float(slabs.value()) == pytest.approx(float(whole.total.detach()), rel=1e-12)
    assert float(slabs.parts()["heatmap"]) == pytest.approx(float(whole.parts["heatmap"]), rel=1e-12)
    found = torch.cat([slabs.gradient(logits.detach()[:, :, part].clone(), part) for part in parts], dim=2)
    assert error(found, expected) < 1e-12


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
def test_gradients_of_the_fused_loss(choices):
    network, x = small_unet(), volume(3)
    points, present = targets()
    loss = build_loss("heatmap", 2.0)
    network.zero_grad()
    total = loss(network(x), points, present).total
    (3 * total).backward()
    expected = gradient_vector(network)
    network.zero_grad()
    found = managed(network, choices).loss(x, loss.in_slabs(points, present))
    (3 * found).backward()
    assert float(found.detach()) == pytest.approx(float(total.detach()), rel=1e-12)
    assert error(gradient_vector(network), expected) < 1e-12


def test_whole_logits_through_the_slab_form():
    points, present = targets()
    loss = HeatmapLoss(2.0)
    logits = torch.randn(3, 5, *SIZE, dtype=torch.float64, requires_grad=True)
    (expected,) = torch.autograd.grad(loss(logits, points, present).total, logits)
    before = logits.detach().clone()
    (found,) = torch.autograd.grad(slab_loss(logits, loss.in_slabs(points, present)), logits)
    assert error(found, expected) < 1e-12
    assert torch.equal(before, logits.detach())


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cases")
    write_toy_cases(folder, 5)
    return folder


def toy_preset(**run: Any) -> Preset:
    return Preset.from_dict(
        {
            "name": "toy",
            "input_size": [32, 24, 24],
            "sigma": 1.0,
            "network": {"widths": [8, 12, 16]},
            "optimiser": {"learning_rate": 4e-3, "gradient_clip": 5.0},
            "run": {"steps": 4, "cache_spacing_mm": 3.0, "validate_every": 1000, "average_decay": 0.9, **run},
        }
    )


def budgeted(preset: Preset, budget: str) -> Preset:
    return preset.with_overrides({"memory.budget": budget})


def trained(model: Path) -> torch.Tensor:
    return torch.cat([p.flatten() for p in load_model(model).network.state_dict().values()])


@pytest.fixture(scope="module")
def plain(cases: Path, tmp_path_factory: pytest.TempPathFactory) -> torch.Tensor:
    """Weights of a run without a plan."""
    return trained(train(toy_preset(), cases, tmp_path_factory.mktemp("plain") / "run"))


def test_a_run_in_a_budget_ends_with_the_same_weights(cases, plain, tmp_path, caplog):
    caplog.set_level(logging.INFO, "FetusMapV2Lib.training")
    within = train(budgeted(toy_preset(), "6MiB"), cases, tmp_path / "within")
    assert error(trained(within), plain) < SAME
    plan = MemoryPlan.from_dict(json.loads((tmp_path / "within" / "memory-plan.json").read_text()))
    assert plan.executor != "vanilla"
    assert plan.prediction.peak_bytes <= 6 * 2**20
    assert plan.summary() in caplog.text
    assert load_model(within).info.training["memory_plan"] == plan.summary()
    assert load_model(within).info.preset["memory"]["budget"] == "6MiB"


def test_a_run_in_slabs_ends_with_the_same_weights(cases, plain, tmp_path, monkeypatch):
    def in_slabs(preset: Preset, network: nn.Module, **_: Any) -> MemoryPlan:
        choices = slabs(network, 6, Storage.NEVER, channels_last=True)
        return replace(plan_of(choices), input_size=preset.input_size)

    monkeypatch.setattr(fitting, "plan_step", in_slabs)
    found = train(budgeted(toy_preset(), "6MiB"), cases, tmp_path / "slabs")
    assert error(trained(found), plain) < SAME
    plan = MemoryPlan.from_dict(json.loads((tmp_path / "slabs" / "memory-plan.json").read_text()))
    assert plan.choices.by_rows


class WholeWeightsMoved(TorchDispatchMode):
    """Counts copies of whole 3x3x3 weights."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.shapes = {tuple(p.shape) for p in network.parameters() if p.dim() == 5 and p.shape[-1] == 3}
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in (torch.ops.aten.clone.default, torch.ops.aten._to_copy.default):
            self.count += tuple(result.shape) in self.shapes
        return result


def test_weights_lie_as_convolutions_read_them():
    """A plan with the channels innermost rearranges no weight at each step; values, names and gradients stay."""
    torch.manual_seed(0)
    module = PoseModule(toy_preset(), 22, steps=1)
    network, before = module.network, copy.deepcopy(module.network.state_dict())
    x = volume(dtype=torch.float32, size=module.preset.input_size)
    expected = run(network, network, x)
    module.manage(replace(plan_of(slabs(network, 6, channels_last=True)), input_size=module.preset.input_size))
    moved = []
    for layout in (torch.channels_last_3d, torch.contiguous_format):
        network.to(memory_format=layout) if moved else None
        weights = [p for p in network.parameters() if p.dim() == 5]
        assert all(weight.is_contiguous(memory_format=layout) for weight in weights)
        with WholeWeightsMoved(network) as counter, torch.no_grad():
            module.managed(x)
        moved.append(counter.count)
        assert error(run(network, module.managed, x)[1], expected[1]) < 1e-5
        assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert moved[0] == 0 < moved[1]


def test_a_run_is_resumed_with_another_budget(cases, tmp_path):
    whole = trained(train(toy_preset(), cases, tmp_path / "whole"))

    class KilledError(Exception):
        pass

    def kill(fraction: float, stage: str) -> None:
        if fraction >= 0.5:
            raise KilledError

    preset = toy_preset(checkpoint_every=1)
    with pytest.raises(KilledError):
        train(budgeted(preset, "8MiB"), cases, tmp_path / "cut", on_progress=kill)
    found = train(budgeted(preset, "6MiB"), cases, tmp_path / "cut", TrainingOptions(resume=True))
    assert error(trained(found), whole) < SAME


def test_a_run_that_cannot_fit_is_refused_before_it_begins(cases, tmp_path):
    with pytest.raises(BudgetError, match="at least"):
        train(budgeted(toy_preset(), "1MiB"), cases, tmp_path / "run")
    assert not (tmp_path / "run" / "model.safetensors").exists()
