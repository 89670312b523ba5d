"""What the nodes of a traced network are to the executor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F


def is_concatenation(node: fx.Node) -> bool:
    """Whether a node concatenates along the channels."""
    if node.op != "call_function" or node.target not in (torch.cat, torch.concat):
        return False
    axis = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
    return bool(axis == 1)


def upsampling(node: fx.Node, module: nn.Module | None) -> Callable[[Tensor], Tensor] | None:
    """The function, if the node is a trilinear upsampling by two with cell-centred samples."""
    if getattr(node.target, "memory_role", None) == "upsample-twice":
        return node.target  # type: ignore[return-value]
    if isinstance(module, nn.Upsample):
        options = {"scale_factor": module.scale_factor, "mode": module.mode, "align_corners": module.align_corners}
    elif node.target is F.interpolate:
        options = dict(node.kwargs)  # type: ignore[arg-type]
    else:
        return None
    twice = options.get("scale_factor") in (2, 2.0, (2, 2, 2), (2.0, 2.0, 2.0))
    if twice and options.get("mode") == "trilinear" and not options.get("align_corners"):
        return _upsample_twice
    return None


def _upsample_twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="trilinear", align_corners=False)


def is_plain_conv(conv: nn.Conv3d) -> bool:
    """Whether a convolution pads with zeros and has one group."""
    return conv.groups == 1 and conv.padding_mode == "zeros" and not isinstance(conv.padding, str)


def halves(pool: nn.MaxPool3d) -> bool:
    """Whether a pooling takes each two voxels along every axis together."""

    def is_two(value: Any) -> bool:
        return bool(value in (2, (2, 2, 2)))

    return (
        is_two(pool.kernel_size)
        and is_two(pool.stride)
        and pool.padding in (0, (0, 0, 0))
        and pool.dilation in (1, (1, 1, 1))
        and not pool.return_indices
        and not pool.ceil_mode
    )


def overwrites(node: fx.Node, module: nn.Module | None) -> bool:
    """Whether a node may change what it reads."""
    name = str(getattr(node.target, "__name__", node.target))
    in_place_call = node.op != "call_module" and (
        name.endswith("_") or name in ("iadd", "isub", "imul", "itruediv", "setitem")
    )
    return (
        in_place_call
        or any(getattr(m, "inplace", False) for m in (module.modules() if module else ()))
        or bool(node.kwargs.get("inplace", False))
    )


def takes_batch_statistics(module: nn.Module | None) -> bool:
    """Whether a module normalises by the statistics of what it is given."""
    return isinstance(module, (nn.BatchNorm3d, nn.InstanceNorm3d)) and not module.track_running_stats
