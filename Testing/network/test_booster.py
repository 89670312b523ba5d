"""The feature booster: the identity at first, then parts that learn of one another along the skeleton alone."""

from __future__ import annotations

import torch

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.memory.planner import plan_inference
from FetusMapV2Lib.models.architectures import build_network
from FetusMapV2Lib.network.booster import BoostedUNet3d, FeatureBooster, GraphicalConvLSTM, visiting_order
from FetusMapV2Lib.network.unet import UNet3d

EDGES = tuple((edge.start, edge.end) for edge in default_schema().edges)


def test_parts_are_visited_along_the_skeleton() -> None:
    order = visiting_order(22, EDGES)
    assert sorted(order) == list(range(22))
    assert order[0] in (6, 8)  # the spine, where the limbs begin
    for number, part in enumerate(order[1:], start=1):
        assert any({part, other} in [set(edge) for edge in EDGES] for other in order[:number])
    assert visiting_order(3, [(1, 2)]) == [1, 2, 0]


def test_a_part_learns_of_those_visited_before_it() -> None:
    torch.manual_seed(0)
    cell = GraphicalConvLSTM(2, [0, 1, 2], [(0, 2)])
    parts = [torch.randn(1, 2, 3, 3, 3, requires_grad=True) for _ in range(3)]
    states = cell(parts)
    assert [state.shape for state in states] == [(1, 2, 3, 3, 3)] * 3
    first = torch.autograd.grad(states[0].sum(), parts, retain_graph=True, allow_unused=True)
    assert first[1] is None and first[2] is None
    last = torch.autograd.grad(states[2].sum(), parts)
    assert all(float(gradient.abs().max()) > 0 for gradient in last)
    apart = GraphicalConvLSTM(2, [0, 1, 2], [])
    apart.load_state_dict(cell.state_dict())
    assert torch.equal(apart(parts)[1], states[1])
    assert not torch.equal(apart(parts)[2], states[2])  # its neighbour's state is missing


def test_the_booster_begins_as_the_identity_and_can_learn() -> None:
    torch.manual_seed(0)
    booster = FeatureBooster(6, 22, EDGES, 2)
    features = torch.randn(2, 6, 4, 4, 4)
    assert torch.equal(booster(features), features)
    (booster(features) * torch.randn_like(features)).sum().backward()
    assert booster.join.weight.grad is not None and float(booster.join.weight.grad.abs().max()) > 0
    with torch.no_grad():
        booster.join.weight.normal_()
    booster.zero_grad()
    booster(features).square().sum().backward()
    assert all(parameter.grad is not None for parameter in booster.parameters())


def test_the_boosted_unet_is_the_unet_at_first() -> None:
    torch.manual_seed(0)
    boosted = BoostedUNet3d(1, 22, (4, 6, 8), edges=EDGES, part_channels=2, boosted_level=1)
    plain = UNet3d(1, 22, (4, 6, 8))
    weights = {name: value for name, value in boosted.state_dict().items() if "booster" not in name}
    plain.load_state_dict(weights)
    volume = torch.randn(1, 1, 8, 8, 12)
    assert torch.equal(boosted(volume), plain(volume))
    twin = build_network(boosted.config)
    twin.load_state_dict(boosted.state_dict())
    assert isinstance(twin, BoostedUNet3d) and twin.config == boosted.config
    assert torch.equal(twin(volume), boosted(volume))


def test_the_boosted_unet_can_be_planned_for() -> None:
    boosted = BoostedUNet3d(1, 5, (4, 6, 8), edges=((0, 1), (1, 2), (1, 3), (3, 4)), part_channels=2, boosted_level=1)
    plan = plan_inference(boosted, (16, 16, 16))
    assert plan.prediction.peak_bytes > 0
