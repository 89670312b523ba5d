"""The executor's operations by fused kernels, where they take a tensor and run on its device; else the plain ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from FetusMapV2Lib.memory.fused import operations
from FetusMapV2Lib.memory.fused.availability import report_failure, usable
from FetusMapV2Lib.memory.fused.operations import Scale, rows_of
from FetusMapV2Lib.memory.kernels import Statistics, TorchKernels
from FetusMapV2Lib.memory.offload import HostMemory
from FetusMapV2Lib.memory.rows import Convolution

_Result = TypeVar("_Result")


def kernels_for(
    device: torch.device, layout: torch.memory_format = torch.contiguous_format, host: HostMemory | None = None
) -> TorchKernels:
    """The operations to run a network with on a device: fused ones on a GPU that compiles them, else PyTorch's own.

    Args:
        device: that the network runs on.
        layout: see `TorchKernels`.
        host: see `TorchKernels`.
    """
    return (FusedKernels if device.type == "cuda" and usable(device) else TorchKernels)(layout, host)


class FusedKernels(TorchKernels):
    """`TorchKernels` with one pass over a tensor for each operation beside a convolution.

    Tensors that the fused kernels do not take (float64, channels first) go to the plain operations. So does everything
    after a kernel has failed to compile: it is logged once.
    """

    def conv(self, x: Tensor, weight: Tensor, bias: Tensor | None, conv: Convolution) -> Tensor:
        """Forward, in the type of `x`; the result has the layout whatever algorithm made it."""
        return self.arranged(super().conv(x, weight, bias, conv))

    def input_gradient(self, dz: Tensor, weight: Tensor, shape: tuple[int, ...], conv: Convolution) -> Tensor:
        """From the output's gradient; the result has the layout whatever algorithm made it."""
        return self.arranged(super().input_gradient(dz, weight, shape, conv))

    def statistics(self, z: Tensor, per_sample: bool) -> Statistics:
        """Mean and (biased) variance over the batch and space, or over space alone."""
        voxels = z.numel() // z.shape[1]
        count = voxels // z.shape[0] if per_sample else voxels
        plain = super().statistics
        return _run(lambda: Statistics(*operations.moments(z, per_sample), count), lambda: plain(z, per_sample), z)

    def activate(
        self, z: Tensor, scale: Scale | None, slope: float | None, in_place: bool, into: Tensor | None = None
    ) -> Tensor:
        """act(norm(z)); in place it overwrites z, else it is written to new memory or `into` some."""
        plain = super().activate
        if into is not None:
            return _run(
                lambda: operations.activate(z, scale, slope, out=into),
                lambda: into.copy_(plain(z, scale, slope, False)),
                z,
                into,
            )
        out = z if in_place else None
        return _run(lambda: operations.activate(z, scale, slope, out=out), lambda: plain(z, scale, slope, in_place), z)

    def norm_sums(
        self, gradient: Tensor, z: Tensor, statistics: Statistics, inverse: Tensor, channels: slice
    ) -> tuple[Tensor, Tensor]:
        """Sums of the gradient and of gradient times normalised z, each (C,) or (B, C)."""
        mean, plain = statistics.mean[..., channels], super().norm_sums
        return _run(
            lambda: operations.gradient_sums(gradient, z, mean, inverse),
            lambda: plain(gradient, z, statistics, inverse, channels),
            gradient,
            z,
        )

    def norm_backward(
        self,
        gradient: Tensor,
        z: Tensor,
        scale: Scale,
        statistics: Statistics,
        sums: tuple[Tensor, Tensor],
        channels: slice,
        into: Tensor | None,
    ) -> None:
        """Write dL/dz = a (g - mean(g) - zhat mean(g zhat)) to `into`, None = over z."""
        mean, plain = statistics.mean[..., channels], super().norm_backward
        out = z if into is None else into

        def fused() -> None:
            operations.gradient_of_z(gradient, z, scale, mean, sums, None, count=statistics.count, out=out)

        _run(fused, lambda: plain(gradient, z, scale, statistics, sums, channels, into), gradient, z, out)

    def pool(self, y: Tensor) -> Tensor:
        """Max pooling by two."""
        plain = super().pool
        return _run(lambda: operations.pool(y, None, None), lambda: plain(y), y)

    def pool_backward(self, gradient: Tensor, y: Tensor) -> Tensor:
        """Gradient of the pooled tensor's source y."""
        plain = super().pool_backward
        return _run(lambda: operations.pool_backward(gradient, y, None, None), lambda: plain(gradient, y), gradient, y)

    def pool_activated(self, z: Tensor, scale: Scale | None, slope: float | None) -> Tensor:
        """Max pooling by two of act(norm(z))."""
        plain = super().pool_activated
        return _run(lambda: operations.pool(z, scale, slope), lambda: plain(z, scale, slope), z)

    def masked_sums(
        self, gradient: Tensor, y: Tensor, z: Tensor, scale: Scale, statistics: Statistics, slope: float | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """The gradient through the activation, in place, and the sums that the norm's backward pass needs of it."""
        plain = super().masked_sums

        def fused() -> tuple[Tensor, tuple[Tensor, Tensor]]:
            sums = operations.gradient_sums(
                gradient, z, statistics.mean, scale[2], scale=scale, slope=slope, masked=gradient
            )
            return gradient, sums

        return _run(fused, lambda: plain(gradient, y, z, scale, statistics, slope), gradient, z)

    def add_pool_backward(self, into: Tensor, gradient: Tensor, y: Tensor) -> None:
        """Add the gradient of the pooled tensor's source y."""
        plain = super().add_pool_backward

        def fused() -> None:
            operations.pool_backward(gradient, y, None, None, into=into)

        _run(fused, lambda: plain(into, gradient, y), into, gradient, y)

    def add_upsample_backward(self, into: Tensor, gradient: Tensor, i: int, j: int) -> None:
        """Add what rows i to j of the upsampled tensor give to the gradient of its source, which `into` is whole."""
        plain = super().add_upsample_backward

        def fused() -> None:
            operations.upsample_backward(gradient, into=into, rows=(i, j))

        _run(fused, lambda: plain(into, gradient, i, j), into, gradient)

    def upsample(self, x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
        """Trilinear, by two."""
        plain = super().upsample
        return _run(lambda: operations.upsample(x, None, None), lambda: plain(x, function), x)

    def upsample_backward(self, gradient: Tensor) -> Tensor:
        """The adjoint of `upsample`."""
        plain = super().upsample_backward
        return _run(lambda: operations.upsample_backward(gradient), lambda: plain(gradient), gradient)


def _run(fused: Callable[[], _Result], plain: Callable[[], _Result], *tensors: Tensor) -> _Result:
    """The fused way for tensors that it takes; the plain one for others, and from the first failure on."""
    if usable(tensors[0].device) and all(rows_of(x) is not None for x in tensors):
        try:
            return fused()
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # what a compiler raises has no common type
            report_failure(error)
    return plain()
