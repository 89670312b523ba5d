"""Runs a network segment by segment, each as it is, under gradient checkpointing, or as a reversible block.

This is the execution function f: G_S -> {1, 2, 3} of the paper's section 3.1, as plain autograd.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.memory.paper.conversion import passes_of
from FetusMapV2Lib.memory.paper.graph import Graph, follow
from FetusMapV2Lib.memory.paper.reversible import ReversibleBlock
from FetusMapV2Lib.memory.plan import Segment, Technique
from FetusMapV2Lib.memory.tracing import evaluated


def segmented(network: nn.Module, segments: Sequence[Segment]) -> SegmentedNetwork:
    """A network run by a partition that was made for it.

    Raises:
        UserError: the network cannot be traced, or it is another one.
    """
    return SegmentedNetwork(follow(network, channels_of(network), whole=passes_of(network)), segments)


def channels_of(network: nn.Module) -> int:
    """Input channels of a network: what it says, or its first convolution's."""
    told = getattr(network, "in_channels", None)
    if isinstance(told, int):
        return told
    return next((m.in_channels for m in network.modules() if isinstance(m, nn.Conv3d)), 1)


class SegmentedNetwork(nn.Module):
    """A traced network run by a partition; its parameters are the network's own.

    Args:
        graph: of `graph.trace`, with the passes that segments name kept whole.
        segments: a partition of the graph's nodes, in an order in which they can run.

    Raises:
        UserError: the segments are no partition, cannot run in this order, or call reversible what is not.
    """

    def __init__(self, graph: Graph, segments: Sequence[Segment]) -> None:
        super().__init__()
        self.traced = graph.fx
        self._nodes = {node.name: node for node in graph.fx.graph.nodes}
        self._placeholder = next(node.name for node in graph.nodes if node.op == "placeholder")
        self._output = graph.outputs[0]
        self._segments = [segment for segment in segments if segment.nodes]
        self._check([node.name for node in graph.nodes if node.op not in ("placeholder", "get_attr")])
        self._last_use = self._find_last_uses()
        self._steps = [self._step(number) for number in range(len(self._segments))]

    def forward(self, volume: Tensor) -> Tensor:
        """What the network gives for a volume (B, C, ...)."""
        values: dict[str, Any] = {self._placeholder: volume}
        for number, (run, inputs, outputs) in enumerate(self._steps):
            arguments = [values[name] for name in inputs]
            for name in [name for name, last in self._last_use.items() if last == number]:
                values.pop(name, None)
            if self._segments[number].technique is Technique.CHECKPOINT:
                found = checkpoint(run, *arguments, use_reentrant=False)
            else:
                found = run(*arguments)
            del arguments
            values.update(zip(outputs, found, strict=True))
        result: Tensor = values[self._output]
        return result

    def _check(self, expected: list[str]) -> None:
        named = [name for segment in self._segments for name in segment.nodes]
        if sorted(named) != sorted(expected):
            raise UserError("these segments are no partition of the network", remedy="Plan for this very network")
        known = {self._placeholder}
        for segment in self._segments:
            for name in segment.nodes:
                read = {part.name for part in self._nodes[name].all_input_nodes if part.op != "get_attr"}
                if read - known:
                    raise UserError(f"segment with {name!r} runs before what it reads")
                known.add(name)
            if segment.technique is Technique.REVERSIBLE and not self._is_reversible(segment.nodes[0]):
                raise UserError(f"{segment.nodes[0]!r} is no reversible block", remedy="Convert the network first")

    def _is_reversible(self, name: str) -> bool:
        node = self._nodes[name]
        return node.op == "call_module" and isinstance(self.traced.get_submodule(str(node.target)), ReversibleBlock)

    def _find_last_uses(self) -> dict[str, int]:
        """The last segment that reads a value from outside of it."""
        uses: dict[str, int] = {}
        for number, segment in enumerate(self._segments):
            for name in self._reads(segment):
                uses[name] = number
        uses.pop(self._output, None)
        return uses

    def _reads(self, segment: Segment) -> list[str]:
        own = set(segment.nodes)
        read = [part.name for name in segment.nodes for part in self._nodes[name].all_input_nodes]
        return [name for name in dict.fromkeys(read) if name not in own and self._nodes[name].op != "get_attr"]

    def _step(self, number: int) -> tuple[Callable[..., tuple[Any, ...]], list[str], list[str]]:
        """A segment as a function, the values it reads, and those that others need of it."""
        segment = self._segments[number]
        own, inputs = set(segment.nodes), self._reads(segment)
        outputs = [
            name
            for name in segment.nodes
            if name == self._output or any(user.name not in own for user in self._nodes[name].users)
        ]
        nodes = [self._nodes[name] for name in segment.nodes]

        def run(*arguments: Any) -> tuple[Any, ...]:
            values = dict(zip(inputs, arguments, strict=True))
            for place, node in enumerate(nodes):
                values[node.name] = evaluated(node, self.traced, values)
                later = {part.name for after in nodes[place + 1 :] for part in after.all_input_nodes}
                for name in [name for name in values if name not in later and name not in outputs]:
                    del values[name]
            return tuple(values[name] for name in outputs)

        return run, inputs, outputs
