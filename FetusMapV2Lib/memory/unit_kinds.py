"""The kinds of units: convolution with norm and activation, pooling, and anything else as it is; and the input."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from FetusMapV2Lib.memory.rows import RowConv, keeps_size
from FetusMapV2Lib.memory.units import ALL, FAR, Part, Runner, Source, Unit

_PROBE_SIZE = 32  # of a tensor without data that tells the channels an operation gives


@dataclass(eq=False)
class InputUnit(Unit):
    """The network's input.

    Attributes:
        count: channels.
    """

    count: int = 1

    @property
    def channels(self) -> int:
        """Of the volume."""
        return self.count

    @property
    def at_full_size(self) -> bool:
        """It is."""
        return True

    @property
    def can_be_cut(self) -> bool:
        """It is there whole."""
        return False

    @property
    def depth(self) -> int:
        """None lie between."""
        return 0


@dataclass(eq=False)
class ConvUnit(Unit):
    """Conv3d, then perhaps a norm on batch or instance statistics, then perhaps a (leaky) ReLU.

    Attributes:
        conv: the convolution.
    """

    conv: nn.Conv3d = None  # type: ignore[assignment]

    convolves: ClassVar[bool] = True

    def parameters(self) -> Iterator[nn.Parameter]:
        """Of convolution and norm."""
        yield from self.conv.parameters()
        if self.norm is not None:
            yield from self.norm.parameters()

    @property
    def channels(self) -> int:
        """Of the output."""
        return self.conv.out_channels

    @property
    def per_sample(self) -> bool:
        """Statistics are taken per sample."""
        return isinstance(self.norm, nn.InstanceNorm3d)

    @property
    def is_plain(self) -> bool:
        """Without norm and activation."""
        return self.norm is None and self.slope is None

    @property
    def makes_two(self) -> bool:
        """With norm or activation."""
        return not self.is_plain

    @property
    def at_full_size(self) -> bool:
        """A decoder's first convolution also reads coarser values, upsampled."""
        if any(source.upsample is not None for source in self.sources):
            return any(source.upsample is None and source.unit.at_full_size for source in self.sources)
        return super().at_full_size

    @property
    def depth(self) -> int:
        """One more than what it reads."""
        if any(source.upsample is not None for source in self.sources):
            return FAR
        return min(FAR, 1 + max(source.unit.depth for source in self.sources))

    def flops(self, shape: tuple[int, ...]) -> int:
        """Two for each weight and voxel."""
        return 2 * self.conv.weight.numel() * shape[0] * math.prod(shape[2:])

    def slices(self, chunks: Callable[[Unit], int]) -> list[slice]:
        """As many as the plan says, equally wide but for the last."""
        count = chunks(self)
        width = -(-self.channels // count)
        starts = range(0, self.channels, width)
        return [ALL] if count == 1 else [slice(i, min(i + width, self.channels)) for i in starts]

    @property
    def keeps_rows(self) -> bool:
        """With as much padding as the kernel asks for."""
        return keeps_size(self.conv)

    @property
    def halo(self) -> int:
        """Half the kernel."""
        return RowConv.of(self.conv).halo if self.keeps_rows else 0

    def rows_from(self, rows: int) -> int:
        """By padding, kernel and stride."""
        padding: Any = self.conv.padding
        kernel = self.conv.dilation[0] * (self.conv.kernel_size[0] - 1)
        return int((rows + 2 * int(padding[0]) - kernel - 1) // self.conv.stride[0] + 1)

    def run(self, runner: Runner[Any]) -> None:
        """See `Unit.run`."""
        runner.run_convolution(self)

    def make_again(self, runner: Runner[Any]) -> None:
        """See `Unit.make_again`."""
        runner.convolve_again(self)

    def part(self, runner: Runner[Part], part: Part) -> Tensor:
        """See `Unit.part`."""
        return runner.convolved_part(self, part)

    def backward(self, runner: Runner[Any]) -> None:
        """See `Unit.backward`."""
        runner.convolution_backward(self)

    def with_share(
        self, runner: Runner[Part], source: Source, part: Part, y: Tensor, total: Tensor | None
    ) -> Tensor | None:
        """See `Unit.with_share`."""
        return runner.convolution_share(self, source, part, y, total)


@dataclass(eq=False)
class PoolUnit(Unit):
    """Max pooling by two."""

    halves: ClassVar[bool] = True

    @property
    def channels(self) -> int:
        """Those of what it reads."""
        return self.sources[0].unit.channels

    @property
    def at_full_size(self) -> bool:
        """It leads to the level below."""
        return False

    def slices(self, chunks: Callable[[Unit], int]) -> list[slice]:
        """Those of what it reads."""
        return self.sources[0].unit.slices(chunks)

    def rows_from(self, rows: int) -> int:
        """Half as many."""
        return rows // 2

    def run(self, runner: Runner[Any]) -> None:
        """See `Unit.run`."""
        runner.run_pooling(self)

    def make_again(self, runner: Runner[Any]) -> None:
        """See `Unit.make_again`."""
        runner.pool_again(self)

    def part(self, runner: Runner[Part], part: Part) -> Tensor:
        """See `Unit.part`."""
        return runner.pooled_part(self, part)

    def backward(self, runner: Runner[Any]) -> None:
        """See `Unit.backward`."""
        runner.pooling_backward(self)

    def with_share(
        self, runner: Runner[Part], source: Source, part: Part, y: Tensor, total: Tensor | None
    ) -> Tensor | None:
        """See `Unit.with_share`."""
        return runner.pooling_share(self, source, part, y, total)


@dataclass(eq=False)
class OpaqueUnit(Unit):
    """Any other operation; run as it is, its backward pass by local autograd.

    Attributes:
        module: if it is one.
        own: parameters that it reads without a module.
        call: takes the sources' values in order.
        overwrites: it may change what it reads.
    """

    module: nn.Module | None = None
    own: tuple[nn.Parameter, ...] = ()
    overwrites: bool = False
    call: Callable[..., Tensor] = None  # type: ignore[assignment]

    comes_whole: ClassVar[bool] = True

    def parameters(self) -> Iterator[nn.Parameter]:
        """Of the module, and its own."""
        yield from self.own
        if self.module is not None:
            yield from self.module.parameters()

    @cached_property
    def channels(self) -> int:
        """Found by one run without data."""
        with FakeTensorMode(allow_non_fake_inputs=True):
            values = [torch.empty(1, source.unit.channels, *3 * (_PROBE_SIZE,)) for source in self.sources]
            return int(self.call(*values).shape[1])

    @property
    def has_choice(self) -> bool:
        """Where its backward pass runs it once more."""
        return self.needs_gradient

    @property
    def at_full_size(self) -> bool:
        """Where nothing is trained, such as coordinates."""
        return not self.needs_gradient and super().at_full_size

    @property
    def depth(self) -> int:
        """None where it is made from the input alone."""
        near = not self.needs_gradient and all(source.unit.depth == 0 for source in self.sources)
        return 0 if near else FAR

    def run(self, runner: Runner[Any]) -> None:
        """See `Unit.run`."""
        runner.run_opaque(self)

    def make_again(self, runner: Runner[Any]) -> None:
        """See `Unit.make_again`."""
        runner.call_again(self)

    def part(self, runner: Runner[Part], part: Part) -> Tensor:
        """See `Unit.part`."""
        return runner.opaque_part(self, part)

    def backward(self, runner: Runner[Any]) -> None:
        """See `Unit.backward`."""
        runner.opaque_backward(self)
