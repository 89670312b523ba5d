"""A network as a graph of units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from torch import Tensor, nn

from FetusMapV2Lib.memory.unit_kinds import ConvUnit, InputUnit
from FetusMapV2Lib.memory.units import Source, Unit

Kind = TypeVar("Kind", bound=Unit)


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
        return self.input.channels

    def upsampled_by(self, unit: Unit) -> list[tuple[ConvUnit, Source]]:
        """Convolutions that read a unit upsampled, in order."""
        return [
            (conv, source)
            for conv in self.convolutions
            for source in conv.sources
            if source.unit is unit and source.upsample is not None
        ]

    @cached_property
    def convolutions(self) -> list[ConvUnit]:
        """The units that are such, in order."""
        return self.of_kind(ConvUnit)

    def of_kind(self, kind: type[Kind]) -> list[Kind]:
        """The units of one kind, in order."""
        return [unit for unit in self.units if isinstance(unit, kind)]

    @property
    def plain_output(self) -> ConvUnit | None:
        """The unit whose value is the network's, if it is a convolution alone that nothing else reads."""
        return next(
            (unit for unit in self.convolutions if unit is self.output and unit.is_plain and not unit.readers), None
        )

    @property
    def head(self) -> tuple[ConvUnit, ConvUnit] | None:
        """The last 1x1x1 convolution and the unit that it alone reads, if the network ends so."""
        head = self.plain_output
        if head is None or len(head.sources) != 1:
            return None
        by_voxel = all(n == 1 for n in (*head.conv.kernel_size, *head.conv.stride)) and head.conv.groups == 1
        body = head.sources[0]
        alone = body.upsample is None and len(body.unit.readers) == 1
        read = [unit for unit in self.convolutions if unit is body.unit]
        return (head, read[0]) if by_voxel and alone and read else None
