"""Reversible blocks: which Conv-BN-ReLU passes may become one, and how they run without keeping their input.

Steps 2 and 3 of the paper's memory management (section 3.1, equation 1).
"""

from __future__ import annotations

import copy
import itertools
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.autograd.function import once_differentiable
from torch.func import functional_call
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.memory.compiler import uncompiled

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_RELUS = (F.relu, F.relu_, torch.relu, torch.relu_)
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
    sums cannot be inverted (`inverse_drift`). Under autocast the output is therefore float32.

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
        with _statistics_frozen(self):
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
        modes = _Modes.of(self)
        versions = [(tensor, tensor._version) for tensor in (*self.parameters(), *_fixed_statistics(self))]

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
        ctx.modes, ctx.autocast = _Modes.of(block), _autocast_now(x.device.type)
        position = {id(parameter): n for n, parameter in enumerate(parameters)}
        ctx.steps = []
        y = x.to(_sum_dtype(x), copy=True)
        halves = y.chunk(2, dim=1)
        with ctx.autocast():
            for step in block.steps():
                used = {name: position[id(parameter)] for name, parameter in step.branch.named_parameters()}
                ctx.steps.append((step, used, _random_state(x.device)))
                halves[step.target].add_(step.branch(halves[step.source]))
        ctx.parameter_count, ctx.input_dtype = len(parameters), x.dtype
        ctx.save_for_backward(y, *parameters, *_fixed_statistics(block))
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
            for step, used, random_state in reversed(ctx.steps):
                arguments = {name: parameters[n] for name, n in used.items()}
                with _random_state_replayed(random_state, y.device):
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
    if x.dtype in _LOW_PRECISION and not _autocast_enabled(x.device.type):
        raise UserError(
            f"a reversible block cannot be inverted in {str(x.dtype).removeprefix('torch.')}",
            remedy="Keep the network in float32 and use autocast; the coupling is then summed in float32",
        )


def _sum_dtype(x: Tensor) -> torch.dtype:
    return torch.float32 if x.dtype in _LOW_PRECISION else x.dtype


def _half_width(conv: nn.Module, norm: nn.Module) -> nn.Sequential:
    """Conv-BN-ReLU as the given one, with half the channels."""
    assert isinstance(conv, _CONVOLUTIONS) and isinstance(norm, _NORMS)
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


# ---- what a recomputation must find as the forward pass found it ----


@dataclass(frozen=True)
class _Modes:
    """Training or evaluation, module by module."""

    modules: tuple[tuple[nn.Module, bool], ...]

    @classmethod
    def of(cls, module: nn.Module) -> _Modes:
        """As they are now."""
        return cls(tuple((part, part.training) for part in module.modules()))

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """Modes as they were then; running statistics, which have been updated already, frozen."""
        now = _Modes(tuple((part, part.training) for part, _ in self.modules))
        try:
            self._set()
            with _statistics_frozen(*(part for part, _ in self.modules)):
                yield
        finally:
            now._set()

    def _set(self) -> None:
        for part, training in self.modules:
            part.training = training


@contextmanager
def _statistics_frozen(*modules: nn.Module) -> Iterator[None]:
    """Modules work on copies of their buffers, so that no running statistic is updated."""
    parts = {part for module in modules for part in module.modules()}
    originals = [(part, name, buffer) for part in parts for name, buffer in part.named_buffers(recurse=False)]
    try:
        for part, name, buffer in originals:
            setattr(part, name, buffer.clone())
        yield
    finally:
        for part, name, buffer in originals:
            setattr(part, name, buffer)


def _fixed_statistics(module: nn.Module) -> list[Tensor]:
    """Buffers that the result depends on; saved, so that autograd refuses a backward pass with changed ones."""
    return [buffer for part in module.modules() if not part.training for buffer in part.buffers(recurse=False)]


def _autocast_enabled(device_type: str) -> bool:
    return torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type)


def _autocast_now(device_type: str) -> Callable[[], AbstractContextManager[Any]]:
    """The autocast state as it is now, to be entered now and again later.

    Without the cache of cast weights: one made without gradients must not serve a layer that needs them.
    """
    if not torch.amp.is_autocast_available(device_type):
        return nullcontext
    enabled, dtype = torch.is_autocast_enabled(device_type), torch.get_autocast_dtype(device_type)
    return lambda: torch.autocast(device_type, dtype=dtype, enabled=enabled, cache_enabled=False)


def _random_state(device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Of the CPU and of the device, for dropout."""
    generator = _generator(device)
    return torch.get_rng_state(), None if generator is None else generator.get_state()


def _set_random_state(state: tuple[Tensor, Tensor | None], device: torch.device) -> None:
    torch.set_rng_state(state[0])
    generator = _generator(device)
    if generator is not None and state[1] is not None:
        generator.set_state(state[1])


@contextmanager
def _random_state_replayed(state: tuple[Tensor, Tensor | None], device: torch.device) -> Iterator[None]:
    now = _random_state(device)
    try:
        _set_random_state(state, device)
        yield
    finally:
        _set_random_state(now, device)


def _generator(device: torch.device) -> torch.Generator | None:
    """The device's own; None for a CPU and for a device that is only pretended."""
    if device.type == "cuda" and torch.cuda.is_initialized():
        return torch.cuda.default_generators[torch.cuda.current_device() if device.index is None else device.index]
    if device.type == "mps" and torch.backends.mps.is_available():
        return torch.mps._get_default_mps_generator()
    return None


# ---- finding passes and converting them ----


def find_passes(module: nn.Module) -> list[str]:
    """Paths of the Conv-BN-ReLU passes that may become reversible (step 2 of the paper's framework).

    Such a pass is a submodule that does Conv, BatchNorm, ReLU and nothing else, with as many channels in as out, an
    even number, and the same size in as out.
    """
    return [path for path, (conv, _) in _all_passes(module).items() if _keeps_shape(conv)]


def passes_of(module: nn.Module) -> list[str]:
    """Paths of all submodules that are Conv-BN-ReLU and no more, whether or not they may become reversible."""
    return list(_all_passes(module))


def convert(
    network: nn.Module,
    paths: Collection[str],
    *,
    couplings: int = 1,
    depth: int = 2,
    managed: bool = True,
    recompute_before: bool = False,
) -> nn.Module:
    """A copy of a network with some passes replaced by reversible blocks (step 3), their weights new.

    In the `state_dict` of the copy ``<path>.conv.weight`` and its like are replaced by
    ``<path>.f.<coupling>.<layer>.conv.weight``, ``....norm.weight``, ``....norm.bias`` and the same under ``g``; all
    other names and values stay.

    Args:
        network: any; it is not changed.
        paths: some of those that `find_passes` names.
        couplings: per block, see `ReversibleBlock.like`.
        depth: Conv-BN-ReLU in each branch of a coupling.
        managed: of the new blocks (and of `Recomputed`).
        recompute_before: make a Conv-BN-ReLU whose output a block reads `Recomputed`, so that the output goes.

    Raises:
        UserError: a path that may not become reversible; or `recompute_before` on a network that cannot be traced.
    """
    passes = _all_passes(network)
    for path in paths:
        if path not in passes or not _keeps_shape(passes[path][0]):
            raise UserError(
                "this is no Conv-BN-ReLU pass that can become reversible",
                where=path,
                remedy="It needs an even number of channels, as many in as out, and the same size in as out",
            )
    converted = copy.deepcopy(network)
    if recompute_before:
        for path in _passes_before(converted, paths, passes):
            converted = _replaced(converted, path, Recomputed(converted.get_submodule(path), managed=managed))
    for path in paths:
        block = ReversibleBlock.like(*passes[path], couplings=couplings, depth=depth, managed=managed)
        converted = _replaced(converted, path, block.train(network.get_submodule(path).training))
    return converted


def _replaced(network: nn.Module, path: str, new: nn.Module) -> nn.Module:
    """The network with the module at this path, and wherever else it sits, replaced."""
    old = network.get_submodule(path)
    if old is network:
        return new
    places = [place for place, part in network.named_modules(remove_duplicate=False) if part is old]
    for place in places:
        parent, _, name = place.rpartition(".")
        setattr(network.get_submodule(parent), name, new)
    return network


def _all_passes(network: nn.Module) -> dict[str, tuple[nn.Module, nn.Module]]:
    """Convolution and norm of every submodule that is Conv-BN-ReLU and no more, but for those converted already."""
    taken = [path for path, module in network.named_modules() if isinstance(module, LEAF_MODULES)]
    free = {
        path: module
        for path, module in network.named_modules()
        if not any(path == other or path.startswith(f"{other}.") or not other for other in taken)
    }
    found = {path: parts for path, module in free.items() if (parts := _as_pass(module)) is not None}
    wrappers = {path.rpartition(".")[0] for path in found if path}  # a module around nothing but a pass
    return {path: parts for path, parts in found.items() if path not in wrappers}


def _as_pass(module: nn.Module) -> tuple[nn.Module, nn.Module] | None:
    """Convolution and norm of a Conv-BN-ReLU; None for anything else, a residual around the three included."""
    if not 2 <= sum(1 for _ in module.modules()) - 1 <= 4:
        return None
    try:
        traced = fx.symbolic_trace(module)
    except Exception:  # whatever a foreign module raises, it is not a plain chain
        return None
    nodes = list(traced.graph.nodes)
    in_line = all(list(after.all_input_nodes) == [before] for before, after in itertools.pairwise(nodes))
    if len(nodes) != 5 or nodes[0].op != "placeholder" or not in_line:
        return None
    parts = dict(traced.named_modules())
    conv, norm, act = (parts.get(str(node.target)) if node.op == "call_module" else None for node in nodes[1:4])
    is_relu = type(act) is nn.ReLU or nodes[3].target in _RELUS or nodes[3].target in ("relu", "relu_")
    if type(conv) in _CONVOLUTIONS and type(norm) in _NORMS and is_relu:
        # the traced copy shares its parts with the module
        return conv, norm  # type: ignore[return-value]
    return None


def _keeps_shape(conv: nn.Module) -> bool:
    assert isinstance(conv, _CONVOLUTIONS)
    even = conv.in_channels == conv.out_channels and conv.out_channels % 2 == 0
    if not even or conv.groups != 1 or any(stride != 1 for stride in conv.stride):
        return False
    if isinstance(conv.padding, str):
        return conv.padding == "same"
    sides = zip(conv.padding, conv.dilation, conv.kernel_size, strict=True)
    return all(2 * padding == dilation * (kernel - 1) for padding, dilation, kernel in sides)


class _PassTracer(fx.Tracer):
    """Keeps passes and reversible blocks whole."""

    def __init__(self, passes: Collection[str]) -> None:
        super().__init__()
        self.passes = passes

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        whole = module_qualified_name in self.passes or isinstance(m, LEAF_MODULES)
        return whole or super().is_leaf_module(m, module_qualified_name)


def _passes_before(network: nn.Module, paths: Collection[str], passes: Collection[str]) -> list[str]:
    """Passes whose output one of `paths` reads and that are not among these themselves."""
    try:
        graph = _PassTracer(passes).trace(network)
    except Exception as error:
        raise UserError(
            f"the network cannot be traced ({error})", remedy="Do without recomputing what is before reversible blocks"
        ) from error
    sources = [str(n.all_input_nodes[0].target) for n in graph.nodes if n.op == "call_module" and n.target in paths]
    return sorted({source for source in sources if source in passes and source not in paths})
