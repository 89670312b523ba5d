"""Convolutions of small volumes by oneDNN, which PyTorch on a CPU otherwise spares for larger ones.

The values are the same up to rounding; training and refinement on a CPU take up to a third less time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Up to so many channels x planes x rows of a single float32 volume PyTorch unfolds the volume into a matrix instead.
_LARGEST_UNFOLDED = 20480
#: With fewer voxels the detour costs more than it saves.
_FEWEST_VOXELS = 512


@contextmanager
def small_convolutions_by_onednn(network: nn.Module) -> Iterator[None]:
    """While it is entered, a network's convolutions of one small volume run as a batch of its two halves.

    oneDNN takes any batch of more than one. Each half brings the planes beside it that the kernel reaches. What is
    large enough already, lies on a GPU, runs in low precision, or has a stride, dilation or groups, is left alone.
    Backward passes belong inside: checkpoints then run again what they ran before.

    Args:
        network: changed while this is entered, but for its weights and names.
    """
    changed = [
        module
        for module in network.modules()
        if type(module) is nn.Conv3d and _keeps_size(module) and "forward" not in vars(module)
    ]
    if not torch.backends.mkldnn.is_available():
        changed = []
    for module in changed:
        module.forward = partial(_forward, module)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for module in changed:
            del module.forward


def _forward(conv: nn.Conv3d, volume: Tensor) -> Tensor:
    """(1, C, K, J, I) to (1, O, K, J, I), or whatever the convolution takes."""
    if _is_small(volume) and conv.weight.dtype == torch.float32:
        return _in_halves(conv, volume)
    return nn.Conv3d.forward(conv, volume)


def _keeps_size(conv: nn.Conv3d) -> bool:
    ones = (1, 1, 1)
    padded = tuple(side // 2 for side in conv.kernel_size)
    odd = all(side % 2 for side in conv.kernel_size)
    plain = conv.padding_mode == "zeros" and conv.groups == 1 and conv.stride == conv.dilation == ones
    return plain and odd and conv.padding == padded


def _is_small(volume: Tensor) -> bool:
    """Whether oneDNN would take a volume in halves, but not as it is."""
    if volume.dim() != 5 or volume.shape[0] != 1 or volume.shape[2] < 2:
        return False
    if volume.device.type != "cpu" or volume.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
        return False
    channels, planes, rows, columns = volume.shape[1:]
    return channels * planes * rows <= _LARGEST_UNFOLDED and planes * rows * columns >= _FEWEST_VOXELS


def _in_halves(conv: nn.Conv3d, volume: Tensor) -> Tensor:
    planes, reach = volume.shape[2], conv.kernel_size[0] // 2
    half = (planes + 1) // 2
    padded = F.pad(volume, (0, 0, 0, 0, reach, reach + 2 * half - planes))
    halves = torch.cat((padded[:, :, : half + 2 * reach], padded[:, :, half:]))
    halves = halves.contiguous(memory_format=torch.channels_last_3d)
    found = F.conv3d(halves, conv.weight, conv.bias, padding=(0, *conv.padding[1:]))
    # with the channels last the halves lie one behind the other in memory: no copy
    whole = found.permute(0, 2, 3, 4, 1).flatten(0, 1)[None].permute(0, 4, 1, 2, 3)
    return whole[:, :, :planes]
