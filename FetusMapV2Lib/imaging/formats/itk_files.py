"""Reading NRRD, MetaImage and NIfTI, 3D and 4D.

Their headers are read strictly and their voxels unpacked with a checksum here: bytes of a file that may be damaged
never reach a reader that trusts them.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.file_inspection import FileFacts
from FetusMapV2Lib.imaging.formats.metaimage import parse_metaimage
from FetusMapV2Lib.imaging.formats.nifti import parse_nifti
from FetusMapV2Lib.imaging.formats.nrrd import parse_nrrd
from FetusMapV2Lib.imaging.formats.packed_voxels import Chain
from FetusMapV2Lib.imaging.formats.stored_voxels import Stored, number_of_bytes
from FetusMapV2Lib.imaging.source import Source
from FetusMapV2Lib.imaging.volume_checks import grey

#: Compressed sequences that take no more than this many bytes unpacked are kept in memory.
_HELD_BYTES = 1 << 27
COLOUR = "colour was turned into grey"


def open_itk(path: Path, facts: FileFacts) -> Source:
    """Open a file that `inspect_file` found to be NRRD, MetaImage or NIfTI.

    Raises:
        InputError: 2D, more than 4D, sheared, or a header that cannot be right.
    """
    if facts.kind == "nrrd":
        stored = parse_nrrd(path)
    elif facts.kind == "metaimage":
        stored = parse_metaimage(path)
    else:
        stored = parse_nifti(path, facts.head)
    return stored_source(stored)


def stored_source(stored: Stored) -> Source:
    """The volumes that a header describes, each read when it is asked for.

    Raises:
        InputError: a file with their voxels is missing or too short.
    """
    remarks: list[str] = []
    _chain(stored).check()
    small = stored.packing != "raw" and number_of_bytes(stored) <= _HELD_BYTES
    frames = _ConsecutiveFrames(stored, remarks) if stored.is_consecutive and not small else _WholeFile(stored, remarks)
    return Source(
        stored.count, lambda t: (frames.read(t), stored.matrix), stored.spacing_known,
        (*stored.notes, *([COLOUR] if stored.colour else [])), stored.times_s, remarks,
    )  # fmt: skip


class _WholeFile:
    """A volume, or a sequence that is unpacked once as a whole: a small one, or one with interleaved frames."""

    def __init__(self, stored: Stored, remarks: list[str]) -> None:
        self._stored, self._remarks = stored, remarks
        self._held: NDArray[Any] | None = None

    def read(self, t: int) -> NDArray[Any]:
        """The array [k, j, i] of volume `t`."""
        stored = self._stored
        if self._held is not None:
            return np.array(self._held[t], order="C")
        chain = _chain(stored)
        try:
            array = _filled(chain, stored.sizes[::-1], stored)
            _finish(chain, stored, self._remarks)
        finally:
            chain.close()
        if stored.other is None:
            return array
        axis = len(stored.sizes) - 1 - stored.other
        if stored.colour:
            return grey(np.moveaxis(array, axis, -1))
        self._held = np.moveaxis(array, axis, 0)
        return np.array(self._held[t], order="C")


class _ConsecutiveFrames:
    """Frames stored one after another; reading forward reads nothing twice once the checksum is verified."""

    def __init__(self, stored: Stored, remarks: list[str]) -> None:
        self._stored, self._remarks = stored, remarks
        self._chain: Chain | None = None
        self._next = 0
        self._checked = False

    def read(self, t: int) -> NDArray[Any]:
        """The array [k, j, i] of volume `t`."""
        stored = self._stored
        length = math.prod(stored.shape) * stored.kind.itemsize
        if self._chain is None or t < self._next:
            self.close()
            self._chain, self._next = _chain(stored), 0
        try:
            self._chain.skip((t - self._next) * length)
            array = _filled(self._chain, stored.shape, stored)
            self._next = t + 1
            if not self._checked:
                # The checksum of compressed data is at its end.
                self._chain.skip((stored.count - self._next) * length)
                _finish(self._chain, stored, self._remarks)
                self._checked = True
                self.close()
        except BaseException:
            self.close()
            raise
        return array

    def close(self) -> None:
        """Close the file."""
        if self._chain is not None:
            self._chain.close()
        self._chain = None

    def __del__(self) -> None:
        self.close()


def _chain(stored: Stored) -> Chain:
    return Chain(stored.parts, stored.packing, number_of_bytes(stored), stored.kind, _most_surplus(stored))


def _most_surplus(stored: Stored) -> int:
    """Bytes behind the voxels that may be padding: less than one slice."""
    return stored.shape[1] * stored.shape[2] * stored.kind.itemsize - 1


def _finish(chain: Chain, stored: Stored, remarks: list[str]) -> None:
    """Verify the checksum, and note bytes behind the voxels.

    Raises:
        InputError: a wrong checksum, or so much data that the sizes must be wrong.
    """
    chain.finish()
    if chain.surplus > _most_surplus(stored):
        sizes = " x ".join(str(size) for size in stored.sizes)
        raise InputError(
            f"the file is damaged: it holds more voxels than the {sizes} that its header states", where=stored.path,
            remedy="Export or copy it again",
        )  # fmt: skip
    if chain.surplus:
        note = f"{chain.surplus} bytes behind the voxels that the header states were left out"
        if note not in remarks:
            remarks.append(note)


def _filled(chain: Chain, shape: tuple[int, ...], stored: Stored) -> NDArray[Any]:
    array = np.empty(shape, stored.kind)
    chain.fill(memoryview(array.reshape(-1).view(np.uint8).data))
    if not array.dtype.isnative:
        array = array.byteswap(inplace=True).view(array.dtype.newbyteorder("="))
    if stored.scale is None:
        return array
    slope, intercept = stored.scale
    scaled = array * np.float64(slope) + np.float64(intercept)
    return scaled if stored.kind.itemsize == 8 else scaled.astype(np.float32)
