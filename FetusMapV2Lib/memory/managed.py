"""`ManagedNetwork`: a network run by a memory plan, as ordinary autograd.

Parameter gradients are returned to autograd, not written to `.grad`: clipping, accumulation, averaging and
DistributedDataParallel's hooks see them as those of any network.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.memory.executor import Walk
from FetusMapV2Lib.memory.head import HeadLoss
from FetusMapV2Lib.memory.kernels import TorchKernels
from FetusMapV2Lib.memory.paper.segments import segmented
from FetusMapV2Lib.memory.plan import MemoryPlan
from FetusMapV2Lib.memory.streaming import StreamedWalk, Top, split_top
from FetusMapV2Lib.memory.units import UnitGraph, build_units


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
        by_units = plan.executor in ("lean", "streamed")
        self.graph: UnitGraph | None = build_units(network) if by_units else None
        self._plain: nn.Module = segmented(network, plan.partition) if plan.executor == "segments" else network
        streams = self.graph is not None and plan.choices.slab_rows > 0
        self.top: Top | None = split_top(self.graph) if streams and self.graph is not None else None

    @torch.compiler.disable
    def __call__(self, volume: Tensor) -> Tensor:
        """Volume (B, C, K, J, I) to the network's output; differentiable once."""
        if self.graph is None:
            result: Tensor = self._plain(volume)
            return result
        self._check(volume)
        if not torch.is_grad_enabled():
            with _exactly(volume.device):
                return _forward(self._walk(volume, keep=False), volume)
        return _run(self, volume, lambda walk: _forward(walk, volume.detach()))

    @torch.compiler.disable
    def loss(self, volume: Tensor, head_loss: HeadLoss) -> Tensor:
        """The scalar loss of the network's output; head and loss are one operation where the plan says so."""
        if self.graph is None or self.graph.head is None or not self.plan.choices.fused_head:
            return slab_loss(self(volume), head_loss)
        self._check(volume)
        head, _ = self.graph.head

        def forward(walk: Walk | StreamedWalk) -> Tensor:
            if isinstance(walk, StreamedWalk):
                walk.features(volume.detach())
                return walk.value(head_loss)
            walk.forward(volume.detach(), until=head)
            return walk.fused_head(head_loss)

        if not torch.is_grad_enabled():
            with _exactly(volume.device):
                return forward(self._walk(volume, keep=True))
        return _run(self, volume, forward)

    def _check(self, volume: Tensor) -> None:
        assert self.graph is not None
        for check in self.graph.checks:
            check(volume)

    def _walk(self, volume: Tensor, keep: bool) -> Walk | StreamedWalk:
        assert self.graph is not None
        if self.top is not None:
            if volume.requires_grad:
                raise UserError("a streamed plan gives no gradient of the input", remedy="Plan without slab-streaming")
            return StreamedWalk(self.top, self.plan.choices, TorchKernels(), keep=keep)
        kind = volume.device.type
        autocast = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
        dtype = torch.get_autocast_dtype(kind) if autocast else None
        choices = self.plan.choices
        return Walk(
            self.graph, choices, TorchKernels(), keep=keep, dtype=dtype, input_gradient=keep and volume.requires_grad
        )


def _forward(walk: Walk | StreamedWalk, volume: Tensor) -> Tensor:
    """The network's output."""
    if isinstance(walk, Walk):
        return walk.forward(volume)
    walk.features(volume)
    return walk.output()


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
    """No autocast: the walk chooses its types itself."""
    return torch.autocast(device.type, enabled=False) if torch.amp.is_autocast_available(device.type) else nullcontext()


def _run(managed: ManagedNetwork, volume: Tensor, forward: Callable[[Walk | StreamedWalk], Tensor]) -> Tensor:
    walk = managed._walk(volume, keep=True)
    parameters = [parameter for parameter in managed.network.parameters() if parameter.requires_grad]
    result: Tensor = _Managed.apply(walk, forward, volume, *parameters)
    return result


class _Managed(torch.autograd.Function):
    """One whole pass: autograd sees the volume and the parameters go in and one tensor come out."""

    @staticmethod
    def forward(
        ctx: Any,
        walk: Walk | StreamedWalk,
        forward: Callable[[Walk | StreamedWalk], Tensor],
        volume: Tensor,
        *parameters: Tensor,
    ) -> Tensor:
        """Run the walk forward and keep it."""
        with _exactly(volume.device):
            value = forward(walk)
        # autograd then notices if one of them is changed in place before the backward pass
        held = [value] if isinstance(walk, Walk) and walk.holds(value) else []
        ctx.save_for_backward(volume, *held, *parameters)
        ctx.walk, ctx.beside = walk, 1 + len(held)
        ctx.scalar = value.dim() == 0
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Any, ...]:
        """Run the walk backward; on any error everything it holds is released."""
        walk: Walk | StreamedWalk | None = ctx.walk
        parameters = ctx.saved_tensors[ctx.beside :]
        ctx.walk = None
        if walk is None:
            raise RuntimeError("a managed network's backward pass overwrites what it needs: it can run once only")
        try:
            with _exactly(upstream.device):
                if ctx.scalar:
                    walk.scale_gradients(upstream)
                    walk.backward(None)
                else:
                    walk.backward(upstream)
            found = tuple(walk.gradients.get(parameter) for parameter in parameters)
            dz = walk.states[walk.graph.input].dz if isinstance(walk, Walk) and walk.input_gradient else None
            return (None, None, dz, *found)
        finally:
            walk.clear()
