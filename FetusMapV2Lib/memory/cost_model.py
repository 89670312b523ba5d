"""What a step costs: run with shape tensors under a plan's choices, measured without data for plain autograd."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from FetusMapV2Lib.memory.channel_executor import ChannelExecutor
from FetusMapV2Lib.memory.execution import Execution
from FetusMapV2Lib.memory.machine import Machine
from FetusMapV2Lib.memory.meter import Measured, PeakMeter, on_meta
from FetusMapV2Lib.memory.plan import Choices
from FetusMapV2Lib.memory.shape_tensors import Ledger, ShapeKernels, ShapeLoss
from FetusMapV2Lib.memory.units import UnitGraph

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
        self._known: dict[tuple[object, ...], Ledger] = {}

    def price(self, choices: Choices) -> Ledger:
        """The cost of a step; remembered."""
        key = (tuple(sorted(choices.units.items())), *_flags(choices))
        if key not in self._known:
            self.evaluations += 1
            self._known[key] = self._run(choices)
        return self._known[key]

    def seconds(self, choices: Choices) -> float:
        """Predicted duration of a step."""
        return self.machine.seconds(self.price(choices))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of every unit's value, by unit name."""
        kernels = ShapeKernels(Ledger())
        executor = ChannelExecutor(self.graph, Choices(), kernels)
        executor.output(kernels.new((self.batch, self.graph.input_channels, *self.input_size), torch.float32))
        return {unit.name: executor.states[unit].shape for unit in self.graph.units}

    def _run(self, choices: Choices) -> Ledger:
        ledger = Ledger()
        kernels = ShapeKernels(ledger)
        module = self.graph.module
        weights = sum(p.numel() * p.element_size() for p in module.parameters())
        trained = sum(p.numel() * p.element_size() for p in module.parameters() if p.requires_grad)
        ledger.take(weights + 2 * trained * self.training)  # Adam keeps two moments
        volume = kernels.new((self.batch, self.graph.input_channels, *self.input_size), torch.float32)
        executor = self._execution.executor(choices, kernels, keep=self.training, dtype=self.autocast)
        if not self.training:
            output = executor.output(volume)
            ledger.label("")
            del output
            return ledger
        if self._execution.fuses_head(choices):
            executor.loss(volume, ShapeLoss(ledger))
            executor.backward(None)
        else:
            executor.backward(self._whole_loss(kernels, executor.output(volume)))
        del volume
        gradients = executor.gradients
        executor.clear()
        self._optimise(kernels)
        del gradients
        return ledger

    def _optimise(self, kernels: ShapeKernels) -> None:
        kernels.label("optimiser")
        largest = max((p.numel() * p.element_size() for p in self.graph.module.parameters()), default=0)
        kernels.ledger.brief(2 * largest)
        kernels.label("")

    def _whole_loss(self, kernels: ShapeKernels, output: Tensor) -> Tensor:
        """A loss on stored heatmaps: the maps, their probabilities and their gradient."""
        kernels.label("loss")
        maps = kernels.cast(output, torch.float32)
        probabilities = kernels.clone(maps)
        gradient = kernels.clone(maps)
        del probabilities, maps
        given: Tensor = kernels.cast(gradient, output.dtype)
        return given

    def vanilla(self, timeline: bool = False) -> Measured:
        """Plain autograd with the plain loss (log-softmax times a stored target) and Adam, or plain inference."""
        twin = on_meta(self.graph.module)
        shape = (self.batch, self.graph.input_channels, *self.input_size)
        return (step_without_data if self.training else _vanilla_inference)(twin, shape, timeline)


def _flags(choices: Choices) -> tuple[object, ...]:
    return (
        choices.in_place,
        choices.split_concat,
        choices.fused_head,
        choices.head_rows,
        choices.slab_rows,
        choices.streamed_to_host,
    )


def step_without_data(twin: nn.Module, shape: tuple[int, ...], timeline: bool = False) -> Measured:
    """A training step of a network on the meta device with the plain loss (log-softmax times a stored target) and Adam.

    Args:
        twin: see `meter.on_meta`.
        shape: of the input (B, C, K, J, I).
        timeline: keep the course of the live bytes.
    """
    optimiser = torch.optim.Adam([p for p in twin.parameters() if p.requires_grad], foreach=False)

    def forward_and_backward() -> None:
        logits = twin(torch.empty(shape, device="meta"))
        flat = logits.float().flatten(2) if logits.dim() > 2 else logits.float()
        loss = -(torch.log_softmax(flat, -1) * torch.empty_like(flat)).sum()
        del logits, flat
        loss.backward()

    for parameter in optimiser.param_groups[0]["params"]:
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()  # makes its state
    meter = PeakMeter("meta", timeline)
    meter.count(list(twin.parameters()), [list(state.values()) for state in optimiser.state.values()])
    with meter:
        optimiser.zero_grad()
        forward_and_backward()
        before = tuple(meter.timeline or ())  # hundreds of small steps of Adam would hide the course of the rest
        optimiser.step()
    return Measured(meter.peak, meter.flops, (*before, ("optimiser", meter.current)) if timeline else ())


def _vanilla_inference(twin: nn.Module, shape: tuple[int, ...], timeline: bool) -> Measured:
    meter = PeakMeter("meta", timeline)
    meter.count(list(twin.parameters()))
    with torch.no_grad(), meter:
        twin(torch.empty(shape, device="meta"))
    return Measured(meter.peak, meter.flops, tuple(meter.timeline or ()))
