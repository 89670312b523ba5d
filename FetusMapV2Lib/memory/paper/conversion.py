"""Which Conv-BN-ReLU passes of a network may become reversible blocks, and the network with some of them converted.

Steps 2 and 3 of the paper's memory management (section 3.1).
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Collection

import torch
from torch import nn
from torch.nn import functional as F

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.memory.paper.reversible import CONVOLUTIONS, LEAF_MODULES, NORMS, Recomputed, ReversibleBlock
from FetusMapV2Lib.memory.tracing import traced

_RELUS = (F.relu, F.relu_, torch.relu, torch.relu_)


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
        graph = traced(module)
    except Exception:  # whatever a foreign module raises, it is not a plain chain
        return None
    nodes = list(graph.nodes)
    in_line = all(list(after.all_input_nodes) == [before] for before, after in itertools.pairwise(nodes))
    if len(nodes) != 5 or nodes[0].op != "placeholder" or not in_line:
        return None
    parts = dict(module.named_modules())
    conv, norm, act = (parts.get(str(node.target)) if node.op == "call_module" else None for node in nodes[1:4])
    is_relu = type(act) is nn.ReLU or nodes[3].target in _RELUS or nodes[3].target in ("relu", "relu_")
    if type(conv) in CONVOLUTIONS and type(norm) in NORMS and is_relu:
        return conv, norm  # type: ignore[return-value]
    return None


def _keeps_shape(conv: nn.Module) -> bool:
    assert isinstance(conv, CONVOLUTIONS)
    even = conv.in_channels == conv.out_channels and conv.out_channels % 2 == 0
    if not even or conv.groups != 1 or any(stride != 1 for stride in conv.stride):
        return False
    if isinstance(conv.padding, str):
        return conv.padding == "same"
    sides = zip(conv.padding, conv.dilation, conv.kernel_size, strict=True)
    return all(2 * padding == dilation * (kernel - 1) for padding, dilation, kernel in sides)


def _passes_before(network: nn.Module, paths: Collection[str], passes: Collection[str]) -> list[str]:
    """Passes whose output one of `paths` reads and that are not among these themselves."""
    try:
        graph = traced(network, whole=passes, kinds=LEAF_MODULES)
    except Exception as error:
        raise UserError(
            f"the network cannot be traced ({error})", remedy="Do without recomputing what is before reversible blocks"
        ) from error
    sources = [str(n.all_input_nodes[0].target) for n in graph.nodes if n.op == "call_module" and n.target in paths]
    return sorted({source for source in sources if source in passes and source not in paths})
