"""What slabs of rows are for: convolutions read them where they are stored, and hardly any memory is needed beside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from memory.networks import error, managed, plan_of, run, slabs, small_unet, volume
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from FetusMapV2Lib.memory.cost_model import CostModel
from FetusMapV2Lib.memory.kernels import TorchKernels
from FetusMapV2Lib.memory.plan import Choices, MemoryPlan, Storage, UnitChoice
from FetusMapV2Lib.memory.unit_builder import build_units
from FetusMapV2Lib.network.unet import DoubleConv, UNet3d


class Convolutions(TorchDispatchMode):
    """Notes what convolutions read, and what is padded."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[Tensor] = []
        self.padded = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = func._overloadpacket.__name__
        if name == "convolution":
            self.read.append(args[0])
        elif name == "convolution_backward":
            self.read += args[:2]
        self.padded += name == "constant_pad_nd"
        return func(*args, **(kwargs or {}))


def lies_as_it_is_read(x: Tensor) -> bool:
    """Whether a convolution with the channels innermost copies nothing first."""
    return x.is_contiguous(memory_format=torch.channels_last_3d)


def is_part_of_more(x: Tensor) -> bool:
    return x.untyped_storage().nbytes() > x.numel() * x.element_size()


class TwoLevels(nn.Module):
    """A chain without heads or skips: every tensor has one reader."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(DoubleConv(1, 4), nn.MaxPool3d(2), DoubleConv(4, 6), DoubleConv(6, 6))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


@pytest.mark.parametrize("storage", [Storage.KEPT, Storage.BOTH, Storage.RECOMPUTED])
def test_convolutions_read_slabs_where_they_are_stored(storage):
    torch.manual_seed(0)
    network = TwoLevels()
    call = managed(network, slabs(network, 4, storage, channels_last=True))
    with Convolutions() as seen:
        call(volume(dtype=torch.float32, size=(32, 8, 6))).square().sum().backward()
    assert len(seen.read) > 100
    assert all(map(lies_as_it_is_read, seen.read))
    views = sum(map(is_part_of_more, seen.read))
    assert views > len(seen.read) / 3  # of the rest, most are values made from z for this slab
    # zeros beyond the two ends: input gradients of five convolutions, and twice the values that are stored whole
    assert seen.padded <= 2 * (5 + 2 * (2 if storage is Storage.KEPT else 6))


def test_batches_are_cut_too_but_copied():
    network = TwoLevels().double()
    expected = run(network, network, volume(3, size=(12, 8, 6)))
    found = run(network, managed(network, slabs(network, 4, channels_last=True)), volume(3, size=(12, 8, 6)))
    assert all(error(a, b) < 1e-12 for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("size", [(13, 6, 7), (5, 4, 4), (15, 9, 5)])
@pytest.mark.parametrize("storage", Storage)
@pytest.mark.parametrize("rows", [2, 3, 4])
def test_odd_sizes(size, storage, rows):
    torch.manual_seed(0)
    network = TwoLevels().double()
    choices = Choices(units={unit.name: UnitChoice(storage, rows=rows) for unit in build_units(network).units})
    expected = run(network, network, volume(size=size))
    found = run(network, managed(network, choices), volume(size=size))
    assert all(error(a, b) < 1e-12 for a, b in zip(found, expected, strict=True))


class Kernels(nn.Module):
    """Kernels of one, five and seven voxels, holes in them, a stride, and a size that is not kept."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv3d(1, 4, 5, padding=2)
        self.wider = nn.Conv3d(4, 4, 7, padding=3)
        self.norm = nn.BatchNorm3d(4, track_running_stats=False)
        self.holes = nn.Conv3d(4, 4, 3, padding=2, dilation=2)
        self.point = nn.Conv3d(4, 6, 1)
        self.shrinks = nn.Conv3d(6, 4, 3)
        self.strided = nn.Conv3d(4, 4, 3, stride=2, padding=1)
        self.last = nn.Conv3d(4, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.wider(self.wide(x))))
        return self.last(self.strided(self.shrinks(self.point(self.holes(x)))))


@pytest.mark.parametrize("storage", Storage)
@pytest.mark.parametrize("rows", [2, 4])
def test_other_kernels(storage, rows):
    torch.manual_seed(0)
    network = Kernels().double()
    x = volume(2, size=(12, 9, 8))
    expected = run(network, network, x)
    found = run(network, managed(network, slabs(network, rows, storage)), x)
    assert all(error(a, b) < 1e-12 for a, b in zip(found, expected, strict=True))


def test_a_gradient_is_written_over_that_of_its_reader():
    torch.manual_seed(0)
    network = nn.Sequential(*(DoubleConv(8, 8) for _ in range(2)))
    size = (64, 32, 32)
    whole = 4 * 8 * 64 * 32 * 32
    choices, model = slabs(network, 4), CostModel(build_units(network), size)
    over, beside = (model.price(replace(choices, in_place=in_place)).timeline for in_place in (True, False))
    name = "0.second backward"
    assert dict(over)[name] <= dict(beside)[name] - 0.9 * whole  # one row waits in a copy


def test_plans_with_slabs_are_json_and_older_plans_are_read():
    plan = plan_of(slabs(small_unet(), 8, channels_last=True))
    values = plan.to_dict()
    assert MemoryPlan.from_dict(values) == plan
    for unit in values["choices"]["units"].values():
        del unit["rows"]
    del values["choices"]["channels_last"]
    older = MemoryPlan.from_dict(values)
    assert not older.choices.by_rows


def test_the_papers_network_in_a_quarter_of_the_memory():
    """At most 25 % of plain autograd's live bytes for at most 1.1 times the operations, in slabs of 8 rows."""
    graph = build_units(UNet3d())
    model = CostModel(graph, (176, 112, 112))
    kept = ("down.1.second", "down.4", "up.2.convs.first", "up.1", "up.0", "head")
    units = {
        unit.name: UnitChoice(Storage.KEPT if unit.name.startswith(kept) else Storage.RECOMPUTED, rows=8)
        for unit in graph.units
    }
    units["down.0.first"] = UnitChoice(Storage.NEVER, rows=8)
    price, vanilla = model.price(Choices(units=units)), model.vanilla()
    assert price.peak <= 0.25 * vanilla.peak_bytes
    assert price.flops <= 1.1 * vanilla.flops


def test_a_bfloat16_weight_gradient_on_a_cpu_with_the_channels_innermost():
    """Where PyTorch's own, for a weight that lies alike, is left uninitialised."""
    draw = torch.Generator().manual_seed(0)
    x, dz = (
        torch.randn(1, 8, 2, 2, 4, generator=draw).bfloat16().contiguous(memory_format=torch.channels_last_3d)
        for _ in range(2)
    )
    conv = nn.Conv3d(8, 8, 3, padding=1, bias=False)
    weight = conv.weight.detach()
    found = TorchKernels(torch.channels_last_3d).weight_gradient(dz, x, weight, conv)
    expected = TorchKernels().weight_gradient(dz.double(), x.double(), weight.double(), conv)
    assert error(found, expected) < 0.01
