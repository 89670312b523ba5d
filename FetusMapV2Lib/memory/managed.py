"""`ManagedNetwork`: a network run by a memory plan, as ordinary autograd.

Parameter gradients are returned to autograd, not written to `.grad`: clipping, accumulation, averaging and
DistributedDataParallel's hooks see them as those of any network.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.func import functional_call

from FetusMapV2Lib.memory.compiler import uncompiled
from FetusMapV2Lib.memory.execution import Execution
from FetusMapV2Lib.memory.executor import Executor
from FetusMapV2Lib.memory.fused.kernels import kernels_for
from FetusMapV2Lib.memory.head import HeadLoss
from FetusMapV2Lib.memory.offload import HostMemory
from FetusMapV2Lib.memory.paper.segments import segmented
from FetusMapV2Lib.memory.plan import ExecutorKind, MemoryPlan
from FetusMapV2Lib.memory.unit_builder import build_units
from FetusMapV2Lib.memory.workspace import limit_workspace


class ManagedNetwork:
    """A network under a plan. Weights, names and `state_dict` stay those of the network.

    Args:
        network: takes one (B, C, K, J, I) tensor; its parameters may be trained, frozen or replaced in place.
        plan: of `planner.plan_training` or `plan_inference` for this network.

    Raises:
        UserError: the network cannot be taken apart.
    """

    def __init__(self, network: nn.Module, plan: MemoryPlan) -> None:
        self.network, self.plan = network, plan
        self._execution = Execution(build_units(network)) if plan.executor.runs_units else None
        if self._execution is not None and plan.choices.slab_rows:
            _ = self._execution.top  # complains where it does not fit
        self._host: dict[torch.device, HostMemory] = {}
        if plan.prediction.workspace_bytes and torch.cuda.is_available():
            limit_workspace(plan.prediction.workspace_bytes)  # what the plan's peak has room for
        by_segments = plan.executor is ExecutorKind.SEGMENTS
        self._plain: Callable[[Tensor], Tensor] = segmented(network, plan.partition) if by_segments else network
        if plan.executor is ExecutorKind.VANILLA and plan.choices.channels_last:
            self._plain = partial(channels_innermost, network)

    @uncompiled
    def __call__(self, volume: Tensor) -> Tensor:
        """Volume (B, C, K, J, I) to the network's output; differentiable once."""
        if self._execution is None:
            result: Tensor = self._plain(volume)
            return result
        return self._pass(volume, lambda executor: executor.output(volume.detach()), keep=torch.is_grad_enabled())

    @uncompiled
    def loss(self, volume: Tensor, head_loss: HeadLoss) -> Tensor:
        """The scalar loss of the network's output; head and loss are one operation where the plan says so."""
        if self._execution is None or not self._execution.fuses_head(self.plan.choices):
            return slab_loss(self(volume), head_loss)
        return self._pass(volume, lambda executor: executor.loss(volume.detach(), head_loss), keep=True)

    def layout_on(self, device: torch.device) -> torch.memory_format:
        """Of all tensors on a device; weights that lie so, too, are not rearranged for each convolution."""
        choices = self.plan.choices
        inner = choices.channels_last or (choices.by_rows and device.type == "cuda")
        return torch.channels_last_3d if inner else torch.contiguous_format

    def _pass(self, volume: Tensor, forward: Callable[[Executor], Tensor], keep: bool) -> Tensor:
        assert self._execution is not None
        for check in self._execution.graph.checks:
            check(volume)
        executor = self._executor(volume, keep)
        if not torch.is_grad_enabled():
            with _exactly(volume.device):
                return forward(executor)
        parameters = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        result: Tensor = _Managed.apply(executor, forward, volume, *parameters)
        return result

    def _executor(self, volume: Tensor, keep: bool) -> Executor:
        assert self._execution is not None
        kind = volume.device.type
        autocast = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
        dtype = torch.get_autocast_dtype(kind) if autocast else None
        wants_input = keep and volume.requires_grad
        if volume.device not in self._host:
            self._host[volume.device] = HostMemory(volume.device)
        kernels = kernels_for(volume.device, self.layout_on(volume.device), self._host[volume.device])
        return self._execution.executor(self.plan.choices, kernels, keep=keep, dtype=dtype, wants_input=wants_input)


def channels_innermost(network: nn.Module, volume: Tensor) -> Tensor:
    """A network's output, computed with the channels innermost in memory; its own weights stay as they lie."""
    arranged = {
        name: value.contiguous(memory_format=torch.channels_last_3d) if value.dim() == 5 else value
        for name, value in network.named_parameters()
    }
    result: Tensor = functional_call(network, arranged, (volume.contiguous(memory_format=torch.channels_last_3d),))
    return result


def slab_loss(logits: Tensor, head_loss: HeadLoss) -> Tensor:
    """The loss of logits that are there whole, through the same `HeadLoss`; differentiable once."""
    result: Tensor = _SlabLoss.apply(logits, head_loss)
    return result


class _SlabLoss(torch.autograd.Function):
    """`HeadLoss` on one slab that is the whole grid."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, head_loss: HeadLoss) -> Tensor:
        """Value, and the gradient at once."""
        maps = logits.detach()
        maps = maps if maps.dtype == torch.float64 else maps.float()
        rows = slice(0, maps.shape[2])
        with _exactly(maps.device):
            head_loss.begin(tuple(maps.shape), maps.device, maps.dtype)
            for number in range(head_loss.passes):
                head_loss.accumulate(number, maps, rows)
            value = head_loss.value()
            if logits.requires_grad:
                gradient = head_loss.gradient(maps.clone() if maps.data_ptr() == logits.data_ptr() else maps, rows)
                ctx.save_for_backward(gradient.to(logits.dtype))
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        """Gradient of the logits."""
        (gradient,) = ctx.saved_tensors
        return gradient * upstream, None


def _exactly(device: torch.device) -> AbstractContextManager[Any]:
    """No autocast: the executor chooses its types itself."""
    return torch.autocast(device.type, enabled=False) if torch.amp.is_autocast_available(device.type) else nullcontext()


class _Managed(torch.autograd.Function):
    """One whole pass: autograd sees the volume and the parameters go in and one tensor come out."""

    @staticmethod
    def forward(
        ctx: Any, executor: Executor, forward: Callable[[Executor], Tensor], volume: Tensor, *parameters: Tensor
    ) -> Tensor:
        """Run the executor forward and keep it."""
        with _exactly(volume.device):
            value = forward(executor)
        # autograd then notices if one of them is changed in place before the backward pass
        held = [value] if executor.holds(value) else []
        ctx.save_for_backward(volume, *held, *parameters)
        ctx.executor, ctx.beside = executor, 1 + len(held)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Any, ...]:
        """Run the executor backward; on any error everything it holds is released."""
        executor: Executor | None = ctx.executor
        parameters = ctx.saved_tensors[ctx.beside :]
        ctx.executor = None
        if executor is None:
            raise RuntimeError("a managed network's backward pass overwrites what it needs: it can run once only")
        try:
            with _exactly(upstream.device):
                executor.backward(upstream)
            found = tuple(executor.gradients.get(parameter) for parameter in parameters)
            return (None, None, executor.input_gradient, *found)
        finally:
            executor.clear()
            executor.kernels.release()
