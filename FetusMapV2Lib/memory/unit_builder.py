"""Takes a network apart into units: traced operations become convolutions with what belongs to them, poolings, others.

Concatenations and upsamplings vanish here: a convolution knows its sources, and which of them it reads upsampled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.memory.traced_nodes import (
    halves,
    is_concatenation,
    is_plain_conv,
    overwrites,
    takes_batch_statistics,
    upsampling,
)
from FetusMapV2Lib.memory.tracing import evaluated, own_parameters, rests_on_parameters, traced
from FetusMapV2Lib.memory.unit_graph import UnitGraph
from FetusMapV2Lib.memory.unit_kinds import ConvUnit, InputUnit, OpaqueUnit, PoolUnit
from FetusMapV2Lib.memory.units import Source, Unit


def build_units(network: nn.Module) -> UnitGraph:
    """Take a network apart into units.

    Args:
        network: takes one (B, C, K, J, I) tensor, gives one tensor; static control flow.

    Raises:
        UserError: the network cannot be traced or does not pass tensors only from step to step.
    """
    try:
        graph = traced(network)
    except Exception as error:
        raise UserError(
            f"the network cannot be traced ({error})",
            remedy="Memory plans need a network without data-dependent control",
        ) from error
    return _Builder(network, graph).build()


class _Builder:
    """Turns traced nodes into units, one kind after the other."""

    def __init__(self, network: nn.Module, graph: fx.Graph) -> None:
        self.network = network
        self.nodes = list(graph.nodes)
        self.modules = dict(network.named_modules())
        self.values: dict[fx.Node, list[Source]] = {}
        self.units: list[Unit] = []
        self.checks: list[Callable[[Tensor], None]] = []
        self.taken: set[fx.Node] = set()
        self.names: set[str] = set()

    def build(self) -> UnitGraph:
        """The unit graph."""
        placeholders = [node for node in self.nodes if node.op == "placeholder"]
        outputs = [node for node in self.nodes if node.op == "output"]
        if len(placeholders) != 1 or not isinstance(outputs[0].args[0], fx.Node):
            raise UserError("memory plans need a network with one input tensor and one output tensor")
        source = InputUnit(placeholders[0].name)
        self.values[placeholders[0]] = [Source(source)]
        for node in self.nodes:
            if node not in self.taken and node.op not in ("placeholder", "output") and not rests_on_parameters(node):
                self._add(node, placeholders[0])
        output = self._whole(outputs[0].args[0]).unit
        graph = UnitGraph(self.network, source, self.units, output, self.checks)
        _link(graph)
        return graph

    def _add(self, node: fx.Node, placeholder: fx.Node) -> None:
        self._refuse_shared_writes(node)
        if not node.users:
            if node.op == "call_function" and node.args and node.args[0] is placeholder:
                self.checks.append(_bound(node))
            return
        module = self.modules.get(str(node.target)) if node.op == "call_module" else None
        if is_concatenation(node) and all(self._feeds_conv(user) for user in node.users):
            self.values[node] = [source for part in _tensors(node.args[0]) for source in self.values[part]]
        elif (up := upsampling(node, module)) is not None and all(self._feeds_conv(user) for user in node.users):
            self.values[node] = [Source(self._whole(node.args[0]).unit, up)]
        elif isinstance(module, nn.Conv3d) and is_plain_conv(module):
            self._add_conv(node, module)
        elif isinstance(module, nn.MaxPool3d) and halves(module):
            self._register(node, PoolUnit(self._name(node), [self._whole(node.args[0])]))
        else:
            self._add_opaque(node, module)

    def _refuse_shared_writes(self, node: fx.Node) -> None:
        """A write into what others read too, or into a view of it, would be lost: a unit gets a copy to write into."""
        module = self.modules.get(str(node.target)) if node.op == "call_module" else None
        if node.op in ("placeholder", "output", "get_attr") or not overwrites(node, module):
            return
        written = node.args[0] if node.args else None
        while isinstance(written, fx.Node):
            if len(written.users) > 1 or not node.users:
                raise UserError(
                    f"step {node.name!r} of the network writes in place into what other steps read",
                    remedy="Write the result to a tensor of its own",
                )
            if written.op not in ("call_function", "call_method"):  # a module gives no view of its input
                return
            written = written.args[0] if written.args else None

    def _feeds_conv(self, user: fx.Node) -> bool:
        if is_concatenation(user):
            return all(self._feeds_conv(next_user) for next_user in user.users)
        module = self.modules.get(str(user.target)) if user.op == "call_module" else None
        return isinstance(module, nn.Conv3d) and is_plain_conv(module)

    def _add_conv(self, node: fx.Node, conv: nn.Conv3d) -> None:
        read = self.values[node.args[0]]  # type: ignore[index]
        sources = [Source(source.unit, source.upsample) for source in read]
        unit = ConvUnit(self._name(node), sources, conv=conv)
        last = node
        following = self._only_user(last)
        if following is not None and takes_batch_statistics(module := self.modules.get(str(following.target))):
            unit.norm, last = module, following
            block, other = (str(part.target).rpartition(".")[0] for part in (node, following))
            if block and block == other and block not in self.names:  # the pair stands alone in a block
                unit.name = block
                self.names.add(block)
            self.taken.add(last)
            following = self._only_user(last)
        if following is not None and (slope := self._slope(following)) is not None:
            unit.slope, last = slope, following
            self.taken.add(last)
        self._register(last, unit)

    def _add_opaque(self, node: fx.Node, module: nn.Module | None) -> None:
        inputs = [part for part in node.all_input_nodes if not rests_on_parameters(part)]
        if any(part not in self.values for part in inputs):
            raise UserError(f"step {node.name!r} of the network reads something that is no tensor")
        sources = [self._whole(part) for part in inputs]
        own = tuple(dict.fromkeys(own_parameters(node, self.network)))
        unit = OpaqueUnit(self._name(node), sources, module=module, own=own, call=_call(node, inputs, self.network))
        unit.overwrites = overwrites(node, module)
        self._register(node, unit)

    def _register(self, node: fx.Node, unit: Unit) -> None:
        self.values[node] = [Source(unit)]
        self.units.append(unit)

    def _whole(self, node: Any) -> Source:
        """The one unit behind a node; concatenations and upsamplings that are read as such become units."""
        sources = self.values[node]
        if len(sources) > 1 or sources[0].upsample is not None:
            raise UserError(f"step {node.name!r} of the network is read in a way that memory plans do not know")
        return Source(sources[0].unit)

    def _only_user(self, node: fx.Node) -> fx.Node | None:
        return next(iter(node.users)) if len(node.users) == 1 else None

    def _slope(self, node: fx.Node) -> float | None:
        module = self.modules.get(str(node.target)) if node.op == "call_module" else None
        if isinstance(module, nn.ReLU) or node.target in (F.relu, torch.relu):
            return 0.0
        if isinstance(module, nn.LeakyReLU):
            return float(module.negative_slope)
        return None

    def _name(self, node: fx.Node) -> str:
        wanted = str(node.target) if node.op == "call_module" else node.name
        name, count = wanted, 2
        while name in self.names:
            name, count = f"{wanted}#{count}", count + 1
        self.names.add(name)
        return name


def _link(graph: UnitGraph) -> None:
    """Readers, channel offsets and need of gradients."""
    for unit in graph.units:
        for source in unit.sources:
            source.unit.readers.append((unit, source))
    graph.input.count = _input_channels(graph.module, graph)
    for unit in graph.convolutions:
        offset = 0
        for source in unit.sources if len(unit.sources) > 1 else ():
            source.offset = offset
            offset += source.unit.channels
    for unit in graph.units:
        own = any(parameter.requires_grad for parameter in unit.parameters())
        unit.needs_gradient = own or any(source.unit.needs_gradient for source in unit.sources)


def _input_channels(network: nn.Module, graph: UnitGraph) -> int:
    """What the network says, or its first convolution's."""
    told = getattr(network, "in_channels", None)
    if isinstance(told, int):
        return told
    first = [unit for unit in graph.convolutions if [s.unit for s in unit.sources] == [graph.input]]
    return first[0].conv.in_channels if first else 1


def _call(node: fx.Node, inputs: list[fx.Node], network: nn.Module) -> Callable[..., Tensor]:
    """A node as a function of its input tensors."""
    names = [part.name for part in inputs]

    def call(*values: Tensor) -> Tensor:
        result: Tensor = evaluated(node, network, dict(zip(names, values, strict=True)))
        return result

    return call


def _bound(node: fx.Node) -> Callable[[Tensor], None]:
    function, rest, named = node.target, node.args[1:], dict(node.kwargs)
    return lambda volume: function(volume, *rest, **named)  # type: ignore[operator]


def _tensors(arguments: Any) -> list[fx.Node]:
    return [part for part in arguments if isinstance(part, fx.Node)]
