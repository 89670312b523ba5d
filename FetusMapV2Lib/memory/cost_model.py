"""What a step costs: run with shape tensors under a plan's choices, measured without data for plain autograd."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor, nn

from FetusMapV2Lib.memory.channel_executor import ChannelExecutor
from FetusMapV2Lib.memory.execution import Execution
from FetusMapV2Lib.memory.ledger import Ledger, StoppedError
from FetusMapV2Lib.memory.machine import Machine
from FetusMapV2Lib.memory.meter import Measured, PeakMeter, on_meta
from FetusMapV2Lib.memory.operations import Operation
from FetusMapV2Lib.memory.plan import Choices, Storage, UnitChoice
from FetusMapV2Lib.memory.shape_loss import ShapeLoss
from FetusMapV2Lib.memory.shape_tensors import OpaqueCosts, ShapeKernels, ShapeTensor
from FetusMapV2Lib.memory.unit_graph import UnitGraph

Size = tuple[int, int, int]


class CostModel:
    """Prices choices for one network at one input size.

    Args:
        graph: the network.
        input_size: (k, j, i).
        batch: volumes at once.
        training: a whole step with Adam, or one inference.
        autocast: type of convolutions, None = float32.
        machine: for durations.
    """

    def __init__(
        self,
        graph: UnitGraph,
        input_size: Size,
        *,
        batch: int = 1,
        training: bool = True,
        autocast: torch.dtype | None = None,
        machine: Machine | None = None,
    ) -> None:
        self.graph, self.input_size, self.batch, self.training = graph, input_size, batch, training
        self.autocast, self.machine = autocast, machine or Machine()
        self.evaluations = 0
        self._execution = Execution(graph)
        self._asked: set[tuple[object, ...]] = set()
        self._begun: dict[tuple[object, ...], Ledger] = {}
        self._known: dict[tuple[object, ...], Ledger] = {}
        self._opaque_costs: OpaqueCosts = {}

    def price(self, choices: Choices) -> Ledger:
        """The cost of a step; remembered."""
        found = self.price_unless(choices, None)
        assert found is not None
        return found

    def price_unless(self, choices: Choices, stop: Callable[[Ledger], bool] | None) -> Ledger | None:
        """The cost of a step, or None as soon as part of it is too much; remembered.

        Args:
            choices: how the network is run.
            stop: whether a step that costs at least as much need not be priced; it is asked over and over, with costs
                that grow.
        """
        key = (tuple(sorted(choices.units.items())), *_flags(choices))
        if key not in self._asked:
            self.evaluations += 1
            self._asked.add(key)
        if choices.slab_rows:  # what the streamed level does is the same whatever is chosen for its units
            key = self._streamed_key(choices)
        known = self._known.get(key)
        if known is not None:
            return known
        begun = self._begun.get(key)
        if begun is not None and stop is not None and stop(begun):
            return None
        ledger = self._ledger(itemised=self.machine.measured)
        ledger.stop = stop
        try:
            self._run(choices, ledger)
        except StoppedError:
            self._begun[key] = ledger
            return None
        finally:
            ledger.stop = None
        self._known[key] = ledger
        return ledger

    def operations(self, choices: Choices) -> Counter[Operation]:
        """What a step does, and how often."""
        ledger = self._ledger(itemised=True)
        self._run(choices, ledger)
        return ledger.operations

    def _ledger(self, itemised: bool) -> Ledger:
        machine = self.machine
        workspace = machine.workspace if machine.takes_workspace else None
        return Ledger(itemised, workspace=workspace, duration=machine.duration, transfer_s=machine.transfer_s)

    def _streamed_key(self, choices: Choices) -> tuple[object, ...]:
        below = tuple(sorted((name, choice) for name, choice in choices.units.items() if name in self._below))
        return (below, choices.by_rows, *_flags(replace(choices, head_rows=0)))

    @cached_property
    def _below(self) -> frozenset[str]:
        """Names of the units below a streamed level."""
        return frozenset(unit.name for unit in self._execution.top.inner.units)

    def seconds(self, choices: Choices) -> float:
        """Predicted duration of a step."""
        return self.machine.seconds(self.price(choices))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of every unit's value, by unit name."""
        kernels = ShapeKernels(Ledger(), self._opaque_costs)
        executor = ChannelExecutor(self.graph, Choices(), kernels)
        executor.output(kernels.new((self.batch, self.graph.input_channels, *self.input_size), torch.float32))
        return {unit.name: executor.states[unit].shape for unit in self.graph.units}

    def _run(self, choices: Choices, ledger: Ledger) -> None:
        last = choices.channels_last or (choices.by_rows and self.machine.by_rows)
        kernels = ShapeKernels(
            ledger,
            self._opaque_costs,
            layout=torch.channels_last_3d if last else torch.contiguous_format,
            copies_beside=self.machine.copies_beside,
        )
        ledger.take(self._standing)
        volume = kernels.new((self.batch, self.graph.input_channels, *self.input_size), torch.float32)
        executor = self._execution.executor(choices, kernels, keep=self.training, dtype=self.autocast)
        if not self.training:
            output = executor.output(volume)
            ledger.label("")
            del output
            return
        if self._execution.fuses_head(choices):
            executor.loss(volume, ShapeLoss(ledger))
            executor.backward(None)
        else:
            executor.backward(self._whole_loss(kernels, executor.output(volume)))
        del volume
        gradients = executor.gradients
        executor.clear()
        kernels.release()
        self._optimise(kernels)
        del gradients

    @cached_property
    def _standing(self) -> int:
        """Bytes that are there all the time: weights, and the two moments that Adam keeps."""
        parameters = list(self.graph.module.parameters())
        weights = sum(p.numel() * p.element_size() for p in parameters)
        trained = sum(p.numel() * p.element_size() for p in parameters if p.requires_grad)
        return weights + 2 * trained * self.training

    def _optimise(self, kernels: ShapeKernels) -> None:
        kernels.label("optimiser")
        kernels.ledger.work(*self._optimiser_work)
        kernels.ledger.brief(2 * self._largest_parameter)
        kernels.label("")

    @cached_property
    def _largest_parameter(self) -> int:
        """In bytes."""
        return max((p.numel() * p.element_size() for p in self.graph.module.parameters()), default=0)

    @cached_property
    def _optimiser_work(self) -> tuple[str, ShapeTensor, int]:
        """Adam reads parameters, gradients and two moments, and writes all but the gradients."""
        trained = sum(p.numel() for p in self.graph.module.parameters() if p.requires_grad)
        return "optimiser", ShapeTensor((trained,), torch.float32, None), 7 * 4 * trained

    def plain_seconds(self, channels_last: bool = False) -> float:
        """Predicted duration in plain PyTorch; that of the most similar choices where the machine does not know it."""
        voxels = self.batch * math.prod(self.input_size)
        found = self.machine.plain_seconds(voxels, self.vanilla().flops, channels_last) if self.training else None
        if found is None:
            return self.seconds(self.like_plain)
        if not self.machine.measured:  # a table's steps include the optimiser, and are of large inputs
            return max(found, self.price(self.like_plain).launches * self.machine.launch_s)
        optimiser = Ledger()
        optimiser.work(*self._optimiser_work)
        return found + self.machine.seconds(optimiser)

    @cached_property
    def like_plain(self) -> Choices:
        """The choices nearest to plain autograd."""
        units = {unit.name: UnitChoice(Storage.BOTH if unit.convolves else Storage.KEPT) for unit in self.graph.units}
        return Choices(units=units, in_place=False, split_concat=False, fused_head=False)

    def _whole_loss(self, kernels: ShapeKernels, output: Tensor) -> Tensor:
        """A loss on stored heatmaps: the maps, their probabilities and their gradient."""
        kernels.label("loss")
        maps = kernels.cast(output, torch.float32)
        probabilities = kernels.clone(maps)
        gradient = kernels.clone(maps)
        del probabilities, maps
        given: Tensor = kernels.cast(gradient, output.dtype)
        return given

    def vanilla(self) -> Measured:
        """Plain autograd with the plain loss (log-softmax times a stored target) and Adam, or plain inference.

        With the course of its live bytes; remembered.
        """
        return self._vanilla

    @cached_property
    def _vanilla(self) -> Measured:
        twin = on_meta(self.graph.module)
        shape = (self.batch, self.graph.input_channels, *self.input_size)
        run = step_without_data if self.training else _inference_without_data
        return run(twin, shape, True, self.machine.plain_workspace)


def _flags(choices: Choices) -> tuple[object, ...]:
    return (
        choices.in_place,
        choices.split_concat,
        choices.fused_head,
        choices.head_rows,
        choices.slab_rows,
        choices.streamed_to_host,
        choices.channels_last,
    )


def step_without_data(
    twin: nn.Module,
    shape: tuple[int, ...],
    timeline: bool = False,
    workspace: Callable[[Operation], int] | None = None,
) -> Measured:
    """A training step of a network on the meta device with the plain loss (log-softmax times a stored target) and Adam.

    Args:
        twin: see `meter.on_meta`.
        shape: of the input (B, C, K, J, I).
        timeline: keep the course of the live bytes.
        workspace: see `PeakMeter`.
    """
    trained = [p for p in twin.parameters() if p.requires_grad]
    largest = max(trained, key=Tensor.numel)  # Adam works on one parameter after the other: the largest takes most
    optimiser = torch.optim.Adam([largest], foreach=False)
    moments = [torch.empty_like(p) for p in trained if p is not largest for _ in range(2)]

    def forward_and_backward() -> None:
        logits = twin(torch.empty(shape, device="meta"))
        flat = logits.float().flatten(2) if logits.dim() > 2 else logits.float()
        loss = -(torch.log_softmax(flat, -1) * torch.empty_like(flat)).sum()
        del logits, flat
        loss.backward()

    largest.grad = torch.zeros_like(largest)
    optimiser.step()  # makes its state
    meter = PeakMeter("meta", timeline, workspace)
    meter.count(list(twin.parameters()), moments, [list(state.values()) for state in optimiser.state.values()])
    with meter:
        twin.zero_grad()
        forward_and_backward()
        before = tuple(meter.timeline or ())  # the small steps of Adam would hide the course of the rest
        optimiser.step()
    return Measured(meter.peak, meter.flops, (*before, ("optimiser", meter.current)) if timeline else ())


def _inference_without_data(
    twin: nn.Module, shape: tuple[int, ...], timeline: bool, workspace: Callable[[Operation], int]
) -> Measured:
    meter = PeakMeter("meta", timeline, workspace)
    meter.count(list(twin.parameters()))
    with torch.no_grad(), meter:
        twin(torch.empty(shape, device="meta"))
    return Measured(meter.peak, meter.flops, tuple(meter.timeline or ()))
