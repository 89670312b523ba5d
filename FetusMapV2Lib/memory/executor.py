"""The executors' common ground: what one pass through a network is asked for, and the order in which units run.

The backward pass *pulls*: a unit asks the units that read it for the gradient of a part of its value, hands them that
part of its value (they need it for their weight's gradient), and overwrites its own tensor with the result.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol

import torch
from torch import Tensor

from FetusMapV2Lib.memory.fused_head import FusedHead
from FetusMapV2Lib.memory.gradients import Gradients
from FetusMapV2Lib.memory.head import HeadLoss
from FetusMapV2Lib.memory.kernels import Statistics, TorchKernels
from FetusMapV2Lib.memory.offload import Parked
from FetusMapV2Lib.memory.plan import Choices, Storage
from FetusMapV2Lib.memory.unit_graph import UnitGraph
from FetusMapV2Lib.memory.unit_kinds import ConvUnit, OpaqueUnit, PoolUnit
from FetusMapV2Lib.memory.units import ALL, Part, Source, Unit


class Executor(Protocol):
    """One pass through a network: `output` or `loss` once, then `backward` once.

    Attributes:
        kernels: operations on tensors, or on their sizes.
    """

    kernels: TorchKernels

    def output(self, volume: Tensor) -> Tensor:
        """The network's output for a volume (B, C, K, J, I)."""

    def loss(self, volume: Tensor, head_loss: HeadLoss) -> Tensor:
        """The scalar loss of the network's output, which is never there whole."""

    def backward(self, upstream: Tensor | None) -> None:
        """Fill `gradients`; `upstream` is the gradient of what was asked for last, None = 1 (of a loss)."""

    @property
    def gradients(self) -> Mapping[Tensor, Tensor]:
        """Of the parameters."""

    @property
    def input_gradient(self) -> Tensor | None:
        """Of the volume, if it was wanted."""

    def holds(self, value: Tensor) -> bool:
        """Whether the output's value is also what the backward pass starts from."""

    def clear(self) -> None:
        """Release everything; `gradients` that were taken before stay with who took them."""


@dataclass(eq=False)
class State:
    """What there is of a unit at the moment.

    Attributes:
        z: a convolution's output before the norm.
        y: the unit's value.
        statistics: of the norm.
        scale: of the norm, see `TorchKernels.scale_and_shift`.
        pushed: gradient of y that readers have already added up here.
        dz: gradient of z (of y where there is no norm), from which the unit's sources pull theirs.
        host: z in host memory.
        shape: of the value.
        random: generator states before an opaque unit ran.
        readers_done: readers that have run forward.
    """

    z: Tensor | None = None
    y: Tensor | None = None
    statistics: Statistics | None = None
    scale: tuple[Tensor, Tensor, Tensor] | None = None
    pushed: Tensor | None = None
    dz: Tensor | None = None
    host: Parked | None = None
    shape: tuple[int, ...] = ()
    random: Any = None
    readers_done: int = 0


class UnitExecutor(ABC, Generic[Part]):
    """Runs a unit graph, keeping, recomputing and overwriting tensors as a plan says; how units are cut is left open.

    Args:
        graph: the network.
        choices: how to run it.
        kernels: operations on tensors, or on their sizes.
        keep: False at inference: nothing stays for a backward pass.
        dtype: that convolutions run in, None = the input's.
        wants_input: the input's gradient is wanted too.
    """

    def __init__(
        self,
        graph: UnitGraph,
        choices: Choices,
        kernels: TorchKernels,
        *,
        keep: bool = True,
        dtype: torch.dtype | None = None,
        wants_input: bool = False,
    ) -> None:
        self.graph, self.choices, self.kernels = graph, choices, kernels
        self.keep, self.dtype, self.wants_input = keep, dtype, wants_input
        self.states: dict[Unit, State] = {unit: State() for unit in (graph.input, *graph.units)}
        self._body = graph.head[1] if choices.fused_head and graph.head is not None else None
        self.gradients = Gradients(kernels)
        self.going_back = self._fused = False

    @property
    def input_gradient(self) -> Tensor | None:
        """Of the volume, if it was wanted."""
        return self.states[self.graph.input].dz

    # -- how units are cut -------------------------------------------------------------------------------------

    @abstractmethod
    def run_convolution(self, unit: ConvUnit) -> None:
        """Compute the value, and keep of it what the plan says."""

    @abstractmethod
    def run_pooling(self, unit: PoolUnit) -> None:
        """Compute the value, and keep of it what the plan says."""

    @abstractmethod
    def run_opaque(self, unit: OpaqueUnit) -> None:
        """Compute the value, and keep of it what the plan says."""

    @abstractmethod
    def convolve_again(self, unit: ConvUnit) -> None:
        """Keep once more what was dropped."""

    @abstractmethod
    def pool_again(self, unit: PoolUnit) -> None:
        """Keep once more what was dropped."""

    @abstractmethod
    def call_again(self, unit: OpaqueUnit) -> None:
        """Keep once more what was dropped."""

    @abstractmethod
    def convolved_part(self, unit: ConvUnit, part: Part) -> Tensor:
        """Part of a value that is not kept as such."""

    @abstractmethod
    def pooled_part(self, unit: PoolUnit, part: Part) -> Tensor:
        """Part of a value that is not kept as such."""

    @abstractmethod
    def opaque_part(self, unit: OpaqueUnit, part: Part) -> Tensor:
        """Part of a value that is not kept as such."""

    @abstractmethod
    def convolution_backward(self, unit: ConvUnit) -> None:
        """Make dL/dz and hold it, so that the unit's sources can pull theirs."""

    @abstractmethod
    def pooling_backward(self, unit: PoolUnit) -> None:
        """Make dL/dy and hold it, so that the unit's source can pull its own."""

    @abstractmethod
    def convolution_share(
        self, unit: ConvUnit, source: Source, part: Part, y: Tensor, total: Tensor | None
    ) -> Tensor | None:
        """`total` with the unit's share of the gradient of what it reads; y is that part of the source's value."""

    @abstractmethod
    def pooling_share(
        self, unit: PoolUnit, source: Source, part: Part, y: Tensor, total: Tensor | None
    ) -> Tensor | None:
        """`total` with the unit's share of the gradient of what it reads; y is that part of the source's value."""

    @abstractmethod
    def read_whole(self, unit: Unit) -> Tensor:
        """A unit's value; what is kept, or recomputed."""

    @abstractmethod
    def _gathered(self, unit: Unit) -> Tensor | None:
        """dL/dy of a unit whose value is there: what was pushed to it, and what it pulls from its readers."""

    @abstractmethod
    def _own_gradients(self, unit: ConvUnit) -> None:
        """Bias, and weight slices of sources that no gradient goes to: nothing will pull those."""

    # -- forward -----------------------------------------------------------------------------------------------

    def output(self, volume: Tensor) -> Tensor:
        """The network's output for a volume (B, C, K, J, I)."""
        return self.forward(volume)

    def loss(self, volume: Tensor, head_loss: HeadLoss) -> Tensor:
        """Loss of the network's output without ever making that output whole; leaves dL/dz of the last body unit.

        Needs `graph.head`.
        """
        assert self.graph.head is not None
        head, body = self.graph.head
        self.forward(volume, until=head)
        self._fused = True
        self.kernels.label("head and loss")
        state = self.states[body]
        z, statistics = state.z, state.statistics
        assert z is not None
        fused = FusedHead(self.graph.head, z, statistics, self._scale(body, ALL), self.gradients)
        value = fused.run(head_loss, self.choices.head_rows, back=self.keep)
        if self.keep:
            state.dz, state.z, state.y = z, None, None
            self._own_gradients(body)
            self.states[head].readers_done = -1
        return value

    def forward(self, volume: Tensor, until: Unit | None = None) -> Tensor:
        """Run all units, or those before `until`; gives the output's value, or the value of the last unit run."""
        self.states[self.graph.input].y = volume
        self.states[self.graph.input].shape = tuple(volume.shape)
        value = volume
        for unit in self.graph.units:
            if unit is until:
                break
            self.kernels.label(unit.name)
            self.kernels.next_unit()
            unit.run(self)
            for source in unit.sources:
                self._read_once_more(source.unit)
        if until is None:
            value = self.read_whole(self.graph.output)
            if not self.keep or self.graph.output.is_plain:
                self.states[self.graph.output].y = self.states[self.graph.output].z = None
        return value

    def holds(self, value: Tensor) -> bool:
        """Whether the output's value is also what the backward pass starts from."""
        state = self.states[self.graph.output]
        return any(kept is not None and kept.data_ptr() == value.data_ptr() for kept in (state.z, state.y))

    def _storage(self, unit: Unit) -> Storage:
        """Of the plan; at inference nothing is kept, and what the fused head reads always is."""
        if self.keep:
            chosen = self.choices.of(unit.name).storage
            return chosen if unit is not self._body or chosen is Storage.BOTH else Storage.KEPT
        never = self.choices.of(unit.name).storage is Storage.NEVER
        return Storage.NEVER if never else Storage.RECOMPUTED

    def _read_once_more(self, unit: Unit) -> None:
        """A reader has run: release what is no longer needed."""
        state = self.states[unit]
        state.readers_done += 1
        last = state.readers_done == len(unit.readers)
        storage = self._storage(unit)
        if unit is self.graph.input:
            return
        if storage is Storage.NEVER or (storage is Storage.RECOMPUTED and last):
            state.y = None
        elif last and self.choices.of(unit.name).host and state.z is not None and unit is not self._body:
            state.host, state.z, state.y = self.kernels.to_host(state.z), None, None
        elif last and not self.keep:
            state.y = state.z = None

    def _called_again(self, unit: OpaqueUnit) -> Tensor:
        values = [self.read_whole(source.unit) for source in unit.sources]
        return self.kernels.call_again(unit, values, self.states[unit].random)

    @property
    def _device(self) -> torch.device:
        volume = self.states[self.graph.input].y
        assert volume is not None
        return volume.device

    def _type(self, unit: Unit) -> torch.dtype:
        volume = self.states[self.graph.input].y
        assert volume is not None
        if self.choices.of(unit.name).reduced:
            return torch.bfloat16
        return self.dtype or volume.dtype

    def _scale(self, unit: Unit, channels: slice) -> tuple[Tensor, Tensor, Tensor] | None:
        """Of the norm; that of all channels is found once in a pass, not anew for each slab."""
        state, norm = self.states[unit], unit.norm
        if norm is None:
            return None
        if channels == ALL and state.scale is not None:
            return state.scale
        statistics = state.statistics
        assert statistics is not None
        gamma = None if norm.weight is None else self.kernels.parameter(norm.weight)
        beta = None if norm.bias is None else self.kernels.parameter(norm.bias)
        scale = self.kernels.scale_and_shift(statistics, gamma, beta, norm.eps, channels)
        if channels == ALL:
            state.scale = scale
        return scale

    def _activate(self, unit: ConvUnit, z: Tensor, channels: slice, in_place: bool) -> Tensor:
        if unit.is_plain:
            return z
        return self.kernels.activate(z, self._scale(unit, channels), unit.slope, in_place)

    # -- backward ----------------------------------------------------------------------------------------------

    def backward(self, upstream: Tensor | None) -> None:
        """Fill `gradients`; `upstream` is the gradient of what was asked for last, None = 1 (of a loss)."""
        self.going_back = True
        if upstream is not None:  # else the output's readers have pushed it already
            (self._scale_gradients if self._fused else self._start)(upstream)
        for unit in reversed(self.graph.units):
            if self.states[unit].readers_done == -1:  # the fused head has done it
                continue
            if not unit.needs_gradient and not self._leads_to_input(unit):
                self._release(unit)
                continue
            self.kernels.label(f"{unit.name} backward")
            unit.backward(self)
            self._release_readers(unit)
        if self.wants_input:
            self.kernels.label("input backward")
            self.states[self.graph.input].dz = self._gathered(self.graph.input)

    def _start(self, gradient: Tensor) -> None:
        state, plain = self.states[self.graph.output], self.graph.plain_output
        if plain is not None:
            state.dz, state.y, state.z = self.kernels.cast(gradient, self._type(plain)), None, None
            self._own_gradients(plain)
        else:
            state.pushed = self.kernels.clone(gradient)  # autograd's own tensor is not ours to overwrite

    def _leads_to_input(self, unit: Unit) -> bool:
        if not self.wants_input:
            return False
        return any(s.unit is self.graph.input or self._leads_to_input(s.unit) for s in unit.sources)

    def _wants(self, unit: Unit) -> bool:
        """Whether the gradient of a unit's value is needed."""
        if unit is self.graph.input:
            return self.wants_input
        return unit.needs_gradient or self._leads_to_input(unit)

    def opaque_backward(self, unit: OpaqueUnit) -> None:
        """Autograd over one opaque unit; its sources get their share pushed."""
        state = self.states[unit]
        values = [self.read_whole(source.unit) for source in unit.sources]
        gradient = self._gathered(unit)
        state.y = state.pushed = None
        if gradient is None:
            return
        wanted = [self._wants(source.unit) for source in unit.sources]
        shares, found = self.kernels.call_backward(unit, values, wanted, gradient, state.random)
        for share, source in zip(shares, unit.sources, strict=True):
            target = self.states[source.unit]
            if share is not None and target.pushed is None:
                target.pushed = share
            elif share is not None and target.pushed is not None:
                self.kernels.add(target.pushed, share)
        for parameter, value in found:
            self.gradients.add(parameter, (ALL,), value)

    def _release(self, unit: Unit) -> None:
        state = self.states[unit]
        state.y = state.z = state.dz = state.pushed = state.host = None

    def _release_readers(self, unit: Unit) -> None:
        """Readers all of whose sources have pulled hold their gradient no longer."""
        self.states[unit].readers_done = -1
        if self.states[unit].dz is None:  # it has pushed its part
            self._release(unit)
        for reader, _ in unit.readers:
            waiting = (source.unit for source in reader.sources if self._wants(source.unit))
            if all(self.states[other].readers_done == -1 for other in waiting):
                self._release(reader)
        if not any(self._wants(source.unit) for source in unit.sources):
            self._release(unit)

    def _scale_gradients(self, factor: Tensor) -> None:
        """Multiply what the fused head has made by the gradient of the loss itself."""
        assert self.graph.head is not None
        dz = self.states[self.graph.head[1]].dz
        assert dz is not None
        dz.mul_(factor.to(dz.dtype))
        self.gradients.scale(factor)

    def clear(self) -> None:
        """Release everything; `gradients` that were taken before stay with who took them."""
        self.gradients = Gradients(self.kernels)
        self.clear_tensors()

    def clear_tensors(self) -> None:
        """Release everything but the gradients."""
        self.states = {}
