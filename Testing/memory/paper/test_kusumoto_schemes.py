"""Step 1 of the paper on real networks: the surrogate's strategy runs, is exact, and its peak is the one predicted."""

from __future__ import annotations

import pytest
from benchmarks.memory_bench.kusumoto_schemes import computation_graph, kusumoto_choices
from memory.networks import error, managed, run, small_unet, volume

from FetusMapV2Lib.memory.cost_model import CostModel
from FetusMapV2Lib.memory.plan import Storage
from FetusMapV2Lib.memory.planner import plan_training
from FetusMapV2Lib.memory.unit_builder import build_units
from FetusMapV2Lib.network.unet import UNet3d


def test_a_unet_is_nearly_a_chain():
    """Skips make every lower set a prefix (Hamiltonian path), so that exact and approximate planning coincide."""
    graph, units = computation_graph(CostModel(build_units(small_unet()), (48, 32, 64)))
    assert graph.count == len(units)
    assert graph.lower_sets() == graph.pruned_lower_sets()
    assert len(graph.lower_sets()) == graph.count + 1


@pytest.mark.parametrize("memory_centric", [False, True])
def test_gradients(memory_centric):
    network = small_unet()
    choices = kusumoto_choices(CostModel(build_units(network), (24, 16, 40)), memory_centric=memory_centric)
    assert Storage.RECOMPUTED in {choice.storage for choice in choices.units.values()}
    expected = run(network, network, volume(2))
    found = run(network, managed(network, choices), volume(2))
    assert error(found[1], expected[1]) < 1e-12


def test_it_saves_memory_and_the_search_on_true_peaks_saves_more():
    network = UNet3d()
    cost_model = CostModel(build_units(network), (176, 112, 112))
    vanilla = cost_model.vanilla()
    published = cost_model.price(kusumoto_choices(cost_model))
    searched = plan_training(network, (176, 112, 112), allowed=frozenset({"checkpoint"})).prediction
    assert searched.peak_bytes < published.peak < vanilla.peak_bytes
    assert published.flops <= 1.34 * vanilla.flops
