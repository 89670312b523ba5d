"""Memory plans for MONAI's networks: they run exactly, and what cannot be planned is refused, never wrong."""

from __future__ import annotations

import copy

import pytest
import torch
from memory.networks import error, managed, run, volume
from monai.networks.nets import BasicUNet, DynUNet, SegResNet, UNet, resnet10
from torch import Tensor, nn

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.memory.managed import ManagedNetwork
from FetusMapV2Lib.memory.plan import Choices
from FetusMapV2Lib.memory.planner import plan_training

SIZE = (16, 16, 16)

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
        plan_training(build(), (32, 32, 32))  # these networks halve it five times


class Scaled(nn.Module):
    """A network with parameters of its own, one of them read through an operation."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv3d(1, 4, 3, padding=1), nn.Conv3d(4, 2, 1)
        self.scale, self.shift = nn.Parameter(torch.full((1, 4, 1, 1, 1), 0.3)), nn.Parameter(torch.ones(4, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.conv(x) * self.scale.exp() + self.shift)


@pytest.mark.parametrize("choices", [Choices(), Choices(channels_last=True)], ids=["channels", "rows"])
def test_parameters_that_belong_to_no_module_within(choices):
    torch.manual_seed(0)
    network = Scaled()
    plan = plan_training(network, (8, 8, 8), max_slowdown=4.0)
    assert plan.prediction.flops >= plan.prediction.vanilla_flops
    network, x = network.double(), volume(2, size=(8, 8, 8))
    expected, found = run(network, network, x), run(network, managed(network, choices), x)
    assert error(found[0], expected[0]) < 1e-12
    assert error(found[1], expected[1]) < 1e-12
