"""The engine in a memory budget: the same heatmaps, a smaller plan when a GPU is full, and a clear refusal."""

from __future__ import annotations

import copy

import pytest
import torch

from FetusMapV2Lib.estimation.engine import PoseEngine
from FetusMapV2Lib.estimation.network_runner import NetworkRunner
from FetusMapV2Lib.memory.plan import BudgetError
from FetusMapV2Lib.memory.planner import plan_inference
from FetusMapV2Lib.network.unet import UNet3d

MIB = 2**20


def plain_heatmaps(engine: PoseEngine, image: torch.Tensor) -> torch.Tensor:
    """The network without a plan, in the memory format of plans: channels-last kernels round differently (5e-5)."""
    network = copy.deepcopy(engine.model.network).to(memory_format=torch.contiguous_format)
    with torch.inference_mode():
        return network(image[None, None])[0]


@pytest.fixture(scope="module")
def plain() -> PoseEngine:
    return PoseEngine.load(device="cpu")


@pytest.fixture(scope="module")
def image(plain) -> torch.Tensor:
    return torch.rand(plain.model.input_size, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def expected(plain, image) -> torch.Tensor:
    return plain_heatmaps(plain, image)


def test_heatmaps_are_those_of_the_plain_network(plain, image, expected):
    assert plain.memory_plan == ""
    within = PoseEngine.load(device="cpu", memory_budget=40 * MIB)
    found = within._runner.run_once(image, torch.clone)
    assert "instead of" in within.memory_plan
    assert within._runner.features.numel() == 0  # a plan leaves none behind
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-5


def test_a_large_budget_changes_nothing():
    assert PoseEngine.load(device="cpu", memory_budget=8 * 2**30).memory_plan == ""


def test_an_impossible_budget_is_refused_with_a_number():
    with pytest.raises(BudgetError, match="at least"):
        PoseEngine.load(device="cpu", memory_budget=5 * MIB)


def test_a_full_gpu_first_tries_a_smaller_plan(image, expected, monkeypatch):
    """The plain network's call fails as on a full GPU; the plan runs its layers one by one and does not."""
    engine = PoseEngine.load(device="cpu")
    plain = UNet3d.forward

    def forward(self: UNet3d, volume: torch.Tensor) -> torch.Tensor:
        if isinstance(volume, torch.Tensor) and volume.device.type == "cpu":
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return plain(self, volume)  # traced, or measured without data

    monkeypatch.setattr(UNet3d, "forward", forward)
    warnings: list[str] = []
    found = engine._runner.run(image, torch.clone, warnings)
    assert "lean plan" in warnings[0] and len(warnings) == 1
    assert float((found - expected).abs().max() / expected.abs().max()) < 1e-5


def test_each_smaller_plan_has_three_quarters_of_the_peak_before_down_to_the_smallest():
    network, size = UNet3d(widths=(16, 24)), (32, 24, 24)
    runner = NetworkRunner(network, size, torch.device("cpu"), "for a test")
    plans = []
    while runner.reduce_memory():
        plans.append(runner.memory_plan)
    peak = plan_inference(network, size).prediction.peak_bytes
    expected = []
    with pytest.raises(BudgetError) as smallest:
        while True:
            plan = plan_inference(network, size, budget_bytes=peak)
            expected.append(plan.summary())
            peak = int(0.75 * plan.prediction.peak_bytes)
    last = plan_inference(network, size, budget_bytes=smallest.value.smallest_bytes)
    assert plans == [*expected, last.summary()]
