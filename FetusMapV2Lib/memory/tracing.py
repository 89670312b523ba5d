"""The one way in which networks become graphs of operations, and the value of one operation."""

from __future__ import annotations

import contextlib
import inspect
import linecache
import traceback
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from FetusMapV2Lib.core.errors import UserError


class _Tracer(fx.Tracer):
    """Keeps torch's own modules, and what else is asked for, whole."""

    def __init__(self, whole: Collection[str], kinds: tuple[type[nn.Module], ...]) -> None:
        super().__init__()
        self.whole, self.kinds = frozenset(whole), kinds

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        whole = module_qualified_name in self.whole or isinstance(m, self.kinds)
        return whole or super().is_leaf_module(m, module_qualified_name)


def traced(network: nn.Module, *, whole: Collection[str] = (), kinds: tuple[type[nn.Module], ...] = ()) -> fx.Graph:
    """A network's operations in the order of execution; torch's own modules, and kinds of its `Conv3d`, stay whole.

    Args:
        network: any; its control flow must not depend on its input's values.
        whole: paths of submodules that are to be one node each.
        kinds: modules of these classes are one node each, too.

    Raises:
        Exception: whatever the network's code raises when it is given a tensor without values.
    """
    return _Tracer(whole, (nn.Conv3d, *kinds)).trace(network)


def traced_or_exported(
    network: nn.Module,
    channels: int,
    probes: Sequence[tuple[int, ...]],
    *,
    whole: Collection[str] = (),
    kinds: tuple[type[nn.Module], ...] = (),
) -> fx.GraphModule:
    """A network as a module of traced operations, or of elementary functions where only `torch.export` can follow it.

    Args:
        network: see `traced`; the parameters stay its own.
        channels: of the input.
        probes: sizes that `torch.export` may try.
        whole: see `traced`.
        kinds: see `traced`.

    Raises:
        UserError: neither can follow it.
    """
    try:
        return fx.GraphModule(network, traced(network, whole=whole, kinds=kinds))
    except Exception as error:
        for size in probes:
            with contextlib.suppress(Exception):
                return _exported(network, channels, size)
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


def evaluated(node: fx.Node, network: nn.Module, values: Mapping[str, Any]) -> Any:
    """What an operation gives.

    Args:
        node: of the network's graph.
        network: whose modules, parameters and buffers the operation uses.
        values: of the nodes that it reads, by name; those that rest on parameters and buffers alone may be missing.
    """
    if node.op == "get_attr":
        return attribute(network, str(node.target))

    def value(part: fx.Node) -> Any:
        return values[part.name] if part.name in values else evaluated(part, network, values)

    arguments, named = fx.node.map_arg(node.args, value), fx.node.map_arg(node.kwargs, value)
    if node.op == "call_module":
        return network.get_submodule(str(node.target))(*arguments, **named)
    if node.op == "call_method":
        return getattr(arguments[0], str(node.target))(*arguments[1:], **named)
    if node.op == "call_function":
        return node.target(*arguments, **named)  # type: ignore[operator]
    raise KeyError(f"the value of {node.name!r} is missing")


def attribute(network: nn.Module, path: str) -> Any:
    """What a path names: a parameter or a buffer, perhaps of a submodule."""
    owner, _, name = path.rpartition(".")
    return getattr(network.get_submodule(owner), name)


def own_parameters(node: fx.Node, network: nn.Module) -> Iterator[nn.Parameter]:
    """Those that an operation reads by itself, not through a module or another operation on tensors of the input."""
    for part in node.all_input_nodes:
        if part.op == "get_attr":
            found = attribute(network, str(part.target))
            yield from (found,) if isinstance(found, nn.Parameter) else ()
        elif rests_on_parameters(part):
            yield from own_parameters(part, network)


def rests_on_parameters(node: fx.Node) -> bool:
    """Whether a node's value does not depend on the network's input."""
    return node.op != "placeholder" and all(map(rests_on_parameters, node.all_input_nodes))


def _own_line(error: BaseException) -> str:
    """The line of the network's code that tracing failed at: the last one outside torch."""
    torch_home = str(Path(torch.__file__).parent)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith((torch_home, __file__))]
    if not frames:
        return first_line(error)
    last = frames[-1]
    line = (last.line or linecache.getline(last.filename, last.lineno or 0)).strip()
    return f"{line!r} in {last.name} ({Path(last.filename).name}, line {last.lineno})"


def first_line(error: BaseException) -> str:
    """Of an error's message; its kind where there is none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
