"""Memory plans for MONAI's networks: they run exactly, and what cannot be planned is refused, never wrong."""

from __future__ import annotations

import copy

import pytest
import torch
from memory.networks import error, run, volume
from monai.networks.nets import BasicUNet, DynUNet, SegResNet, UNet, resnet10

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.memory.managed import ManagedNetwork
from FetusMapV2Lib.memory.planner import plan_training

SIZE = (32, 32, 32)

NETWORKS = {
    "unet": lambda: UNet(3, 1, 3, (4, 8, 8), (2, 2), norm="batch"),
    "residual unet": lambda: UNet(3, 1, 3, (4, 8, 8), (2, 2), num_res_units=2),
    "dynunet": lambda: DynUNet(3, 1, 3, [3, 3, 3], [1, 2, 2], [2, 2], filters=[4, 8, 8]),
    "segresnet": lambda: SegResNet(3, 8, 1, 3, blocks_down=(1, 1, 1), blocks_up=(1, 1)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients(name):
    torch.manual_seed(0)
    network = NETWORKS[name]()
    plan = plan_training(network, SIZE, batch=2)
    assert plan.prediction.peak_bytes <= plan.prediction.vanilla_peak_bytes
    network = network.double()
    twin = copy.deepcopy(network)
    expected = run(network, network, volume(2, size=SIZE))
    found = run(twin, ManagedNetwork(twin, plan), volume(2, size=SIZE))
    assert error(found[0], expected[0]) < 1e-12
    assert error(found[1], expected[1]) < 1e-12


@pytest.mark.parametrize(
    "build",
    [
        lambda: BasicUNet(3, 1, 3, (4, 4, 8, 8, 8, 4)),  # asks whether its skip is a tensor: a tracer's is none
        lambda: resnet10(spatial_dims=3, n_input_channels=1, num_classes=3),  # reads its batch size
    ],
    ids=["question about a type", "a number as a step"],
)
def test_what_cannot_be_planned_is_refused(build):
    with pytest.raises(UserError, match=r"traced|no tensor"):
        plan_training(build(), SIZE)
