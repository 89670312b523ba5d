"""One run of a network's graph without data: what each node allocates, computes and keeps for its backward pass."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.memory.meter import allocated_bytes, operation_flops
from FetusMapV2Lib.memory.tracing import first_line


@dataclass(frozen=True)
class NodeCost:
    """What a node costs at one input size.

    Attributes:
        shape: of the tensor it gives; () where it gives none or several.
        out_dtype: its element type; None where it gives no tensor or several.
        storage: name of the node that made the memory behind the output; its own name unless it is a view or works
            in place.
        bytes: memory that the node allocates for its output, as the CUDA allocator rounds it; 0 for a view or in place.
        flops: of convolutions and matrix products, forward.
        backward_flops: the same in its backward pass, as far as gradients are wanted.
        moved_bytes: read and written, forward, weights aside; 0 for a view.
        kept: nodes whose memory its backward pass needs (named by who made it: see `storage`).
        private_bytes: what its backward pass needs beside: indices, statistics, masks.
        kept_bytes: all that its backward pass needs; what several nodes keep is in each one's figure, see
            `SizedGraph.kept_bytes`.
    """

    shape: tuple[int, ...]
    out_dtype: torch.dtype | None
    storage: str
    bytes: int
    flops: int
    backward_flops: int
    moved_bytes: int
    kept: frozenset[str]
    private_bytes: int
    kept_bytes: int


@dataclass(frozen=True)
class Facts:
    """What a run found: `layout` is the same for all sizes of one formula, `numbers` are not.

    Per node, `layout` is (name, axes of the output, element type, storage, storages kept, number of private tensors),
    `numbers` are its axes, bytes, FLOPs forward and backward, moved bytes, and the bytes of each private tensor.
    """

    layout: tuple[tuple[str, int, torch.dtype | None, str, frozenset[str], int], ...]
    numbers: np.ndarray

    def same(self, other: Facts) -> bool:
        """Equal in everything."""
        return self.layout == other.layout and np.array_equal(self.numbers, other.numbers)

    def rows(self) -> Iterator[tuple[tuple[str, int, torch.dtype | None, str, frozenset[str], int], list[int]]]:
        """Layout and numbers of one node after the other."""
        numbers, start = self.numbers.tolist(), 0
        for row in self.layout:
            end = start + row[1] + 4 + row[5]
            yield row, numbers[start:end]
            start = end

    def costs(self) -> dict[str, NodeCost]:
        """Per node; only here are bytes rounded, so that they are affine before."""
        costs: dict[str, NodeCost] = {}
        made: dict[str, int] = {}
        for (name, axes, dtype, storage, kept, _), numbers in self.rows():
            size, flops, backward, moved = numbers[axes : axes + 4]
            private = sum(map(allocated_bytes, numbers[axes + 4 :]))
            made[name] = allocated_bytes(size)
            kept_bytes = private + sum(made[keeper] for keeper in kept)
            shape = tuple(numbers[:axes])
            costs[name] = NodeCost(shape, dtype, storage, made[name], flops, backward, moved, kept, private, kept_bytes)
        return costs


class Propagation(fx.Interpreter):
    """Runs a data-less twin node by node and notes what each allocates, computes and keeps."""

    def __init__(self, twin: fx.GraphModule) -> None:
        super().__init__(twin, garbage_collect_values=False)
        self.owners: dict[int, str] = {}
        self.held: list[Any] = []  # storages must not die: their addresses name them
        standing = itertools.chain(twin.parameters(), twin.buffers())
        self.weights = {tensor.untyped_storage()._cdata for tensor in standing}
        self.layout: list[tuple[str, int, torch.dtype | None, str, frozenset[str], int]] = []
        self.numbers: list[int] = []
        self.saved: dict[int, Tensor] = {}

    def facts(self, example: Tensor) -> Facts:
        """Run it."""
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(self._pack, _same):
            self.run(example)
        return Facts(tuple(self.layout), np.array(self.numbers, dtype=np.int64))

    def run_node(self, n: fx.Node) -> Any:
        """Run one node and note its facts."""
        if n.op == "output":
            return super().run_node(n)
        self.saved = {}
        read = self._tensors([self.env[part] for part in n.all_input_nodes])
        versions = [tensor._version for tensor in read]
        counter = _Counter()
        try:
            with counter:
                result = super().run_node(n)
        except UserError:
            raise
        except Exception as error:
            raise UserError(f"the network does not take this input at {n.name!r} ({first_line(error)})") from error
        in_place = any(tensor._version != version for tensor, version in zip(read, versions, strict=True))
        self._note(n.name, result, read, in_place, counter)
        return result

    def _note(self, name: str, result: Any, read: list[Tensor], in_place: bool, counter: _Counter) -> None:
        outputs = self._tensors(result)
        fresh = 0
        for tensor in outputs:
            storage = tensor.untyped_storage()
            if storage._cdata not in self.owners and storage._cdata not in self.weights:
                self.owners[storage._cdata] = name
                fresh += storage.nbytes()
                self.held.append(storage)
        single = outputs[0] if isinstance(result, Tensor) else None
        shape = tuple(single.shape) if single is not None else ()
        owner = self.owners.get(single.untyped_storage()._cdata, name) if single is not None else name
        moves = bool(fresh or in_place)
        moved = sum(map(_element_bytes, itertools.chain(read, outputs))) if moves else 0
        kept = frozenset(self.owners[key] for key in self.saved if key in self.owners)
        private = [t.untyped_storage().nbytes() for key, t in self.saved.items() if key not in self.owners]
        self.layout.append((name, len(shape), single.dtype if single is not None else None, owner, kept, len(private)))
        self.numbers += [*shape, fresh, counter.flops, counter.backward_flops, moved, *private]

    def _tensors(self, values: Any) -> list[Tensor]:
        return [value for value in tree_leaves(values) if isinstance(value, Tensor)]

    def _pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self.weights:
            self.saved[storage._cdata] = tensor
            self.held.append(storage)
        return tensor


class _Counter(TorchDispatchMode):
    """FLOPs of what runs inside, and of its backward pass: once more for each factor that wants a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = self.backward_flops = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run and count."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        flops = operation_flops(func, args, kwargs, result)
        if flops:
            factors = [arg for arg in args if isinstance(arg, Tensor) and arg.dim() > 1][-2:]
            self.flops += flops
            self.backward_flops += flops * sum(factor.requires_grad for factor in factors)
        return result


def _element_bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _same(tensor: Tensor) -> Tensor:
    return tensor
