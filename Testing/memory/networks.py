"""Small networks and the comparison of gradients that the tests of memory plans share."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from FetusMapV2Lib.memory.machine import Machine
from FetusMapV2Lib.memory.managed import ManagedNetwork
from FetusMapV2Lib.memory.paper.reversible import Recomputed, ReversibleBlock
from FetusMapV2Lib.memory.plan import Choices, MemoryPlan, Prediction, Storage, UnitChoice
from FetusMapV2Lib.memory.unit_builder import build_units
from FetusMapV2Lib.network.unet import UNet3d

SIZE = (24, 16, 8)

#: A machine on which operations alone take time, and slices of channels may be thin.
COUNTED = Machine(
    flops_per_s=1.0, bytes_per_s=math.inf, transfer_per_s=math.inf, launch_s=0.0, by_rows=False, slice_channels=4
)
CHAIN = ("down.0.first", "down.0.second")  # short enough to be recomputed wherever they are read


def small_unet(dtype: torch.dtype = torch.float64, coordinates: bool = True, landmarks: int = 5) -> UNet3d:
    """A UNet of four levels whose norms are no longer at their initial values."""
    torch.manual_seed(0)
    network = UNet3d(1, landmarks, (4, 6, 8, 8), coordinates=coordinates)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network.to(dtype)


def plan_of(choices: Choices) -> MemoryPlan:
    """A plan with given choices and no prediction."""
    return MemoryPlan(SIZE, 1, "training", choices.executor, (), Prediction(1, 1, 1, 1), choices)


def slabs(network: nn.Module, rows: int, storage: Storage = Storage.KEPT, *, channels_last: bool = False) -> Choices:
    """Every unit of a network in slabs of rows; `NEVER` falls to the first two convolutions, the others are kept."""
    names = [unit.name for unit in build_units(network).units]
    kept = {name: Storage.KEPT if storage is Storage.NEVER and name not in CHAIN else storage for name in names}
    units = {name: UnitChoice(kept[name], rows=rows) for name in names}
    return Choices(units=units, channels_last=channels_last)


def managed(network: nn.Module, choices: Choices) -> ManagedNetwork:
    """A network under given choices."""
    return ManagedNetwork(network, plan_of(choices))


def set_managed(network: nn.Module, managed: bool) -> nn.Module:
    """Switch the memory management of all reversible and recomputed modules; returns the network."""
    for module in network.modules():
        if isinstance(module, ReversibleBlock | Recomputed):
            module.managed = managed
    return network


def volume(batch: int = 1, dtype: torch.dtype = torch.float64, size: tuple[int, int, int] = SIZE) -> Tensor:
    """Noise."""
    return torch.randn(batch, 1, *size, generator=torch.Generator().manual_seed(1)).to(dtype)


def run(network: nn.Module, call: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Output, and all parameter gradients as one vector, of a fixed random functional."""
    network.zero_grad()
    output = call(x)
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    (output * weights.to(output.dtype)).sum().backward()
    return output.detach(), gradient_vector(network)


def gradient_vector(network: nn.Module) -> Tensor:
    """All gradients in a row, float64; zeros where a parameter has none."""
    parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in network.parameters()]
    return torch.cat([part.detach().double().flatten() for part in parts])


def error(found: Tensor, expected: Tensor) -> float:
    """Relative error of a whole vector."""
    return float((found.double() - expected.double()).norm() / expected.double().norm())
