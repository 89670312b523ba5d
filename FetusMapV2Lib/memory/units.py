"""The units that the executors run: convolution with norm and activation, pooling, and anything else as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from torch import Tensor, nn

ALL = slice(None)


@dataclass(eq=False)
class Source:
    """What a unit reads: another unit's value, upsampled by two or not.

    Attributes:
        unit: that makes the value.
        upsample: None, or the function that upsamples it.
        offset: first input channel of the reading convolution that it feeds.
    """

    unit: Unit
    upsample: Callable[[Tensor], Tensor] | None = None
    offset: int = 0


@dataclass(eq=False)
class Unit:
    """A step of the network that gives one tensor.

    Attributes:
        name: path of its module, or the traced node's name.
        sources: what it reads, in order.
        readers: units that read it (and through which source), in order of execution.
        needs_gradient: whether something trainable lies in it or above it.
    """

    name: str
    sources: list[Source] = field(default_factory=list)
    readers: list[tuple[Unit, Source]] = field(default_factory=list)
    needs_gradient: bool = False

    def parameters(self) -> Iterator[nn.Parameter]:
        """Those of its modules."""
        yield from ()


@dataclass(eq=False)
class InputUnit(Unit):
    """The network's input."""


@dataclass(eq=False)
class ConvUnit(Unit):
    """Conv3d, then perhaps a norm on batch or instance statistics, then perhaps a (leaky) ReLU.

    Attributes:
        conv: the convolution.
        norm: its normalisation.
        slope: of the activation below zero; None = no activation.
    """

    conv: nn.Conv3d = None  # type: ignore[assignment]
    norm: nn.BatchNorm3d | nn.InstanceNorm3d | None = None
    slope: float | None = None

    @property
    def channels(self) -> int:
        """Of the output."""
        return self.conv.out_channels

    @property
    def per_sample(self) -> bool:
        """Statistics are taken per sample."""
        return isinstance(self.norm, nn.InstanceNorm3d)

    def parameters(self) -> Iterator[nn.Parameter]:
        """Of convolution and norm."""
        yield from self.conv.parameters()
        if self.norm is not None:
            yield from self.norm.parameters()


@dataclass(eq=False)
class PoolUnit(Unit):
    """Max pooling by two."""


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

    def parameters(self) -> Iterator[nn.Parameter]:
        """Of the module, and its own."""
        yield from self.own
        if self.module is not None:
            yield from self.module.parameters()


@dataclass(eq=False)
class UnitGraph:
    """A network as units in the order of execution.

    Attributes:
        module: the network.
        input: where the volume comes in.
        units: all others.
        output: the unit whose value is the network's.
        checks: functions called with the input first, for their complaints.
    """

    module: nn.Module
    input: InputUnit
    units: list[Unit]
    output: Unit
    checks: list[Callable[[Tensor], None]]

    @property
    def input_channels(self) -> int:
        """That the network takes."""
        told = getattr(self.module, "in_channels", None)
        if isinstance(told, int):
            return told
        readers = [unit.conv for unit, _ in self.input.readers if isinstance(unit, ConvUnit) and len(unit.sources) == 1]
        return readers[0].in_channels if readers else 1

    @property
    def head(self) -> tuple[ConvUnit, ConvUnit] | None:
        """The last 1x1x1 convolution and the unit that it alone reads, if the network ends so."""
        head = self.output
        if not (isinstance(head, ConvUnit) and head.norm is None and head.slope is None and not head.readers):
            return None
        plain = all(n == 1 for n in (*head.conv.kernel_size, *head.conv.stride)) and head.conv.groups == 1
        body = head.sources[0]
        single = len(head.sources) == 1 and body.upsample is None and len(body.unit.readers) == 1
        if plain and single and isinstance(body.unit, ConvUnit):
            return head, body.unit
        return None


def is_plain(unit: Unit) -> bool:
    """A convolution alone: its value is its output itself."""
    return isinstance(unit, ConvUnit) and unit.norm is None and unit.slope is None
