"""Memory that cuDNN takes beside a convolution's tensors: measured for each shape, and kept within a bound."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch
from torch import Tensor

#: Read by cuDNN when it is first used: the most that an algorithm may take beside its tensors, in MiB. PyTorch's page
#: on CUDA environment variables names it; whether a release of cuDNN keeps to it is seen by `measure_workspace`.
LIMIT_VARIABLE = "CUDNN_CONV_WSCAP_DBG"


#: The most that cuDNN may take beside a convolution's tensors while a network is measured, in bytes.
MEASURED_LIMIT = 2**29


@dataclass(frozen=True)
class ConvolutionShape:
    """What a convolution's workspace depends on.

    Attributes:
        x: shape of the input (B, C, K, J, I).
        weight: (O, C, k, j, i).
        padding, stride, dilation: along the three axes.
        dtype: of all tensors.
        layout: of all tensors.
    """

    x: tuple[int, ...]
    weight: tuple[int, ...]
    padding: tuple[int, ...]
    stride: tuple[int, ...] = (1, 1, 1)
    dilation: tuple[int, ...] = (1, 1, 1)
    dtype: torch.dtype = torch.float32
    layout: torch.memory_format = torch.channels_last_3d

    @property
    def output(self) -> tuple[int, ...]:
        """Shape of the result (B, O, K', J', I')."""
        axes = zip(self.x[2:], self.weight[2:], self.padding, self.stride, self.dilation, strict=True)
        return (self.x[0], self.weight[0], *((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, p, s, d in axes))


@dataclass(frozen=True)
class Workspace:
    """Bytes beside inputs and results, for each of a convolution's three operations."""

    forward: int
    input_gradient: int
    weight_gradient: int

    @property
    def largest(self) -> int:
        """Of the three."""
        return max(self.forward, self.input_gradient, self.weight_gradient)


def measure_workspace(shape: ConvolutionShape, device: torch.device) -> Workspace:
    """Run the three operations of a convolution once each, and see what is allocated for a moment.

    On a GPU this needs room for two inputs and two outputs, and takes as long as the operations. A CPU has no such
    workspace: zeros.

    Raises:
        torch.OutOfMemoryError: the tensors themselves do not fit.
    """
    if device.type != "cuda":
        return Workspace(0, 0, 0)
    x = torch.zeros(shape.x, dtype=shape.dtype, device=device).contiguous(memory_format=shape.layout)
    weight = torch.zeros(shape.weight, dtype=shape.dtype, device=device).contiguous(memory_format=shape.layout)
    dz = torch.zeros(shape.output, dtype=shape.dtype, device=device).contiguous(memory_format=shape.layout)
    return Workspace(*(_beside(which, shape, x, weight, dz) for which in range(3)))


def _beside(which: int, shape: ConvolutionShape, x: Tensor, weight: Tensor, dz: Tensor) -> int:
    """Peak of one operation above what is there before and after it."""
    _run(which, shape, x, weight, dz)  # the first time cuDNN also takes what it keeps
    torch.cuda.reset_peak_memory_stats(x.device)
    result = _run(which, shape, x, weight, dz)
    held = torch.cuda.memory_allocated(x.device)
    peak = torch.cuda.max_memory_allocated(x.device)
    del result
    return max(0, peak - held)


def _run(which: int, shape: ConvolutionShape, x: Tensor, weight: Tensor, dz: Tensor) -> object:
    if which == 0:
        return torch.nn.functional.conv3d(x, weight, None, shape.stride, shape.padding, shape.dilation)
    return torch.ops.aten.convolution_backward(
        dz,
        x,
        weight,
        None,
        shape.stride,
        shape.padding,
        shape.dilation,
        False,
        [0, 0, 0],
        1,
        [which == 1, which == 2, False],
    )


def limit_workspace(count: int) -> bool:
    """Have cuDNN choose algorithms that take at most `count` bytes (rounded down to MiB, at least one) beside tensors.

    cuDNN reads the bound once: call this before the first convolution on a GPU. A bound that the environment has
    already is left alone.

    Returns:
        Whether the bound that now holds is at most the wanted one.
    """
    wanted = max(1, count >> 20)
    if LIMIT_VARIABLE not in os.environ and not (torch.cuda.is_available() and torch.cuda.is_initialized()):
        os.environ[LIMIT_VARIABLE] = str(wanted)
    given = os.environ.get(LIMIT_VARIABLE, "")
    return given.isdigit() and int(given) <= wanted
