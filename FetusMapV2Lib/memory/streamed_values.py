"""Slabs of values of a streamed top level: made from the input with halos, or back from host memory.

No tensor of full resolution is ever on the device but the input. What a pass needs again is computed again, or was
written to host memory. Halos make every slab exact: the result is that of the whole volume up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor

from FetusMapV2Lib.memory.kernels import Statistics, TorchKernels, cut
from FetusMapV2Lib.memory.offload import HostRows
from FetusMapV2Lib.memory.plan import Choices
from FetusMapV2Lib.memory.rows import RowConv, coarse_rows
from FetusMapV2Lib.memory.top_level import Top
from FetusMapV2Lib.memory.unit_kinds import ConvUnit
from FetusMapV2Lib.memory.units import ALL, Source, Unit


class StreamedValues:
    """The values of the top level's units a slab of rows at a time, and what is known of them between the passes.

    Args:
        top: the network.
        choices: `slab_rows`, `streamed_to_host` (which tensors go to host memory).
        kernels: operations on tensors, or on their sizes.
        keep: False at inference.
    """

    def __init__(self, top: Top, choices: Choices, kernels: TorchKernels, *, keep: bool = True) -> None:
        self.top, self.choices, self.kernels, self.keep = top, choices, kernels, keep
        self.statistics: dict[Unit, Statistics] = {}
        self._scales: dict[Unit, tuple[Tensor, Tensor, Tensor]] = {}
        self.slab: dict[tuple[str, Unit], tuple[int, int, Tensor]] = {}
        self.host: dict[tuple[str, Unit], HostRows] = {}
        self._filled: dict[tuple[str, Unit], int] = {}  # rows of a host tensor that are there
        self.given: dict[Unit, Tensor] = {}  # the input, and what is made from it without weights
        self.below: Tensor | None = None

    def begin(self, volume: Tensor) -> None:
        """Take the input (B, C, K, J, I), and make what lies beside it at its resolution without weights."""
        self.volume, self.rows = volume, int(volume.shape[2])
        self.given[self.top.graph.input] = volume
        for unit in self.top.beside:
            self.given[unit] = self.kernels.call(unit, [volume])[0]

    def clear(self) -> None:
        """Release everything."""
        self.statistics, self._scales, self.slab, self.host, self.given = {}, {}, {}, {}, {}
        self.below = None

    def z(self, unit: ConvUnit, i: int, j: int) -> Tensor:
        """Rows of a convolution's output."""
        return self._remembered("z", unit, i, j, lambda: self._convolve(unit, i, j))

    def y(self, unit: Unit, i: int, j: int) -> Tensor:
        """Rows of a unit's value."""
        if unit in self.given:
            return self.given[unit][:, :, i:j]
        conv = self.top.convolution[unit]
        return self._activate(conv, self.z(conv, i, j), in_place=False)

    def logits(self, i: int, j: int) -> Tensor:
        """Rows of the network's output."""
        return self._convolve(self.top.head, i, j)

    def _convolve(self, unit: ConvUnit, i: int, j: int) -> Tensor:
        kernels, conv = self.kernels, RowConv.of(unit.conv)
        weight = kernels.parameter(unit.conv.weight)
        bias = None if unit.conv.bias is None else kernels.parameter(unit.conv.bias)
        result: Tensor | None = None
        for source in unit.sources:
            for part in self._parts(unit, source):
                into = slice(source.offset + part.start, source.offset + part.stop)
                x = self._haloed(lambda a, b, s=source, p=part: self._source_rows(s, a, b, p), i, j, conv.halo)  # type: ignore[misc]
                found = kernels.conv(x, weight[:, into], bias if result is None else None, conv)
                del x
                if result is None:
                    result = found
                else:
                    kernels.add(result, found)
                del found
        assert result is not None
        return result

    def _parts(self, unit: ConvUnit, source: Source) -> list[slice]:
        """Slices of a source's channels; what is upsampled comes in slices as wide as the unit."""
        if source.upsample is None:
            count = unit.conv.in_channels - source.offset
            others = [s.offset for s in unit.sources if s.offset > source.offset]
            return [slice(0, min([count, *(o - source.offset for o in others)]))]
        return cut(unit.conv.in_channels - source.offset, unit.channels)

    def _source_rows(self, source: Source, a: int, b: int, part: slice) -> Tensor:
        if source.upsample is None:
            return self.y(source.unit, a, b)
        assert self.below is not None
        c, d = coarse_rows(a, b, self.rows // 2)
        coarse = self.kernels.cast(self.below[:, part, c:d], self.volume.dtype)
        return self.kernels.upsample(coarse, source.upsample)[:, :, a - 2 * c : b - 2 * c]

    def _haloed(self, rows: Callable[[int, int], Tensor], i: int, j: int, halo: int) -> Tensor:
        """Rows with their neighbours, zeros beyond the volume."""
        a, b = max(i - halo, 0), min(j + halo, self.rows)
        x = rows(a, b)
        before, after = a - (i - halo), (j + halo) - b
        return self.kernels.pad_rows(x, before, after) if before or after else x

    # -- slabs that are there already --------------------------------------------------------------------------

    def _slabs(self) -> Iterator[tuple[int, int]]:
        step = max(2, self.choices.slab_rows - self.choices.slab_rows % 2)
        for i in range(0, self.rows, step):
            self.slab = {}
            yield i, min(i + step, self.rows)
        self.slab = {}

    def _remembered(self, kind: str, unit: Unit, i: int, j: int, make: Callable[[], Tensor]) -> Tensor:
        """Rows that this slab has made already, that wait in host memory, or fresh ones."""
        key = (kind, unit)
        known = self.slab.get(key)
        if known is not None and known[0] <= i and j <= known[1]:
            return known[2][:, :, i - known[0] : j - known[0]]
        self.slab.pop(key, None)
        if key in self.host and self._complete(key):
            rows = self.kernels.rows_to_device(self.host[key], i, j, self.volume)
        else:
            rows = make()
        self.slab[key] = (i, j, rows)
        return rows

    def _to_host(self, kind: str, unit: Unit, i: int, j: int, rows: Tensor) -> None:
        if not self.keep or not self.choices.streams_to_host(kind, unit.name):
            return
        key = (kind, unit)
        if key not in self.host:
            self.host[key] = self.kernels.host_room((*rows.shape[:2], self.rows, *rows.shape[3:]), rows)
        if not self._complete(key):
            self.kernels.rows_to_host(self.host[key], i, j, rows)
            self._filled[key] = j

    def _complete(self, key: tuple[str, Unit]) -> bool:
        return self._filled.get(key, 0) == self.rows

    def _scale(self, unit: ConvUnit) -> tuple[Tensor, Tensor, Tensor]:
        norm = unit.norm
        assert norm is not None
        if unit in self._scales:  # found once, not anew for each slab
            return self._scales[unit]
        gamma = None if norm.weight is None else self.kernels.parameter(norm.weight)
        beta = None if norm.bias is None else self.kernels.parameter(norm.bias)
        self._scales[unit] = self.kernels.scale_and_shift(self.statistics[unit], gamma, beta, norm.eps, ALL)
        return self._scales[unit]

    def _activate(self, unit: ConvUnit, z: Tensor, in_place: bool) -> Tensor:
        scale = None if unit.norm is None else self._scale(unit)
        return self.kernels.activate(z, scale, unit.slope, in_place)
