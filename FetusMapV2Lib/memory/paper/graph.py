"""A network as a graph of operations: what each gives, costs and keeps for its backward pass, at any input size."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.memory.meter import on_meta
from FetusMapV2Lib.memory.paper.propagation import Facts, NodeCost, Propagation
from FetusMapV2Lib.memory.paper.reversible import LEAF_MODULES
from FetusMapV2Lib.memory.paper.size_formula import SizeFormula
from FetusMapV2Lib.memory.tracing import traced_or_exported

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
        self._formulas: dict[Any, SizeFormula | None] = {}
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

    def propagate(self, size: Sequence[int], batch: int, dtype: torch.dtype) -> Facts:
        """Run the graph without data at one size.

        Raises:
            UserError: the network does not take this size.
        """
        if dtype not in self._twins:
            self._twins[dtype] = on_meta(self.fx).to(dtype)
        twin = self._twins[dtype]
        assert isinstance(twin, fx.GraphModule)
        return Propagation(twin).facts(torch.empty(batch, self.in_channels, *size, device="meta", dtype=dtype))

    def _formula(self, size: tuple[int, ...], batch: int, dtype: torch.dtype) -> SizeFormula | None:
        rest = tuple(n % self.period for n in size)
        key = (rest, batch, dtype)
        if key not in self._formulas:
            self._formulas[key] = self._settle(rest, batch, dtype) if self.period <= _LARGEST_PERIOD else None
        return self._formulas[key]

    def _settle(self, rest: tuple[int, ...], batch: int, dtype: torch.dtype) -> SizeFormula | None:
        """Propagate the corners of a box of sizes, and two sizes outside it for proof."""
        origin = tuple(r + 2 * self.period for r in rest)

        def facts(steps: Sequence[int]) -> Facts:
            return self.propagate([n + self.period * step for n, step in zip(origin, steps, strict=True)], batch, dtype)

        try:
            corners = {steps: facts(steps) for steps in itertools.product((0, 1), repeat=self.axes)}
            formula = SizeFormula.through(origin, self.period, corners)
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
    return Graph(traced_or_exported(module, channels, probes, whole=whole, kinds=LEAF_MODULES), channels, axes)


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


def _node(node: fx.Node, modules: Mapping[str, nn.Module]) -> Node:
    module = modules[str(node.target)] if node.op == "call_module" else None
    weights = sum(p.numel() * p.element_size() for p in module.parameters()) if module is not None else 0
    return Node(node.name, node.op, node.target, tuple(part.name for part in node.all_input_nodes), module, weights)


def _spatial_axes(module: nn.Module) -> int:
    """Of the first layer that tells."""
    kinds = {nn.Conv1d: 1, nn.Conv2d: 2, nn.Conv3d: 3, nn.ConvTranspose2d: 2, nn.ConvTranspose3d: 3}
    return next((axes for layer in module.modules() for kind, axes in kinds.items() if isinstance(layer, kind)), 3)


def _total_stride(nodes: Iterable[Node], facts: Facts) -> int:
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


def _shown(size: Sequence[int]) -> str:
    return ",".join(map(str, size))
