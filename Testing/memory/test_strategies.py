"""Every memory strategy alone: it is registered, saves memory, and can be switched off."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from memory.networks import COUNTED

from FetusMapV2Lib.memory import strategies
from FetusMapV2Lib.memory.cost_model import CostModel
from FetusMapV2Lib.memory.plan import Choices, Storage
from FetusMapV2Lib.memory.planner import plan_training
from FetusMapV2Lib.memory.strategies import EXACT, ON_DEVICE, STRATEGIES, Space, named
from FetusMapV2Lib.memory.unit_builder import build_units
from FetusMapV2Lib.network.unet import UNet3d

SIZE = (64, 48, 48)
WITH_MOVES = [name for name, one in STRATEGIES.items() if not one.changes_network]


@pytest.fixture(scope="module")
def network() -> UNet3d:
    return UNet3d(widths=(8, 16, 24))


@pytest.fixture(scope="module")
def space(network) -> Space:
    return Space(CostModel(build_units(network), SIZE, machine=COUNTED), named(set(EXACT)))


@cache
def best_with(network: UNet3d, names: frozenset[str], slowdown: float = 4.0, by_rows: bool = False) -> Choices:
    machine = replace(COUNTED, by_rows=by_rows)
    return plan_training(network, SIZE, allowed=names, max_slowdown=slowdown, machine=machine).choices


def test_every_file_is_a_registered_strategy():
    files = {path.stem for path in Path(strategies.__file__).parent.glob("*.py")} - {"__init__", "base"}
    assert files == {type(one).__module__.rpartition(".")[2] for one in STRATEGIES.values()}
    assert all(name == one.name and one.summary for name, one in STRATEGIES.items())
    assert ON_DEVICE < EXACT < set(STRATEGIES)
    assert set(STRATEGIES) - EXACT == {"reversible", "reduced-storage"}


@pytest.mark.parametrize("name", WITH_MOVES)
def test_it_saves_memory(network, space, name):
    allowed = (ON_DEVICE | {name}) - ({"checkpoint"} if name == "in-place" else set())
    if name == "slab-streaming":
        allowed |= {"host-offload"}
    slowdown = 1.02 if name == "host-offload" else 4.0  # where operations are free, recomputing saves as much
    rows = name == "row-slabs"
    with_it, without = (best_with(network, frozenset(names), slowdown, rows) for names in (allowed, allowed - {name}))
    assert space.cost_model.price(with_it).peak < space.cost_model.price(without).peak


@pytest.mark.parametrize("name", WITH_MOVES)
def test_what_is_switched_off_is_in_no_plan(network, name):
    allowed = (EXACT | {"reduced-storage"}) - {name}
    if name == "recompute-norm":
        allowed -= {"checkpoint", "reduced-storage", "slab-streaming"}  # they, too, keep one tensor of a unit
    choices = best_with(network, frozenset(allowed), by_rows=name == "row-slabs")
    units = choices.units.values()
    used = {
        "in-place": choices.in_place,
        "no-concat": choices.split_concat,
        "fused-head": choices.fused_head,
        "recompute-norm": any(
            unit.makes_two and choices.of(unit.name).storage is Storage.KEPT
            for unit in Space(CostModel(build_units(network), SIZE, machine=COUNTED), []).free
        ),
        "checkpoint": any(unit.storage in (Storage.RECOMPUTED, Storage.NEVER) for unit in units),
        "row-slabs": choices.by_rows,
        "channel-chunks": any(unit.chunks > 1 for unit in units),
        "host-offload": any(unit.host for unit in units) or bool(choices.streamed_to_host),
        "reduced-storage": any(unit.reduced for unit in units),
        "slab-streaming": bool(choices.slab_rows),
    }
    assert not used[name]


def test_a_network_is_not_exchanged_by_a_plan():
    assert STRATEGIES["reversible"].changes_network
    assert "reversible" not in EXACT
