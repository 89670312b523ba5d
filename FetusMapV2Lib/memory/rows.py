"""Slabs of rows along the first axis of space: what a convolution makes of them, and which rows depend on which."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class RowConv:
    """A convolution over rows that already carry their halo: no padding along the first axis."""

    kernel_size: tuple[int, ...]
    padding: tuple[int, ...]
    stride: tuple[int, ...] = (1, 1, 1)
    dilation: tuple[int, ...] = (1, 1, 1)

    @property
    def halo(self) -> int:
        """Rows needed on either side."""
        return self.dilation[0] * (self.kernel_size[0] // 2)

    @classmethod
    def of(cls, conv: nn.Conv3d) -> RowConv:
        """Of a convolution that keeps sizes, see `keeps_size`."""
        return _over_rows(conv.kernel_size, conv.padding, conv.dilation)


Convolution = nn.Conv3d | RowConv


@cache
def _over_rows(kernel_size: Any, padding: Any, dilation: Any) -> RowConv:
    return RowConv(kernel_size, (0, *padding[1:]), dilation=dilation)


def keeps_size(conv: nn.Conv3d) -> bool:
    """Whether the output is as large as the input, each voxel amid those that it is made from."""
    return _keeps_size(conv.kernel_size, conv.padding, conv.stride, conv.dilation)


@cache
def _keeps_size(kernel_size: Any, padding: Any, stride: Any, dilation: Any) -> bool:
    axes = zip(kernel_size, padding, stride, dilation, strict=True)
    return all(k % 2 == 1 and p == d * (k // 2) and s == 1 for k, p, s, d in axes)


def coarse_rows(i: int, j: int, rows: int) -> tuple[int, int]:
    """Rows, of `rows` before upsampling by two, that rows i to j after it depend on."""
    return max(i // 2 - 1, 0), min((j + 1) // 2 + 1, rows)


def cut_rows(x: Tensor, i: int, j: int) -> Tensor:
    """Rows i to j; all of them are the tensor itself."""
    return x if i == 0 and j == x.shape[2] else x[:, :, i:j]


def inner_rows(x: Tensor, margin: int) -> Tensor:
    """Without `margin` rows on either side."""
    return x[:, :, margin : x.shape[2] - margin] if margin else x
