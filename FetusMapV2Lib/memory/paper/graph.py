"""A network as a graph of operations: what each gives, costs and keeps for its backward pass, at any input size."""

from __future__ import annotations

import contextlib
import inspect
import itertools
import linecache
import math
import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.memory.meter import allocated_bytes, on_meta, operation_flops
from FetusMapV2Lib.memory.paper.reversible import LEAF_MODULES

#: Sizes per axis that are tried where no example input is given.
_PROBE_SIZES = (64, 96, 32, 128, 240, 224)
#: Networks that shrink their input further than this are propagated separately at every size.
_LARGEST_PERIOD = 1024
#: Sizes that are kept once they were asked for.
_REMEMBERED = 256


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
        name: unique in the graph.
        op: "placeholder", "call_module", "call_function", "call_method" or "get_attr".
        target: path of the module or attribute, the function, or the method's name.
        inputs: names of the nodes it reads.
        module: of a "call_module".
        parameter_bytes: of the module.
    """

    name: str
    op: str
    target: Any
    inputs: tuple[str, ...]
    module: nn.Module | None
    parameter_bytes: int


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
class SizedGraph:
    """A graph's costs at one input size.

    Attributes:
        input_size: (k, j, i), or as many axes as the network has.
        batch: samples.
        costs: per node name, in the order of execution.
    """

    input_size: tuple[int, ...]
    batch: int
    costs: Mapping[str, NodeCost]

    def kept_bytes(self, names: Iterable[str] | None = None) -> int:
        """Memory that the backward passes of nodes (None: of all) need together; shared tensors count once."""
        chosen = [self.costs[name] for name in (self.costs if names is None else names)]
        shared = frozenset[str]().union(*(cost.kept for cost in chosen))
        return sum(self.costs[name].bytes for name in shared) + sum(cost.private_bytes for cost in chosen)

    @property
    def flops(self) -> int:
        """Of one forward pass."""
        return sum(cost.flops for cost in self.costs.values())

    @property
    def backward_flops(self) -> int:
        """Of one backward pass."""
        return sum(cost.backward_flops for cost in self.costs.values())


class Graph:
    """A traced network.

    Attributes:
        fx: the traced module; its parameters are those of the network.
        nodes: in the order of execution, without the output.
        outputs: names of the nodes whose values the network gives.
        axes: spatial axes of the input.
        in_channels: of the input.
    """

    def __init__(self, traced: fx.GraphModule, in_channels: int, axes: int) -> None:
        self.fx = traced
        self.in_channels = in_channels
        self.axes = axes
        modules = dict(traced.named_modules())
        self.nodes = tuple(_node(node, modules) for node in traced.graph.nodes if node.op != "output")
        last = next(iter(reversed(traced.graph.nodes)))
        self.outputs = tuple(part.name for part in last.all_input_nodes)
        self.period = 1
        self._twins: dict[torch.dtype, nn.Module] = {}
        self._formulas: dict[Any, _Formula | None] = {}
        self._known: dict[Any, SizedGraph] = {}

    def at(self, input_size: Sequence[int], batch: int = 1, dtype: torch.dtype = torch.float32) -> SizedGraph:
        """Costs at an input size.

        Within a residue class of sizes (modulo `period`, the network's total stride) every tensor's axes are affine in
        the input's; bytes and FLOPs are then multi-affine, so 2^axes sizes settle them for all. The formula is checked
        at two more sizes; where it does not hold (attention, adaptive pooling) or does not reach (below two
        periods), the size is propagated by itself.

        Args:
            input_size: (k, j, i), or as many axes as the network has.
            batch: samples.
            dtype: of input and weights.

        Raises:
            UserError: the network does not take this size.
        """
        size = tuple(int(n) for n in input_size)
        if len(size) != self.axes or min(size) < 1 or batch < 1:
            raise UserError(f"input size {_shown(size)} with batch {batch} does not fit a network of {self.axes} axes")
        key = (size, batch, dtype)
        if key not in self._known:
            if len(self._known) >= _REMEMBERED:
                self._known.pop(next(iter(self._known)))
            formula = self._formula(size, batch, dtype)
            if formula is not None and formula.reaches(size):
                facts = formula.at(size)
            else:
                facts = self.propagate(size, batch, dtype)
            self._known[key] = SizedGraph(size, batch, facts.costs())
        return self._known[key]

    def propagate(self, size: Sequence[int], batch: int, dtype: torch.dtype) -> _Facts:
        """Run the graph without data at one size.

        Raises:
            UserError: the network does not take this size.
        """
        if dtype not in self._twins:
            self._twins[dtype] = on_meta(self.fx).to(dtype)
        twin = self._twins[dtype]
        assert isinstance(twin, fx.GraphModule)
        return _Propagation(twin).facts(torch.empty(batch, self.in_channels, *size, device="meta", dtype=dtype))

    def _formula(self, size: tuple[int, ...], batch: int, dtype: torch.dtype) -> _Formula | None:
        rest = tuple(n % self.period for n in size)
        key = (rest, batch, dtype)
        if key not in self._formulas:
            self._formulas[key] = self._settle(rest, batch, dtype) if self.period <= _LARGEST_PERIOD else None
        return self._formulas[key]

    def _settle(self, rest: tuple[int, ...], batch: int, dtype: torch.dtype) -> _Formula | None:
        """Propagate the corners of a box of sizes, and two sizes outside it for proof."""
        origin = tuple(r + 2 * self.period for r in rest)

        def facts(steps: Sequence[int]) -> _Facts:
            return self.propagate([n + self.period * step for n, step in zip(origin, steps, strict=True)], batch, dtype)

        try:
            corners = {steps: facts(steps) for steps in itertools.product((0, 1), repeat=self.axes)}
            formula = _Formula.through(origin, self.period, corners)
            proofs = [tuple(1 + (axis + turn) % 3 + turn for axis in range(self.axes)) for turn in (1, 2)]
            for steps in proofs if formula is not None else ():
                reached = tuple(n + self.period * step for n, step in zip(origin, steps, strict=True))
                if not formula.at(reached).same(facts(steps)):  # type: ignore[union-attr]
                    return None
        except UserError:  # the network refuses some of these sizes; the one that was asked for may still do
            return None
        return formula


def follow(
    module: nn.Module,
    channels: int,
    probes: Sequence[tuple[int, ...]] = (),
    whole: Collection[str] = (),
) -> Graph:
    """A network's graph to be run; its costs at other sizes are only known to `trace`.

    Args:
        module: see `trace`.
        channels: of the input.
        probes: sizes that `torch.export` may try.
        whole: see `trace`.

    Raises:
        UserError: see `trace`.
    """
    axes = len(probes[0]) if probes else _spatial_axes(module)
    return Graph(_traced(module, channels, probes, whole), channels, axes)


def trace(module: nn.Module, example: int | Tensor, whole: Collection[str] = ()) -> Graph:
    """A network's graph of operations.

    Torch's own modules stay whole. Where `torch.fx` cannot follow the network, `torch.export` is tried, whose graph
    consists of elementary functions.

    Args:
        module: takes one tensor (B, C, ...); its training mode counts, as dropout and norms do differ.
        example: an input, or the number of input channels.
        whole: paths of submodules that are to be one node each; reversible blocks are.

    Raises:
        UserError: the network's control flow depends on its data, or it refuses the example.
    """
    if isinstance(example, int):
        batch, probes = 1, [(size,) * _spatial_axes(module) for size in _PROBE_SIZES]
    else:
        batch, probes = len(example), [tuple(example.shape[2:])]
    graph = follow(module, example if isinstance(example, int) else int(example.shape[1]), probes, whole)
    problem = UserError("the network takes no input")
    for size in probes:
        try:
            graph.period = _total_stride(graph.nodes, graph.propagate(size, batch, torch.float32))
            return graph
        except UserError as error:
            problem = error
    raise problem


# --- one run without data


@dataclass(frozen=True)
class _Facts:
    """What a run found: `layout` is the same for all sizes of one formula, `numbers` are not.

    Per node, `layout` is (name, axes of the output, element type, storage, storages kept, number of private tensors),
    `numbers` are its axes, bytes, FLOPs forward and backward, moved bytes, and the bytes of each private tensor.
    """

    layout: tuple[tuple[str, int, torch.dtype | None, str, frozenset[str], int], ...]
    numbers: np.ndarray

    def same(self, other: _Facts) -> bool:
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


class _Propagation(fx.Interpreter):
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

    def facts(self, example: Tensor) -> _Facts:
        """Run it."""
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(self._pack, _same):
            self.run(example)
        return _Facts(tuple(self.layout), np.array(self.numbers, dtype=np.int64))

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
            raise UserError(f"the network does not take this input at {n.name!r} ({_first_line(error)})") from error
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


# --- all sizes of a residue class


@dataclass(frozen=True)
class _Formula:
    """Facts as multi-affine functions of the steps from an origin, exact in integers.

    Attributes:
        origin: smallest size for which it holds.
        period: sizes per step.
        layout: see `_Facts`.
        powers: (terms, axes), whether the term's product has the axis.
        coefficients: (numbers, terms).
    """

    origin: tuple[int, ...]
    period: int
    layout: tuple[tuple[str, int, torch.dtype | None, str, frozenset[str], int], ...]
    powers: np.ndarray
    coefficients: np.ndarray

    @classmethod
    def through(
        cls, origin: tuple[int, ...], period: int, corners: Mapping[tuple[int, ...], _Facts]
    ) -> _Formula | None:
        """The formula through the facts at all corners of the unit box of steps; None if their layouts differ."""
        layout = corners[(0,) * len(origin)].layout
        if any(facts.layout != layout for facts in corners.values()):
            return None
        terms = list(corners)
        columns = []
        for term in terms:  # the mixed difference along the term's axes
            below = [corner for corner in terms if all(c <= t for c, t in zip(corner, term, strict=True))]
            columns.append(sum((-1) ** (sum(term) - sum(corner)) * corners[corner].numbers for corner in below))
        return cls(origin, period, layout, np.array(terms), np.stack(columns, axis=1))

    def reaches(self, size: Sequence[int]) -> bool:
        """The size is none of the small ones."""
        return all(n >= first for n, first in zip(size, self.origin, strict=True))

    def at(self, size: Sequence[int]) -> _Facts:
        """Facts at a size of the class."""
        steps = (np.array(size) - self.origin) // self.period
        products = np.where(self.powers, steps, 1).prod(axis=1)
        return _Facts(self.layout, self.coefficients @ products)


# --- tracing


class _Tracer(fx.Tracer):
    """Keeps torch's own modules, reversible blocks and some paths whole."""

    def __init__(self, whole: Collection[str]) -> None:
        super().__init__()
        self.whole = frozenset(whole)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        whole = module_qualified_name in self.whole or isinstance(m, LEAF_MODULES)
        return whole or super().is_leaf_module(m, module_qualified_name)


def _traced(
    module: nn.Module, channels: int, probes: Sequence[tuple[int, ...]], whole: Collection[str]
) -> fx.GraphModule:
    try:
        return fx.GraphModule(module, _Tracer(whole).trace(module))
    except Exception as error:
        for size in probes:
            with contextlib.suppress(Exception):
                return _exported(module, channels, size)
        raise UserError(
            f"the network's control flow is not static: {_own_line(error)}",
            remedy="Memory plans need a network that runs the same operations whatever the values of its input",
        ) from error


def _exported(module: nn.Module, channels: int, size: tuple[int, ...]) -> fx.GraphModule:
    """The network as elementary functions, for all sizes where torch can say so; the parameters stay the module's."""
    parameter = next(module.parameters(), torch.empty(0))
    example = torch.zeros(2, channels, *size, device=parameter.device, dtype=parameter.dtype)
    free = dict.fromkeys((0, *range(2, example.dim())), torch.export.Dim.AUTO)
    name = next(iter(inspect.signature(module.forward).parameters))
    exported = torch.export.export(module, (example,), dynamic_shapes={name: free}, strict=False).module()
    assert isinstance(exported, fx.GraphModule)
    own = dict(module.named_parameters())
    for path, found in list(exported.named_parameters()):
        if found is not own.get(path):
            raise ValueError(f"parameter {path} was copied")
    return exported


def _node(node: fx.Node, modules: Mapping[str, nn.Module]) -> Node:
    module = modules[str(node.target)] if node.op == "call_module" else None
    weights = sum(p.numel() * p.element_size() for p in module.parameters()) if module is not None else 0
    return Node(node.name, node.op, node.target, tuple(part.name for part in node.all_input_nodes), module, weights)


def _spatial_axes(module: nn.Module) -> int:
    """Of the first layer that tells."""
    kinds = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3, nn.ConvTranspose2d: 2, nn.ConvTranspose3d: 3}
    return next((axes for layer in module.modules() for kind, axes in kinds.items() if isinstance(layer, kind)), 3)


def _own_line(error: BaseException) -> str:
    """The line of the network's code that tracing failed at: the last one outside torch."""
    torch_home = str(Path(torch.__file__).parent)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith((torch_home, __file__))]
    if not frames:
        return _first_line(error)
    last = frames[-1]
    line = (last.line or linecache.getline(last.filename, last.lineno or 0)).strip()
    return f"{line!r} in {last.name} ({Path(last.filename).name}, line {last.lineno})"


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _total_stride(nodes: Iterable[Node], facts: _Facts) -> int:
    """The least common multiple of the shrinkings along all paths and axes; growing again does not undo them."""
    extents = {row[0]: numbers[2 : row[1]] for row, numbers in facts.rows()}
    strides: dict[str, list[int]] = {}
    for node in nodes:
        own = extents[node.name]
        sources = [name for name in node.inputs if own and len(extents[name]) == len(own)]
        strides[node.name] = []
        for axis, extent in enumerate(own):
            before = math.lcm(*(strides[name][axis] for name in sources))
            read = max((extents[name][axis] for name in sources), default=extent)
            strides[node.name].append(before * (max(1, round(read / extent)) if extent > 1 else 1))
    return math.lcm(*itertools.chain(*strides.values()))


def _element_bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _shown(size: Sequence[int]) -> str:
    return ",".join(map(str, size))
