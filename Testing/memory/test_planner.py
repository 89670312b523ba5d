"""Plans predict what the meter measures, meet budgets, and refuse impossible ones with the smallest possible one."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from benchmarks.memory_bench.measuring import measure_step
from memory.networks import COUNTED, plan_of, slabs, small_unet
from memory.optimum import StorageProgramme, base_choices
from torch import Tensor, nn

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.memory.cost_model import CostModel
from FetusMapV2Lib.memory.machine import Machine
from FetusMapV2Lib.memory.machine_files import machine_named
from FetusMapV2Lib.memory.managed import ManagedNetwork
from FetusMapV2Lib.memory.meter import PeakMeter, on_meta
from FetusMapV2Lib.memory.operations import Operation
from FetusMapV2Lib.memory.plan import (
    BudgetError,
    Choices,
    MemoryPlan,
    Storage,
    UnitChoice,
    parse_bytes,
    shown_bytes,
)
from FetusMapV2Lib.memory.plan_search import PlanSearch
from FetusMapV2Lib.memory.planner import largest_size, plan_inference, plan_training
from FetusMapV2Lib.memory.strategies import EXACT, STRATEGIES
from FetusMapV2Lib.memory.timings import Timing, Timings
from FetusMapV2Lib.memory.unit_builder import build_units
from FetusMapV2Lib.network.unet import UNet3d

PAPER_SIZE = (176, 112, 112)
SMALL_SIZE = (64, 48, 48)


class SlabLoss:
    """A `HeadLoss` that allocates what `ShapeLoss` says a loss allocates."""

    passes = 1

    def begin(self, shape, device, dtype) -> None:
        self.total = torch.zeros((), device=device, dtype=dtype)

    def accumulate(self, number: int, logits: Tensor, rows: slice) -> None:
        self.total += logits.exp().sum()

    def value(self) -> Tensor:
        return self.total.clone()

    def gradient(self, logits: Tensor, rows: slice) -> Tensor:
        return logits.exp_().sub_(torch.empty_like(logits))


def measured_peak(
    network: nn.Module, plan: MemoryPlan, workspace: Callable[[Operation], int] | None = None
) -> tuple[int, int]:
    """Peak and operations of a whole step on data-free tensors, Adam included."""
    twin = on_meta(network)
    managed = ManagedNetwork(twin, plan)
    optimiser = torch.optim.Adam(twin.parameters(), foreach=False)
    for parameter in twin.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()  # makes its state

    def step() -> None:
        optimiser.zero_grad()
        managed.loss(torch.empty(plan.batch, 1, *plan.input_size, device="meta"), SlabLoss()).backward()
        optimiser.step()

    states = [list(state.values()) for state in optimiser.state.values()]
    found = measure_step(step, "meta", [list(twin.parameters()), states], workspace=workspace)
    return found.peak_bytes, found.flops


@pytest.fixture(scope="module")
def paper_network() -> UNet3d:
    return UNet3d()


@pytest.fixture(scope="module")
def gpu() -> Machine:
    """The shipped speeds of an H200, without the workspace of its convolutions, which no meter sees."""
    return replace(machine_named("h200", "tf32"), workspace_share=0.0, plain_workspace_share=0.0)


@pytest.fixture(scope="module")
def leanest(paper_network, gpu) -> MemoryPlan:
    return plan_training(paper_network, PAPER_SIZE, machine=gpu)


def test_paper_network_needs_a_quarter(leanest):
    """At most 25 % of plain autograd's live bytes for at most 1.1 times its time by the table (paper: 57 %)."""
    assert leanest.prediction.peak_share <= 0.25
    assert leanest.prediction.seconds <= 1.1 * leanest.prediction.vanilla_seconds
    assert leanest.prediction.basis == "from table, NVIDIA H200"


def test_a_gpu_gets_slabs_of_rows_and_no_slices_of_channels(leanest):
    """Slices of 3-10 channels cost ten times the step on an H200."""
    units = leanest.choices.units.values()
    assert leanest.choices.by_rows and leanest.choices.channels_last
    assert {choice.chunks for choice in units} == {1}
    assert all(choice.rows % 2 == 0 for choice in units)


def test_more_memory_than_plain_training_needs_buys_the_fastest_way(paper_network, gpu):
    """Channels innermost took 0.082 s on an H200, plain PyTorch 0.117 s."""
    plan = plan_training(paper_network, PAPER_SIZE, machine=gpu, budget_bytes=10**10)
    assert plan.executor == "vanilla" and plan.choices.channels_last and plan.manages
    assert plan.prediction.seconds == pytest.approx(0.082, rel=0.01)
    assert plan.prediction.vanilla_seconds == pytest.approx(0.117, rel=0.01)


def test_workspace_is_part_of_the_peak(paper_network, gpu):
    """Measured on an H200: 7.41 GB in plain PyTorch."""
    told = machine_named("h200", "tf32")
    models = [CostModel(build_units(paper_network), PAPER_SIZE, machine=machine) for machine in (gpu, told)]
    assert models[1].vanilla().peak_bytes == pytest.approx(7.41e9, rel=0.02)
    counted, with_workspace = (model.price(Choices()).peak for model in models)
    assert with_workspace > counted


@pytest.fixture(scope="module")
def small_network() -> UNet3d:
    return UNet3d(widths=(8, 16, 24, 32))


@pytest.fixture(scope="module")
def measured_gpu(small_network) -> Machine:
    """A GPU that takes twice a convolution's result beside it, each kind of operation measured at this size."""
    search = PlanSearch(CostModel(build_units(small_network), SMALL_SIZE), None, None, None)
    patterns = [search.cost_model.like_plain, *search.patterns()]
    operations = {operation for pattern in patterns for operation in search.cost_model.operations(pattern)}
    timings = [
        Timing.of(one, 1e-6 + one.flops / 1e12 + one.moved / 1e11, 2 * one.dtype.itemsize * math.prod(one.shape))
        for one in operations
    ]
    return Machine(basis="measured", timings=Timings(tuple(timings), transfer_s=1.0))  # nothing goes to the host


def test_a_plan_counts_the_workspace(small_network, measured_gpu):
    """Peak of the very step, with what each convolution takes on the way, by the meter."""
    plan = plan_training(small_network, SMALL_SIZE, machine=measured_gpu, max_slowdown=1.3)
    without, _ = measured_peak(small_network, plan)
    peak, _ = measured_peak(small_network, plan, measured_gpu.workspace)
    assert without < peak
    assert plan.prediction.peak_bytes == pytest.approx(peak, rel=0.03)
    assert 0 < plan.prediction.workspace_bytes < peak
    assert MemoryPlan.from_dict(plan.to_dict()) == plan


def test_prediction_is_what_the_meter_measures(paper_network, leanest):
    peak, flops = measured_peak(paper_network, leanest)
    assert leanest.prediction.peak_bytes == pytest.approx(peak, rel=0.03)
    assert leanest.prediction.flops == flops


_NEVER = Choices(units={"down.0.first": UnitChoice(Storage.NEVER, 2), "up.1.convs.first": UnitChoice(Storage.BOTH)})
_COPIES = Choices(in_place=False, split_concat=False, fused_head=True)


@pytest.mark.parametrize(
    "choices,batch,size",
    [
        (Choices(), 1, (48, 32, 32)),
        (_COPIES, 2, (32, 48, 32)),
        (_NEVER, 1, (48, 32, 32)),
        (_NEVER, 2, (32, 48, 32)),
        (Choices(slab_rows=16), 1, (48, 32, 32)),
        (Choices(slab_rows=16), 2, (32, 48, 32)),
        (slabs(small_unet(), 8), 1, (48, 32, 32)),
        (slabs(small_unet(), 8), 2, (32, 48, 32)),
        (slabs(small_unet(), 16, Storage.NEVER), 1, (48, 32, 32)),
    ],
    ids=["kept", "copies", "never", "never, two", "streamed", "streamed, two", "slabs", "slabs, two", "slabs, never"],
)
def test_predictions_of_single_strategies(choices, batch, size):
    network = UNet3d(widths=(8, 16, 24, 32))
    price = CostModel(build_units(network), size, batch=batch).price(choices)
    plan = replace(plan_of(choices), input_size=size, batch=batch)
    peak, flops = measured_peak(network, plan)
    assert price.peak == pytest.approx(peak, rel=0.03)
    assert price.flops == flops


def test_vanilla_is_measured_on_the_real_thing(paper_network):
    """6.57 GB at 176x112x112, where the paper reports 7.91 GB with its convolutions' workspace."""
    found = CostModel(build_units(paper_network), PAPER_SIZE).vanilla()
    assert found.peak_bytes == pytest.approx(6.57e9, rel=0.01)
    assert found.flops == pytest.approx(5.69e12, rel=0.001)


_WITHOUT_CHUNKS = frozenset({"checkpoint", "recompute-norm", "in-place", "no-concat", "fused-head"})


@pytest.fixture(scope="module")
def budgeted(small_network) -> Callable[[float], MemoryPlan]:
    """Plans of one search within shares of plain training's memory, for the speeds of an H200."""
    model = CostModel(build_units(small_network), (96, 64, 64), machine=machine_named("h200", "tf32"))
    search = PlanSearch(model, 1, None, None)

    def within(share: float) -> MemoryPlan:
        search.budget = int(share * search.vanilla.peak_bytes)
        return search.plan()

    return within


_SHARES = (0.12, 0.14, 0.16, 0.18, 0.2, 0.23, 0.26, 0.3, 0.35, 0.4, 0.5, 0.6, 0.75, 0.9)


def test_budgets_are_met(budgeted, small_network):
    vanilla = budgeted(0.9).prediction.vanilla_peak_bytes
    assert all(budgeted(share).prediction.peak_bytes <= share * vanilla for share in _SHARES)
    for share in (0.9, 0.3):
        assert measured_peak(small_network, budgeted(share))[0] <= 1.03 * share * vanilla


def test_a_larger_budget_is_never_slower_and_no_plan_is_beaten_in_both_columns(budgeted, small_network):
    found = [budgeted(share).prediction for share in _SHARES]
    assert all(more.seconds <= less.seconds for less, more in itertools.pairwise(found))
    default = plan_training(small_network, (96, 64, 64), machine=machine_named("h200", "tf32")).prediction
    found.append(default)
    within = budgeted((default.peak_bytes + 1) / default.vanilla_peak_bytes).prediction
    assert within.seconds <= default.seconds and within.peak_bytes <= default.peak_bytes
    costs = {(one.peak_bytes, one.seconds) for one in found}
    assert len(costs) > 8
    assert not [pair for pair in itertools.permutations(costs, 2) if _beats(*pair)]


def _beats(one: tuple[int, float], other: tuple[int, float]) -> bool:
    return one != other and one[0] <= other[0] and one[1] <= other[1]


@pytest.mark.parametrize("limit", [1.02, 1.1, 1.25])
def test_search_is_near_the_best_of_all_choices(limit):
    """Every way to store every unit of a small UNet is priced: the search ends within 2 % of the least peak."""
    network = UNet3d(1, 8, (12, 24))
    size = (96, 64, 64)
    plan = plan_training(network, size, allowed=_WITHOUT_CHUNKS, machine=COUNTED, max_slowdown=limit)
    graph = build_units(network)
    cost_model = CostModel(graph, size)
    free = [unit.name for unit in graph.units if unit not in graph.head]
    never = {"down.0.first", "down.0.second"}
    kinds = [[Storage.KEPT, Storage.RECOMPUTED, *([Storage.NEVER] if name in never else [])] for name in free]
    best = plan.prediction.peak_bytes
    for storages in itertools.product(*kinds):
        units = {name: UnitChoice(storage) for name, storage in zip(free, storages, strict=True)}
        price = cost_model.price(replace(plan.choices, units=units))
        if price.flops <= plan.prediction.flops:
            best = min(best, price.peak)
    assert plan.prediction.peak_bytes <= 1.02 * best


@pytest.fixture(scope="module")
def programme():
    """Of a UNet with four levels, with the search's other choices at 1.25x."""
    network = UNet3d(1, 8, (12, 24, 48, 96))
    size = (96, 64, 64)
    plan = plan_training(network, size, allowed=_WITHOUT_CHUNKS, machine=COUNTED, max_slowdown=1.25)
    graph = build_units(network)
    free = [unit.name for unit in graph.units if unit not in graph.head]
    never = {"down.0.first", "down.0.second"}
    options = {name: (Storage.KEPT, Storage.RECOMPUTED, *([Storage.NEVER] if name in never else [])) for name in free}
    base = replace(plan.choices, units=base_choices([unit.name for unit in graph.units], options).units)
    return network, size, StorageProgramme(CostModel(graph, size), base, options)


@pytest.mark.parametrize("limit", [1.02, 1.1, 1.25, 1.4])
def test_search_is_near_the_optimum_of_a_mixed_integer_programme(programme, limit):
    network, size, best = programme
    plan = plan_training(network, size, allowed=_WITHOUT_CHUNKS, machine=COUNTED, max_slowdown=limit)
    optimum = best.solve(plan.prediction.flops)
    price = best.cost_model.price(optimum.choices)
    assert price.peak == pytest.approx(optimum.peak_bytes, rel=0.01)  # what the programme believes is so
    assert price.flops <= 1.0001 * plan.prediction.flops
    assert plan.prediction.peak_bytes <= 1.02 * price.peak


def test_enough_memory_needs_no_plan():
    network = UNet3d(widths=(4, 8))
    plan = plan_training(network, (32, 32, 32), budget_bytes=10**9)
    assert plan.executor == "vanilla"
    assert "no memory management" in plan.summary()


def test_impossible_budget_tells_the_smallest(budgeted):
    with pytest.raises(BudgetError, match="at least") as caught:
        budgeted(0.01)
    smallest = caught.value.smallest_bytes
    assert shown_bytes(smallest) in str(caught.value)
    vanilla = budgeted(0.9).prediction.vanilla_peak_bytes
    plan = budgeted(1.001 * smallest / vanilla)
    assert plan == caught.value.smallest and plan.prediction.peak_bytes == smallest


def test_strategies_can_be_switched_off():
    network = UNet3d(widths=(8, 16, 24))
    size, fine = SMALL_SIZE, COUNTED
    everything = plan_training(network, size, machine=fine).prediction.peak_bytes
    for name in ("checkpoint", "in-place", "channel-chunks"):
        allowed = EXACT - {"host-offload", "slab-streaming", name}
        fewer = plan_training(network, size, allowed=allowed, machine=fine)
        assert fewer.prediction.peak_bytes > everything, name
    nothing = plan_training(network, size, allowed=frozenset())
    choices = nothing.choices
    assert not (choices.in_place or choices.split_concat or choices.fused_head or choices.slab_rows)
    assert {choice.storage for choice in choices.units.values()} <= {Storage.BOTH, Storage.KEPT}
    with pytest.raises(UserError, match="unknown strategy"):
        plan_training(network, size, allowed=frozenset({"magic"}))


def test_largest_size():
    network = UNet3d(widths=(8, 16))
    budget = 2 * 2**20
    k, j, i = largest_size(network, budget_bytes=budget, aspect=(104, 64, 72), multiple=8)
    assert plan_training(network, (k, j, i), budget_bytes=budget).prediction.peak_bytes <= budget
    assert all(n % 8 == 0 for n in (k, j, i)) and k > i >= j
    with pytest.raises(BudgetError):
        plan_training(network, (2 * k, 2 * j, 2 * i), budget_bytes=budget, allowed=EXACT - {"slab-streaming"})


def test_inference_plan_states_its_peak():
    network = small_unet(torch.float32)
    size = (48, 32, 64)
    plan = plan_inference(network, size)
    twin = on_meta(network)
    managed = ManagedNetwork(twin, plan)
    meter = PeakMeter("meta")
    meter.count(list(twin.parameters()))
    with torch.no_grad(), meter:
        managed(torch.empty(1, 1, *size, device="meta"))
    assert plan.prediction.peak_bytes == pytest.approx(meter.peak, rel=0.03)
    assert plan.prediction.peak_bytes < plan.prediction.vanilla_peak_bytes
    with pytest.raises(BudgetError, match="inference"):
        plan_inference(network, size, budget_bytes=2**20)


def test_plans_are_json(leanest):
    assert MemoryPlan.from_dict(json.loads(json.dumps(leanest.to_dict()))) == leanest
    with pytest.raises(UserError, match="this memory plan lacks the key"):
        MemoryPlan.from_dict({"input_size": [1, 2]})


def test_every_line_of_the_table_is_worded(leanest):
    names = [segment.name for segment in leanest.segments]
    assert len(names) == len(set(names)) > 20
    assert all(segment.technique for segment in leanest.segments)
    assert sum(segment.flops_added for segment in leanest.segments) > 0
    assert set(EXACT) < set(STRATEGIES)


@pytest.mark.parametrize(
    "text,expected",
    [("8GiB", 8 * 2**30), ("8 GB", 8 * 10**9), ("1.5gib", 3 * 2**29), ("512MiB", 2**29), ("1000 b", 1000), (77, 77)],
)
def test_amounts_of_memory(text, expected):
    assert parse_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "eight", "8 apples", "-1GiB", "0"])
def test_nonsense_amounts_are_refused(text):
    with pytest.raises(UserError, match="not an amount of memory"):
        parse_bytes(text)


def test_an_amount_of_memory_names_its_unit():
    with pytest.raises(UserError, match="'8' names no unit") as refusal:
        parse_bytes("8")
    assert "8GiB" in str(refusal.value)
