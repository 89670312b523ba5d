"""Head and loss as one operation: passes over slabs of rows, in which no heatmap is ever stored whole."""

from __future__ import annotations

from torch import Tensor

from FetusMapV2Lib.memory.gradients import Gradients
from FetusMapV2Lib.memory.head import HeadLoss
from FetusMapV2Lib.memory.kernels import Statistics, cut, sum_type
from FetusMapV2Lib.memory.unit_kinds import ConvUnit
from FetusMapV2Lib.memory.units import ALL


class FusedHead:
    """Passes over slabs of the body's output: statistics of the loss, sums of the norm's backward, its gradient.

    Args:
        units: the head and the unit that it reads, see `UnitGraph.head`.
        z: output of the body's convolution; the backward part overwrites it with its gradient.
        statistics: of the body's norm.
        scale: of the body's norm, see `TorchKernels.scale_and_shift`.
        gradients: where those of the head and of the norm are added.
    """

    def __init__(
        self,
        units: tuple[ConvUnit, ConvUnit],
        z: Tensor,
        statistics: Statistics | None,
        scale: tuple[Tensor, Tensor, Tensor] | None,
        gradients: Gradients,
    ) -> None:
        self.head, self.body = units
        self.z, self.statistics, self.scale, self.gradients = z, statistics, scale, gradients
        self.kernels = gradients.kernels
        self.weight = self.kernels.parameter(self.head.conv.weight)
        self.bias = None if self.head.conv.bias is None else self.kernels.parameter(self.head.conv.bias)
        self.type = sum_type(z.dtype)

    def run(self, loss: HeadLoss, slab_rows: int, *, back: bool) -> Tensor:
        """The loss; `back` overwrites z with its gradient.

        Args:
            loss: of the head's output.
            slab_rows: rows of a slab.
            back: run the backward part too.
        """
        self.loss, self.rows = loss, cut(self.z.shape[2], slab_rows)
        shape = (self.z.shape[0], self.head.channels, *self.z.shape[2:])
        loss.begin(shape, self.z.device, self.type)
        for number in range(loss.passes):
            for rows in self.rows:
                loss.accumulate(number, self._logits(self._value(rows)), rows)
        value = loss.value()
        if back:
            sums = self._sums()
            if sums is not None:
                self.gradients.add_affine(self.body, sums, ALL)
            for rows in self.rows:
                self._write(rows, sums)
        return value

    def _value(self, rows: slice) -> Tensor:
        z = self.kernels.cast(self.z[:, :, rows], self.type)
        if self.body.norm is None and self.body.slope is None:
            return z
        return self.kernels.activate(z, self.scale, self.body.slope, in_place=False)

    def _logits(self, y: Tensor) -> Tensor:
        return self.kernels.conv(y, self.weight, self.bias, self.head.conv)

    def _gradient(self, rows: slice, first: bool) -> tuple[Tensor, Tensor]:
        """The body's value of a slab and its gradient; on the first round the head's own gradients are summed too."""
        kernels, head = self.kernels, self.head
        y = self._value(rows)
        upstream = self.loss.gradient(self._logits(y), rows)
        if first:
            if head.conv.weight.requires_grad:
                found = kernels.weight_gradient(upstream, y, self.weight, head.conv)
                self.gradients.add(head.conv.weight, (ALL,), found)
            if head.conv.bias is not None:
                self.gradients.add(head.conv.bias, (ALL,), kernels.bias_gradient(upstream, head.conv.bias))
        return y, kernels.input_gradient(upstream, self.weight, tuple(y.shape), head.conv)

    def _sums(self) -> tuple[Tensor, Tensor] | None:
        """Sums over the grid that the norm's backward pass needs, and the head's gradients."""
        statistics = self.statistics
        if self.scale is None or statistics is None:
            return None
        total: tuple[Tensor, Tensor] | None = None
        for rows in self.rows:
            y, gradient = self._gradient(rows, first=True)
            z = self.kernels.cast(self.z[:, :, rows], self.type)
            gradient, found = self.kernels.masked_sums(gradient, y, z, self.scale, statistics, self.body.slope)
            del y
            if total is None:
                total = found
            else:
                self.kernels.add(total[0], found[0])
                self.kernels.add(total[1], found[1])
            del gradient, z
        return total

    def _write(self, rows: slice, sums: tuple[Tensor, Tensor] | None) -> None:
        y, gradient = self._gradient(rows, first=sums is None)
        gradient = self.kernels.mask(gradient, y, self.body.slope)
        del y
        z = self.z[:, :, rows]
        if sums is None:
            self.kernels.copy(z, gradient)
            return
        statistics = self.statistics
        assert statistics is not None and self.scale is not None
        self.kernels.norm_backward(gradient, z, self.scale, statistics, sums, ALL, None)
