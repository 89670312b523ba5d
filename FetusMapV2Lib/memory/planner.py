"""Chooses how a network is run: the fastest way within a memory budget, or the leanest within a time."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from FetusMapV2Lib.memory.cost_model import CostModel, Size
from FetusMapV2Lib.memory.machine import Machine
from FetusMapV2Lib.memory.plan import Choices, MemoryPlan
from FetusMapV2Lib.memory.plan_search import PlanSearch
from FetusMapV2Lib.memory.strategies import check_strategies
from FetusMapV2Lib.memory.unit_builder import build_units


def plan_training(
    network: nn.Module,
    input_size: Size,
    *,
    budget_bytes: int | None = None,
    max_slowdown: float | None = None,
    allowed: frozenset[str] | None = None,
    batch: int = 1,
    autocast: torch.dtype | None = None,
    machine: Machine | None = None,
) -> MemoryPlan:
    """Plan a training step: forward, loss, backward and Adam.

    With a budget: the least predicted time within it; above plain training's peak the fastest way there is. Without:
    the least memory within `max_slowdown`.

    Args:
        network: one tensor in, one out, static control flow.
        input_size: (k, j, i).
        budget_bytes: for all live tensors, parameters, optimiser state and the machine's workspace included; where the
            machine knows none, leave 10-25 % of a GPU's memory for it.
        max_slowdown: greatest ratio of a step's predicted duration to plain PyTorch's; 1.1 without a budget.
        allowed: strategies (`strategies.STRATEGIES`); by default those that stay on the device, then all exact ones.
        batch: volumes at once.
        autocast: type that convolutions run in.
        machine: speeds for predicted durations.

    Raises:
        BudgetError: nothing fits; it tells the smallest possible peak.
        UserError: a network that cannot be planned for, or an unknown strategy.
    """
    check_strategies(allowed or ())
    graph = build_units(network)
    cost_model = CostModel(graph, input_size, batch=batch, autocast=autocast, machine=machine)
    return PlanSearch(cost_model, budget_bytes, max_slowdown, allowed).plan()


def plan_inference(
    network: nn.Module,
    input_size: Size,
    *,
    budget_bytes: int | None = None,
    batch: int = 1,
    autocast: torch.dtype | None = None,
    machine: Machine | None = None,
) -> MemoryPlan:
    """Plan one inference; see `plan_training`. Without a budget: the fastest plan, whose peak is stated.

    Raises:
        BudgetError: nothing fits; it tells the smallest possible peak.
        UserError: a network that cannot be planned for.
    """
    graph = build_units(network)
    cost_model = CostModel(graph, input_size, batch=batch, training=False, autocast=autocast, machine=machine)
    return PlanSearch(cost_model, budget_bytes, None, None).plan()


def largest_size(
    network: nn.Module,
    *,
    budget_bytes: int,
    aspect: Size = (208, 128, 144),
    multiple: int = 16,
    max_slowdown: float | None = None,
    allowed: frozenset[str] | None = None,
    batch: int = 1,
    autocast: torch.dtype | None = None,
    machine: Machine | None = None,
) -> Size:
    """The largest input, of about an aspect, that trains within a budget.

    Sizes grow along the aspect, each side rounded to the multiple. The leanest ways to run one size are tried on the
    others; those of the largest that fits are then looked for once more.

    Args:
        network: see `plan_training`, also for the arguments that are not named here.
        budget_bytes: greatest peak.
        aspect: of the sides (k, j, i).
        multiple: that sides are rounded to.
        max_slowdown: see `plan_training`.
        allowed: see `plan_training`.
        batch: volumes at once.
        autocast: type that convolutions run in.
        machine: see `plan_training`.
    """
    check_strategies(allowed or ())
    graph = build_units(network)
    sizes = list(_growing(aspect, multiple))
    models: dict[Size, CostModel] = {}

    def model(size: Size) -> CostModel:
        return models.setdefault(size, CostModel(graph, size, batch=batch, autocast=autocast, machine=machine))

    def lean(size: Size) -> Choices:
        slowdown = float("inf") if max_slowdown is None else max_slowdown
        return PlanSearch(model(size), budget_bytes, slowdown, allowed).leanest(evaluations=24)

    ways: list[Choices] = []
    found = min(len(sizes) - 1, next((n for n, size in enumerate(sizes) if size >= aspect), 0))
    for _ in range(2):
        ways.append(lean(sizes[found]))
        low, high = 0, len(sizes)
        while low < high:
            middle = (low + high) // 2
            fits = min(model(sizes[middle]).price(way).peak for way in ways) <= budget_bytes
            low, high = (middle + 1, high) if fits else (low, middle)
        found = max(0, low - 1)
    return sizes[found]


def _growing(aspect: Size, multiple: int, steps: int = 400) -> Iterator[Size]:
    """Growing sizes of about an aspect, each once."""
    last: Size | None = None
    longest = max(aspect)
    for step in range(1, steps):
        scale = step * multiple / longest / 2
        k, j, i = (max(multiple, round(n * scale / multiple) * multiple) for n in aspect)
        if (k, j, i) != last and max(k, j, i) <= 1024:
            last = (k, j, i)
            yield last
