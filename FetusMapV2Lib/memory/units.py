"""What a unit of a network is to those that plan for it and run it.

Its kinds (`unit_kinds`) are classes: what differs between them is a method here, so that nobody asks which kind it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeVar

from torch import Tensor, nn

ALL = slice(None)

#: `Unit.depth` of what no plain chain of convolutions leads to.
FAR = 99

Part = TypeVar("Part", contravariant=True)


class Runner(Protocol[Part]):
    """What runs units: for each thing that is done with a unit a method for each kind (`unit_kinds`).

    `Part` is what a value is cut in: slices of channels, or rows.
    """

    def run_convolution(self, unit: Any) -> None:
        """Compute the value, and keep of it what the plan says."""

    def run_pooling(self, unit: Any) -> None:
        """Compute the value, and keep of it what the plan says."""

    def run_opaque(self, unit: Any) -> None:
        """Compute the value, and keep of it what the plan says."""

    def convolve_again(self, unit: Any) -> None:
        """Keep once more what was dropped."""

    def pool_again(self, unit: Any) -> None:
        """Keep once more what was dropped."""

    def call_again(self, unit: Any) -> None:
        """Keep once more what was dropped."""

    def convolved_part(self, unit: Any, part: Part) -> Tensor:
        """Part of a value that is not kept as such."""

    def pooled_part(self, unit: Any, part: Part) -> Tensor:
        """Part of a value that is not kept as such."""

    def opaque_part(self, unit: Any, part: Part) -> Tensor:
        """Part of a value that is not kept as such."""

    def convolution_backward(self, unit: Any) -> None:
        """Make dL/dz and hold it, so that the unit's sources can pull theirs."""

    def pooling_backward(self, unit: Any) -> None:
        """Make dL/dy and hold it, so that the unit's source can pull its own."""

    def opaque_backward(self, unit: Any) -> None:
        """Push what the sources get."""

    def convolution_share(
        self, unit: Any, source: Source, part: Part, y: Tensor, total: Tensor | None
    ) -> Tensor | None:
        """`total` with the unit's share of the gradient of what it reads; y is that part of the source's value."""

    def pooling_share(self, unit: Any, source: Source, part: Part, y: Tensor, total: Tensor | None) -> Tensor | None:
        """`total` with the unit's share of the gradient of what it reads; y is that part of the source's value."""


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
        norm: that follows its operation.
        slope: of the activation below zero; None = no activation.
        convolves: whether its operation is a convolution.
        halves: whether its value has half the size of what it reads.
        comes_whole: whether its value cannot be made in parts.
    """

    name: str
    sources: list[Source] = field(default_factory=list)
    readers: list[tuple[Unit, Source]] = field(default_factory=list)
    needs_gradient: bool = False
    norm: nn.BatchNorm3d | nn.InstanceNorm3d | None = None
    slope: float | None = None

    convolves: ClassVar[bool] = False
    halves: ClassVar[bool] = False
    comes_whole: ClassVar[bool] = False

    def parameters(self) -> Iterator[nn.Parameter]:
        """Those of its modules."""
        yield from ()

    @property
    def channels(self) -> int:
        """Of the value."""
        raise NotImplementedError

    @property
    def is_plain(self) -> bool:
        """A convolution alone: its value is its output itself."""
        return False

    @property
    def makes_two(self) -> bool:
        """Plain autograd keeps a convolution's output and the value made from it."""
        return False

    @property
    def has_choice(self) -> bool:
        """What is kept of it makes a difference."""
        return True

    @property
    def at_full_size(self) -> bool:
        """The value has the input's resolution, and is not made from coarser levels alone."""
        return all(source.unit.at_full_size for source in self.sources)

    @property
    def depth(self) -> int:
        """Convolutions between the input and the value, `FAR` where the way is not a plain chain."""
        return FAR

    def flops(self, shape: tuple[int, ...]) -> int:
        """Operations of convolutions for a value of some shape."""
        return 0

    def slices(self, chunks: Callable[[Unit], int]) -> list[slice]:
        """The slices of channels that it is worked on in.

        Args:
            chunks: tells how many a unit has by its plan.
        """
        return [ALL]

    # -- rows --------------------------------------------------------------------------------------------------

    @property
    def keeps_rows(self) -> bool:
        """Each row of the value is made from the same row of what it reads and its neighbours."""
        return True

    @property
    def can_be_cut(self) -> bool:
        """It, and all that read it, work on rows with their halos alone."""
        return self.keeps_rows and all(reader.keeps_rows for reader, _ in self.readers)

    @property
    def halo(self) -> int:
        """Rows beyond its own that it asks for."""
        return 0

    def rows_from(self, rows: int) -> int:
        """Rows of the value, from those of what it reads."""
        return rows

    # -- what is done with it ----------------------------------------------------------------------------------

    def run(self, runner: Runner[Any]) -> None:
        """Compute the value, and keep of it what the plan says."""
        raise NotImplementedError

    def make_again(self, runner: Runner[Any]) -> None:
        """Keep once more what was dropped."""
        raise NotImplementedError

    def part(self, runner: Runner[Part], part: Part) -> Tensor:
        """Part of the value, where it is not kept as such."""
        raise NotImplementedError

    def backward(self, runner: Runner[Any]) -> None:
        """Make the gradient that its sources pull from, or push theirs."""
        raise NotImplementedError

    def with_share(
        self, runner: Runner[Part], source: Source, part: Part, y: Tensor, total: Tensor | None
    ) -> Tensor | None:
        """The gradient of part of what it reads, with its share.

        Args:
            runner: holds the gradients.
            source: through which it reads.
            part: which.
            y: the source's value there.
            total: what other readers gave; may be changed.
        """
        return total  # it has pushed its share
