"""Ways are priced only as far as it takes to see that another beats them: what is found is the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import islice

import pytest

from FetusMapV2Lib.memory import plan_search
from FetusMapV2Lib.memory.cost_model import CostModel
from FetusMapV2Lib.memory.ledger import Ledger
from FetusMapV2Lib.memory.machine import Machine
from FetusMapV2Lib.memory.plan import Choices, Storage, UnitChoice
from FetusMapV2Lib.memory.plan_search import PlanSearch
from FetusMapV2Lib.memory.unit_builder import build_units
from FetusMapV2Lib.network.unet import UNet3d

SIZE = (16, 16, 16)
GRAPH = build_units(UNet3d(1, 3, (4, 8)))
MACHINES = [Machine.cpu(), Machine(transfer_per_s=1e12)]  # to a host that is near, transfers may pay


class WholeCostModel(CostModel):
    """Never ends a walk early."""

    def price_unless(self, choices, stop):
        return super().price_unless(choices, None)


def ways(model: CostModel) -> Iterator[Choices]:
    """The patterns, and single changes of one streamed and one that is not."""
    search = PlanSearch(model, 1, None, None)
    search.space = search.wide
    patterns = search._patterns()
    yield from patterns
    yield from islice(search._changes(patterns[3]), 0, None, 4)
    yield from islice(search._changes(patterns[-1]), 0, None, 4)


@pytest.mark.parametrize("machine", MACHINES, ids=["slices", "rows"])
def test_a_walk_ends_early_only_where_the_whole_costs_too_much(machine):
    whole, model = (CostModel(GRAPH, SIZE, machine=machine) for _ in range(2))
    stopped = 0
    limit = CostModel(GRAPH, SIZE, machine=machine).price(whole.like_plain)
    seconds = machine.seconds(limit)

    def too_much(price: Ledger) -> bool:
        return price.peak >= 0.7 * limit.peak and machine.seconds(price) >= seconds

    for choices in ways(whole):
        expected, found = whole.price(choices), model.price_unless(choices, too_much)
        assert model.evaluations == whole.evaluations
        if found is None:
            stopped += 1
            assert too_much(expected)
            assert model.price_unless(choices, too_much) is None
            found = model.price_unless(choices, lambda price: False)
            assert model.evaluations == whole.evaluations  # priced once more, not another one
        assert found is not None and costs(found) == costs(expected)
    assert stopped > 3


def costs(price: Ledger) -> dict[str, object]:
    """All that a ledger counted."""
    found = asdict(replace(price, workspace=None, duration=max, stop=None))
    return {name: value for name, value in found.items() if name != "_next_look"}


@pytest.mark.parametrize("machine", MACHINES, ids=["slices", "rows"])
def test_the_frontier_is_that_of_ways_that_are_priced_whole(machine, monkeypatch):
    for name, count in (("_EVALUATIONS", 40), ("_LEAN_EVALUATIONS", 20), ("_FRONT_EVALUATIONS", 100)):
        monkeypatch.setattr(plan_search, name, count)
    searches = [PlanSearch(kind(GRAPH, SIZE, machine=machine), 1, None, None) for kind in (CostModel, WholeCostModel)]
    found, expected = (search.front.ways for search in searches)
    assert found == expected and len(found) > 10
    models = [search.cost_model for search in searches]
    assert models[0].evaluations == models[1].evaluations
    assert len(models[0]._begun) > 10
    assert searches[0].leanest(40) == searches[1].leanest(40)


def test_what_is_chosen_for_units_of_a_streamed_level_makes_no_difference():
    shared = CostModel(GRAPH, SIZE)
    for units in ({}, {"down.0.first": UnitChoice(Storage.NEVER)}, {"down.1.first": UnitChoice(Storage.RECOMPUTED)}):
        for rows in (4, 8):
            for head_rows in (4, 16):
                choices = Choices(units=units, slab_rows=rows, head_rows=head_rows)
                assert costs(shared.price(choices)) == costs(CostModel(GRAPH, SIZE).price(choices))
    assert shared.evaluations == 12 and len(shared._known) == 4
