"""Peak memory of anything that torch runs: on the CPU, on fake tensors of any size, and by the CUDA allocator."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from FetusMapV2Lib.memory.compiler import flop_formulas, load_compiler
from FetusMapV2Lib.memory.operations import Operation

_ROUND = 512  # the CUDA allocator hands out multiples of this


class PeakMeter(TorchDispatchMode):
    """Counts live tensor storages, each once, as `torch.cuda.max_memory_allocated` does, and floating-point work.

    Works on tensors with data and on fake or meta tensors alike. What an operation allocates and frees inside itself
    (a convolution's workspace) is not seen: leave 10-25 % of headroom on a GPU for it. Work is that of convolutions and
    matrix products.

    Args:
        device_type: count only storages on such devices ("cuda", "cpu", "meta"); None = all.
        timeline: keep (operation, live bytes) after every operation.
        workspace: bytes that a convolution allocates for a moment.
    """

    def __init__(
        self,
        device_type: str | None = None,
        timeline: bool = False,
        workspace: Callable[[Operation], int] | None = None,
    ) -> None:
        super().__init__()
        self.device_type, self.workspace = device_type, workspace
        self.current = self.peak = self.flops = 0
        self.timeline: list[tuple[str, int]] | None = [] if timeline else None
        self._live: dict[int, int] = {}

    def count(self, *values: Any) -> None:
        """Count tensors that were there before: parameters, optimiser state, an input."""
        for value in tree_leaves(list(values)):
            if isinstance(value, Tensor):
                self._add(value)
        self._note("counted")

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run the operation and look at what it gave."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                self._add(value)
        name = func._overloadpacket.__name__ if hasattr(func, "_overloadpacket") else str(func)
        self.flops += operation_flops(func, args, kwargs, result)
        if self.workspace is not None:
            took = max(map(self.workspace, _convolutions(func, args, result)), default=0)
            self.peak = max(self.peak, self.current + took)
        self._note(name)
        return result

    def _add(self, tensor: Tensor) -> None:
        if self.device_type is not None and tensor.device.type != self.device_type:
            return
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._live or not size:
            return
        size = allocated_bytes(size)
        self._live[key] = size
        self.current += size
        weakref.finalize(storage, self._free, key)

    def _free(self, key: int) -> None:
        self.current -= self._live.pop(key, 0)

    def _note(self, name: str) -> None:
        if self.current > self.peak:
            self.peak = self.current
        if self.timeline is not None:
            self.timeline.append((name, self.current))


def _convolutions(func: Any, args: Sequence[Any], result: Any) -> Iterator[Operation]:
    """A call of a convolution or its backward pass as operations of the executors, one after the other."""
    if func is torch.ops.aten.convolution.default:
        z, weight, steps = result, args[1], (*args[3], *args[5])
        yield Operation("conv", tuple(z.shape), z.dtype, 0, 0, tuple(weight.shape), steps)
    if func is torch.ops.aten.convolution_backward.default:
        dz, weight, steps = args[0], args[2], (*args[4], *args[6])
        for kind, wanted in zip(("input_gradient", "weight_gradient"), args[10], strict=False):
            if wanted:
                yield Operation(kind, tuple(dz.shape), dz.dtype, 0, 0, tuple(weight.shape), steps)


def operation_flops(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> int:
    """Floating-point operations of a call by the formulas of `torch.utils.flop_counter`; 0 for what has none.

    `FlopCounterMode` itself is a dispatch mode of its own that attributes operations to modules; the meter needs the
    number for each operation beside its memory.
    """
    formula = flop_formulas().get(getattr(func, "_overloadpacket", None))
    return 0 if formula is None else int(formula(*args, **kwargs, out_val=result))


def allocated_bytes(size: int) -> int:
    """What the CUDA allocator counts for a storage of some bytes."""
    return -(-size // _ROUND) * _ROUND


@dataclass(frozen=True)
class Measured:
    """What a step took.

    Attributes:
        peak_bytes: of live tensors.
        flops: of convolutions and matrix products; 0 where the CUDA allocator measured.
        timeline: (operation, live bytes), if asked for.
    """

    peak_bytes: int
    flops: int
    timeline: tuple[tuple[str, int], ...] = field(default=())


def on_meta(network: torch.nn.Module) -> torch.nn.Module:
    """A network's twin without data, for measuring at any size; the weights are not copied."""
    load_compiler()  # computing without data does so
    twins: dict[int, Any] = {
        id(p): torch.nn.Parameter(p.detach().to("meta"), p.requires_grad) for p in network.parameters()
    }
    twins.update({id(buffer): buffer.to("meta") for buffer in network.buffers()})
    return copy.deepcopy(network, twins)
