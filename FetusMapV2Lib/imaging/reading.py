"""Reading volumes and sequences of volumes from files and DICOM folders.

The kind of a file is found from its content; every bad input raises an `InputError` of one line.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.file_inspection import inspect_file
from FetusMapV2Lib.imaging.formats.itk_files import open_itk
from FetusMapV2Lib.imaging.formats.kretz import HANDEDNESS, Handedness, kretz_source
from FetusMapV2Lib.imaging.source import Source, as_input_error
from FetusMapV2Lib.imaging.volume import Volume, VolumeSequence
from FetusMapV2Lib.imaging.volume_checks import LEFT_HANDED, SPACING_REMEDY, check_shape, checked, with_warnings

Spacing = float | tuple[float, float, float]

_SUFFIXES = (
    ".seq.nrrd", ".nii.gz", ".hdr.gz", ".img.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".nii", ".hdr", ".img", ".dcm",
    ".vol", ".v00", ".gz",
)  # fmt: skip


def read_volume(
    path: str | os.PathLike[str],
    *,
    spacing: Spacing | None = None,
    mirrored: bool = False,
    kretz_handedness: Handedness = "slicerheart",
) -> Volume:
    """Read one volume: NRRD, MetaImage, NIfTI, DICOM (file or folder), or GE Kretz.

    Args:
        path: a file, or a folder with one DICOM volume.
        spacing: voxel size in mm (one number, or i, j, k) to use in place of the file's.
        mirrored: the device or its reader mirrors the volume; see `Volume.mirrored`.
        kretz_handedness: which open reader's convention to follow for the sign of y in a Kretz volume.

    Returns:
        The volume; of a sequence the first frame, with a warning that says so.

    Raises:
        InputError: the file is missing, damaged, or holds no usable volume.

    Examples:
        >>> volume = fm.read_volume("case-0000.nrrd")
        >>> volume.name, volume.shape, volume.spacing
        ('case-0000', (92, 63, 63), (1.5, 1.5, 1.5))
    """
    frames = read_sequence(path, spacing=spacing, mirrored=mirrored, kretz_handedness=kretz_handedness)
    volume = frames[0]
    if len(frames) > 1:
        volume = with_warnings(volume, [f"the file holds {len(frames)} volumes over time; the first is used"])
    return volume


def read_sequence(
    path: str | os.PathLike[str],
    *,
    spacing: Spacing | None = None,
    mirrored: bool = False,
    kretz_handedness: Handedness = "slicerheart",
) -> Frames:
    """Open a sequence of volumes; each frame is read when it is asked for. A 3D file gives one frame.

    Arguments and errors as for `read_volume`; a bad frame raises when it is read.

    Examples:
        >>> frames = fm.read_sequence("case-0000.nrrd")
        >>> [frame.shape for frame in frames], frames.times_s
        ([(92, 63, 63)], None)
    """
    if kretz_handedness not in HANDEDNESS:
        raise InputError(f"unknown Kretz handedness '{kretz_handedness}'", remedy=f"Use {' or '.join(HANDEDNESS)}")
    source_path = Path(path)
    if spacing is not None:
        values = (spacing,) * 3 if isinstance(spacing, int | float) else tuple(spacing)
        if len(values) != 3:
            raise InputError("the spacing must be one number or three", where=source_path, remedy="Give i, j, k in mm")
        if not all(np.isfinite(value) and value > 0 for value in values):
            remedy = "Give the true voxel size in mm"
            raise InputError("the spacing given is not positive", where=source_path, remedy=remedy)
        spacing = (float(values[0]), float(values[1]), float(values[2]))
    with as_input_error(source_path):
        source = _open(source_path, kretz_handedness)
    return Frames(source_path, source, spacing, mirrored)


class Frames(VolumeSequence):
    """The volumes of a file, read one at a time."""

    def __init__(self, path: Path, source: Source, spacing: Spacing | None, mirrored: bool) -> None:
        self._path, self._source, self._spacing, self._mirrored = path, source, spacing, mirrored

    def __len__(self) -> int:
        return self._source.count

    @property
    def times_s(self) -> NDArray[np.float64] | None:
        """(T,) when each frame was taken, seconds, increasing; None if the file does not say."""
        return None if self._source.times_s is None else np.array(self._source.times_s)

    def _read(self, number: int) -> Volume:
        with as_input_error(self._path):
            array, matrix = self._source.load(number)
        check_shape(array.shape, str(self._path))
        name = volume_name(self._path) + (f"_{number:04d}" if len(self) > 1 else "")
        # The voxel size given by the user makes notes of the file about it obsolete.
        stated = (*self._source.notes, *self._source.remarks)
        notes = tuple(note for note in stated if self._spacing is None or SPACING_REMEDY not in note)
        notes = tuple(note for note in notes if not (self._mirrored and note == LEFT_HANDED))
        volume = Volume(array, matrix, name, str(self._path), notes)
        known = self._source.spacing_known
        if self._spacing is not None:
            volume = volume.with_spacing(self._spacing)
        elif not known:
            note = f"the file does not state a voxel size; 1.0 mm was assumed: {SPACING_REMEDY}"
            volume = with_warnings(volume, [note])
        given = self._spacing is not None or not known
        volume = checked(volume, spacing_given=given, handedness_given=self._mirrored)
        return volume.mirrored() if self._mirrored else volume


def volume_name(path: str | os.PathLike[str]) -> str:
    """Name of the case in a volume file: the file name without the suffixes of its format."""
    # Bytes of a name that are not UTF-8 are mostly Latin-1; decoded as such they can be printed and written anywhere.
    name = "".join(chr(ord(one) - 0xDC00) if 0xDC80 <= ord(one) <= 0xDCFF else one for one in Path(path).name)
    for suffix in _SUFFIXES:
        if name.lower().endswith(suffix) and len(name) > len(suffix):
            return name[: -len(suffix)]
    return name


def _open(path: Path, handedness: Handedness) -> Source:
    facts = None if path.is_dir() else inspect_file(path)
    if facts is None or facts.kind == "dicom":
        from FetusMapV2Lib.imaging.dicom import opening  # other files are read without loading pydicom

        return opening.open_dicom_folder(path, handedness) if facts is None else opening.open_dicom(path, handedness)
    if facts.kind == "kretz":
        return kretz_source(path.read_bytes(), path, handedness)
    return open_itk(path, facts)


__all__: list[Any] = ["Frames", "Spacing", "read_sequence", "read_volume", "volume_name"]
