"""The operation graph of a network: shapes, operations and what is kept, for any size without tracing again."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets import DynUNet, UNet
from torch.utils.flop_counter import FlopCounterMode

from FetusMapV2Lib.memory.paper.graph import trace
from FetusMapV2Lib.network.unet import UNet3d

NETWORKS = {
    "ours": lambda: UNet3d(1, 5, (4, 8, 8)),
    "with coordinates": lambda: UNet3d(1, 5, (4, 8), coordinates=True),
    "monai": lambda: UNet(3, 1, 3, (4, 8, 8), (2, 2), num_res_units=2),
    "dynunet": lambda: DynUNet(3, 1, 3, [3, 3, 3], [1, 2, 2], [2, 2], filters=[4, 8, 8]),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [(32, 32, 32), (48, 32, 64)])
def test_operations_at_any_size(name, size):
    network = NETWORKS[name]()
    sized = trace(network, 1).at(size)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        output = network(torch.zeros(1, 1, *size))
    assert sum(cost.flops for cost in sized.costs.values()) == counter.get_total_flops()
    assert tuple(output.shape) in {cost.shape for cost in sized.costs.values()}
