"""Reversible blocks: couplings of half-width Conv-BN-ReLU that run without keeping their input.

The paper's section 3.1, equation 1.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.memory.compiler import uncompiled
from FetusMapV2Lib.memory.paper.forward_state import (
    Modes,
    autocast_enabled,
    autocast_now,
    fixed_statistics,
)
from FetusMapV2Lib.memory.replay import random_state, random_state_replayed, statistics_frozen

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_LOW_PRECISION = (torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class _Step:
    """One coupling: half number `target` grows by `branch` of the other half."""

    branch: nn.Module
    target: int

    @property
    def source(self) -> int:
        return 1 - self.target


class ReversibleBlock(nn.Module):
    """Additive coupling of the two halves of the channels, y1 = x1 + F(x2) and y2 = x2 + G(y1), once or more.

    Managed, it keeps its output alone and computes input and activations from it in the backward pass; unmanaged, it
    is the same network as plain autograd. Its parameters are named ``f.<coupling>...`` and ``g.<coupling>...``.

    The input's memory is never taken away by force. A ReLU before the block needs its own output for its mask, and an
    input recomputed by the inverse is off by rounding, enough to turn zeros of that mask into ones. The memory goes
    when its maker does not hold it either: see `Recomputed`.

    The coupling is summed in float32 at least, whatever autocast makes the branches compute in, because bfloat16
    sums cannot be inverted. Under autocast the output is therefore float32.

    Args:
        f, g: the branches, one of each per coupling; they keep the shape and do not change their input in place.
        managed: do without stored activations.
    """

    def __init__(self, f: Iterable[nn.Module], g: Iterable[nn.Module], *, managed: bool = True) -> None:
        super().__init__()
        self.f, self.g = nn.ModuleList(f), nn.ModuleList(g)
        if len(self.f) != len(self.g) or not len(self.f):
            raise ValueError("a reversible block has as many branches F as G, at least one")
        self.managed = managed

    @classmethod
    def like(
        cls, conv: nn.Module, norm: nn.Module, *, couplings: int = 1, depth: int = 2, managed: bool = True
    ) -> ReversibleBlock:
        """A block in the place of Conv-BN-ReLU with this convolution and norm, its weights new (Kaiming).

        Args:
            conv: as many channels in as out, an even number.
            norm: the batch norm behind it.
            couplings: in a row.
            depth: Conv-BN-ReLU of half the width in each branch. ``couplings * depth == 2`` keeps the number of
                weights: four kernels of half the width are as many as one of the whole.
            managed: do without stored activations.
        """

        def branches() -> list[nn.Module]:
            return [nn.Sequential(*(_half_width(conv, norm) for _ in range(depth))) for _ in range(couplings)]

        return cls(branches(), branches(), managed=managed)

    def steps(self) -> list[_Step]:
        """What the forward pass does, in order."""
        return [step for f, g in zip(self.f, self.g, strict=True) for step in (_Step(f, 0), _Step(g, 1))]

    @uncompiled
    def forward(self, x: Tensor) -> Tensor:
        """(B, C, ...) to the same shape, C even; float32 where x is of lower precision.

        Raises:
            UserError: an odd number of channels, or low precision without autocast.
        """
        _check_input(x)
        parameters = list(self.parameters())
        trained = torch.is_grad_enabled() and (x.requires_grad or any(p.requires_grad for p in parameters))
        if self.managed and trained:
            result: Tensor = _Managed.apply(self, x, *parameters)
            return result
        halves = list(x.to(_sum_dtype(x)).chunk(2, dim=1))
        for step in self.steps():
            halves[step.target] = halves[step.target] + step.branch(halves[step.source])
        return torch.cat(halves, dim=1)

    @torch.no_grad()
    def inverse(self, y: Tensor) -> Tensor:
        """The input that gave the output y (B, C, ...), up to rounding; running statistics stay as they are."""
        halves = list(y.chunk(2, dim=1))
        with statistics_frozen(self):
            for step in reversed(self.steps()):
                halves[step.target] = halves[step.target] - step.branch(halves[step.source])
        return torch.cat(halves, dim=1)

    def extra_repr(self) -> str:
        """For `print`."""
        return f"managed={self.managed}"


class Recomputed(nn.Module):
    """A module whose activations are dropped and computed again in the backward pass (non-reentrant checkpoint).

    Put before a reversible block it lets the block's input be freed: nothing holds it after the forward pass, and the
    mask of its ReLU comes from its own convolution again, not from an inverse. Names in the `state_dict` are the
    module's.

    Args:
        module: its parameters all lie in its children.
        managed: False = run the module as it is.
    """

    def __init__(self, module: nn.Module, *, managed: bool = True) -> None:
        super().__init__()
        for name, child in module.named_children():
            self.add_module(name, child)
        self.__dict__["_whole"] = module  # not as a child: the names stay
        self.managed = managed

    @uncompiled
    def forward(self, x: Tensor) -> Tensor:
        """What the module gives."""
        if not (self.managed and torch.is_grad_enabled()):
            result: Tensor = self.__dict__["_whole"](x)
            return result
        modes = Modes.of(self)
        versions = [(tensor, tensor._version) for tensor in (*self.parameters(), *fixed_statistics(self))]

        @contextmanager
        def again() -> Iterator[None]:
            if any(tensor._version != version for tensor, version in versions):
                raise RuntimeError("a recomputed module's weights were modified by an inplace operation since it ran")
            with modes.replayed():
                yield

        def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return nullcontext(), again()

        output: Tensor = checkpoint(self.__dict__["_whole"], x, use_reentrant=False, context_fn=contexts)
        return output


#: Modules that a graph tracer must keep whole.
LEAF_MODULES: tuple[type[nn.Module], ...] = (ReversibleBlock, Recomputed)


class _Managed(torch.autograd.Function):
    """The couplings forward, and backward from the output alone.

    Parameter gradients are returned to autograd, so that hooks on the parameters (DistributedDataParallel's) see them
    once. The parameters are saved, so that autograd refuses a backward pass with changed ones.
    """

    @staticmethod
    def forward(ctx: Any, block: ReversibleBlock, x: Tensor, *parameters: Tensor) -> Tensor:
        """Couple in place on a copy of x."""
        ctx.modes, ctx.autocast = Modes.of(block), autocast_now(x.device.type)
        position = {id(parameter): n for n, parameter in enumerate(parameters)}
        ctx.steps = []
        y = x.to(_sum_dtype(x), copy=True)
        halves = y.chunk(2, dim=1)
        with ctx.autocast():
            for step in block.steps():
                used = {name: position[id(parameter)] for name, parameter in step.branch.named_parameters()}
                ctx.steps.append((step, used, random_state(x.device)))
                halves[step.target].add_(step.branch(halves[step.source]))
        ctx.parameter_count, ctx.input_dtype = len(parameters), x.dtype
        ctx.save_for_backward(y, *parameters, *fixed_statistics(block))
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Any, ...]:
        """Undo each coupling and pull the gradient through it."""
        y, *saved = ctx.saved_tensors
        trained = ctx.needs_input_grad[2:]
        parameters = [
            parameter.detach().requires_grad_(needed)
            for parameter, needed in zip(saved[: ctx.parameter_count], trained, strict=True)
        ]
        totals: list[Tensor | None] = [None] * len(parameters)
        halves = list(y.chunk(2, dim=1))
        gradients = list(upstream.chunk(2, dim=1))  # never changed in place: others may read it
        with ctx.modes.replayed(), ctx.autocast():
            for step, used, random_numbers in reversed(ctx.steps):
                arguments = {name: parameters[n] for name, n in used.items()}
                with random_state_replayed(random_numbers, y.device):
                    value, pulled = _pull_back(step.branch, arguments, halves[step.source], gradients[step.target])
                halves[step.target] = halves[step.target] - value
                del value
                gradients[step.source] = gradients[step.source] + pulled[0]
                for name, found in zip(arguments, pulled[1:], strict=True):
                    _accumulate(totals, used[name], found)
        gradient = torch.cat(gradients, dim=1).to(ctx.input_dtype) if ctx.needs_input_grad[1] else None
        return (None, gradient, *totals)


def _pull_back(
    branch: nn.Module, parameters: dict[str, Tensor], source: Tensor, upstream: Tensor
) -> tuple[Tensor, list[Tensor | None]]:
    """A branch's value, and the gradients of its input and of each of its parameters."""
    with torch.enable_grad():
        start = source.detach().requires_grad_()
        value = functional_call(branch, parameters, (start,))
    wanted = [start, *(parameter for parameter in parameters.values() if parameter.requires_grad)]
    found = iter(torch.autograd.grad(value, wanted, upstream.to(value.dtype), allow_unused=True))
    inputs = [start, *parameters.values()]
    return value.detach(), [next(found) if tensor.requires_grad else None for tensor in inputs]


def _accumulate(totals: list[Tensor | None], n: int, found: Tensor | None) -> None:
    if found is not None:
        known = totals[n]
        totals[n] = found if known is None else known + found


def _check_input(x: Tensor) -> None:
    if x.dim() < 2 or x.shape[1] % 2:
        raise UserError(f"a reversible block needs an even number of channels, not a tensor of {tuple(x.shape)}")
    if x.dtype in _LOW_PRECISION and not autocast_enabled(x.device.type):
        raise UserError(
            f"a reversible block cannot be inverted in {str(x.dtype).removeprefix('torch.')}",
            remedy="Keep the network in float32 and use autocast; the coupling is then summed in float32",
        )


def _sum_dtype(x: Tensor) -> torch.dtype:
    return torch.float32 if x.dtype in _LOW_PRECISION else x.dtype


def _half_width(conv: nn.Module, norm: nn.Module) -> nn.Sequential:
    """Conv-BN-ReLU as the given one, with half the channels."""
    assert isinstance(conv, CONVOLUTIONS) and isinstance(norm, NORMS)
    half = conv.out_channels // 2
    place: dict[str, Any] = {"device": conv.weight.device, "dtype": conv.weight.dtype}
    new_conv = type(conv)(
        half,
        half,
        conv.kernel_size,  # type: ignore[arg-type]
        padding=conv.padding,  # type: ignore[arg-type]
        dilation=conv.dilation,  # type: ignore[arg-type]
        bias=conv.bias is not None,
        padding_mode=conv.padding_mode,
        **place,
    )
    if not new_conv.weight.is_meta:
        nn.init.kaiming_normal_(new_conv.weight, nonlinearity="relu")
    new_norm = type(norm)(half, norm.eps, norm.momentum, norm.affine, norm.track_running_stats, **place)
    parts = OrderedDict(conv=new_conv, norm=new_norm, act=nn.ReLU(inplace=True))
    return nn.Sequential(parts)  # type: ignore[arg-type]
