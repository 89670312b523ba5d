"""The paper's three steps: valid partitions, reversible passes where they pay, and gradients of what comes out."""

from __future__ import annotations

import copy
import functools

import pytest
import torch
from memory.networks import error, gradient_vector, set_managed
from torch import nn

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.memory.managed import ManagedNetwork
from FetusMapV2Lib.memory.meter import PeakMeter
from FetusMapV2Lib.memory.paper.conversion import convert, find_passes
from FetusMapV2Lib.memory.paper.framework import (
    COUPLINGS,
    DEPTH,
    SCHEMES,
    is_valid,
    paper_framework,
    plan_framework,
)
from FetusMapV2Lib.memory.paper.reversible import ReversibleBlock
from FetusMapV2Lib.memory.paper.segments import segmented
from FetusMapV2Lib.memory.plan import BudgetError, MemoryPlan, Segment, Technique
from FetusMapV2Lib.models.architectures import build_network
from FetusMapV2Lib.network.unet import ConvNormReLU

SIZE = (16, 16, 24)


def unet(widths: tuple[int, ...] = (4, 8)) -> nn.Module:
    torch.manual_seed(0)
    description = {"kind": "unet", "in_channels": 1, "landmarks": 3, "widths": list(widths), "coordinates": False}
    return build_network(description)


def chain(length: int, width: int = 8) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(ConvNormReLU(1, width), *(ConvNormReLU(width, width) for _ in range(length)))


#: Figure 5 of the paper in small: a -> b -> c -> d with a skip from b to d.
LINKS = (("a", "b"), ("b", "c"), ("c", "d"), ("b", "d"))


@pytest.mark.parametrize(
    "nodes, valid",
    [("ab", True), ("abc", False), ("bc", False), ("c", True), ("cd", True), ("bcd", True), ("abcd", True)],
)
def test_only_the_last_node_of_a_valid_subgraph_is_read_outside(nodes, valid):
    assert is_valid(tuple(nodes), LINKS) is valid


def links_of(network: nn.Module) -> list[tuple[str, str]]:
    traced = segmented(network, paper_framework(network, SIZE, checkpoint=False, reversible=False).segments).traced
    return [(source.name, node.name) for node in traced.graph.nodes for source in node.all_input_nodes]


@functools.cache
def planned(scheme: str, widths: tuple[int, ...] = (8, 16)) -> MemoryPlan:
    return plan_framework(unet(widths), SIZE, scheme)


def test_a_partition_is_whole_and_valid():
    network = unet()
    plan = planned("gcp", (4, 8))
    links = links_of(network)
    names = [name for segment in plan.partition for name in segment.nodes]
    assert len(names) == len(set(names))
    assert {Technique.CHECKPOINT, Technique.PLAIN} == {segment.technique for segment in plan.partition}
    inner = [segment for segment in plan.partition if segment.technique is Technique.CHECKPOINT]
    assert all(is_valid(segment.nodes, links) for segment in inner)
    assert plan.partition[-1].technique is Technique.PLAIN
    assert plan.prediction.peak_bytes < plan.prediction.vanilla_peak_bytes
    assert plan.prediction.flops > plan.prediction.vanilla_flops


def test_passes_are_converted_only_where_the_peak_falls():
    network = chain(4)
    found = paper_framework(network, SIZE, checkpoint=False)
    assert found.reversible
    assert set(found.reversible) <= set(find_passes(network))
    assert found.measured.peak_bytes < found.checkpointed.peak_bytes
    refused = sorted(set(find_passes(network)) - set(found.reversible))
    for path in refused:  # one more does not help
        more = convert(network, [*found.reversible, path], couplings=COUPLINGS, depth=DEPTH)
        assert paper_framework(more, SIZE, checkpoint=False, reversible=False).measured.peak_bytes >= (
            found.measured.peak_bytes
        )


def test_steps_two_and_three_start_from_the_partition_of_step_one():
    found = paper_framework(unet((8, 16)), SIZE)
    assert found.measured.peak_bytes <= found.checkpointed.peak_bytes
    alone = [segment.nodes for segment in found.segments if segment.technique is Technique.REVERSIBLE]
    assert all(len(nodes) == 1 for nodes in alone)
    assert [nodes[0] for nodes in alone] == [path.replace(".", "_") for path in found.reversible]


def converted(network: nn.Module, plan: MemoryPlan) -> nn.Module:
    torch.manual_seed(3)
    return convert(network, plan.reversible, couplings=COUPLINGS, depth=DEPTH).double()


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("batch", [1, 2])
def test_gradients_are_those_of_the_same_network_unmanaged(scheme, batch):
    plan = planned(scheme)
    network = converted(unet((8, 16)), plan)
    reference = set_managed(copy.deepcopy(network), False)
    x = torch.randn(batch, 1, *SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    reference(x).square().mean().backward()
    output = ManagedNetwork(network, plan)(x)
    output.square().mean().backward()
    assert torch.allclose(output, reference(x), rtol=1e-12, atol=1e-12)
    assert error(gradient_vector(network), gradient_vector(reference)) < 1e-12


def test_a_network_with_reversible_blocks_keeps_them():
    network = convert(unet(), find_passes(unet()), couplings=COUPLINGS, depth=DEPTH)
    plan = plan_framework(network, SIZE, "gcp")
    blocks = [name for name, module in network.named_modules() if isinstance(module, ReversibleBlock)]
    reversible = [segment.nodes for segment in plan.partition if segment.technique is Technique.REVERSIBLE]
    assert sorted(reversible) == sorted((name.replace(".", "_"),) for name in blocks)
    assert plan.reversible == ()


def test_the_predicted_peak_is_the_one_on_the_cpu():
    network = unet((8, 16, 32))
    plan = plan_framework(network, SIZE, "gcp")
    optimiser = torch.optim.Adam(network.parameters(), foreach=False)
    run = ManagedNetwork(network, plan)

    def step() -> None:
        optimiser.zero_grad()
        logits = run(torch.zeros(1, 1, *SIZE))
        flat = logits.flatten(2)
        loss = -(torch.log_softmax(flat, -1) * torch.empty_like(flat)).sum()
        del logits, flat
        loss.backward()
        optimiser.step()

    step()
    meter = PeakMeter("cpu")
    meter.count(list(network.parameters()), [list(state.values()) for state in optimiser.state.values()])
    with meter:
        step()
    assert meter.peak == pytest.approx(plan.prediction.peak_bytes, rel=0.03)


def test_a_plan_is_read_back_and_runs():
    network = unet()
    plan = planned("gcp", (4, 8))
    again = MemoryPlan.from_dict(plan.to_dict())
    assert again == plan
    x = torch.randn(1, 1, *SIZE)
    assert torch.allclose(ManagedNetwork(network, again)(x), network(x), atol=1e-6)


def test_what_does_not_fit_is_refused():
    network = unet()
    with pytest.raises(UserError, match="unknown memory scheme"):
        plan_framework(network, SIZE, "magic")
    plan = planned("gcp", (4, 8))
    with pytest.raises(BudgetError) as refusal:
        plan_framework(network, SIZE, "gcp", budget_bytes=1000)
    assert refusal.value.smallest_bytes == plan.prediction.peak_bytes
    with pytest.raises(UserError, match="no partition"):
        segmented(network, plan.partition[:-1])
    first = plan.partition[0]
    with pytest.raises(UserError, match="no reversible block"):
        segmented(network, [Segment(first.nodes, Technique.REVERSIBLE), *plan.partition[1:]])
