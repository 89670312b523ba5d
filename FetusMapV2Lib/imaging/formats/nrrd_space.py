"""Where the voxels of a NRRD file are: its axes of space, and their directions, sizes and first voxel."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.imaging import geometry
from FetusMapV2Lib.imaging.file_inspection import bad_header
from FetusMapV2Lib.imaging.formats.header_fields import any_numbers, number, shown
from FetusMapV2Lib.imaging.formats.length_units import unit_note
from FetusMapV2Lib.imaging.formats.stored_voxels import NO_ORIENTATION, NO_POSITION, placed
from FetusMapV2Lib.imaging.volume import LPS_TO_RAS, Matrix
from FetusMapV2Lib.imaging.volume_checks import LEFT_HANDED

_TO_RAS = {
    **dict.fromkeys(("right-anterior-superior", "ras"), np.eye(4)),
    **dict.fromkeys(("left-anterior-superior", "las"), np.diag([-1.0, 1.0, 1.0, 1.0])),
    **dict.fromkeys(("left-posterior-superior", "lps"), LPS_TO_RAS),
}
_WITHOUT_PATIENT = ("scanner-xyz", "3d-right-handed", "3d-left-handed")
_CENTERS = {"cell", "node", "none", "???"}


@dataclass(frozen=True)
class Axes:
    """The axes of a NRRD file.

    Attributes:
        sizes: of all axes, the fastest first.
        space: the axes i, j, k.
        other: the axis of frames or colours, None if there is none.
        vectors: text of the direction of each axis, empty if none is stated.
    """

    sizes: tuple[int, ...]
    space: tuple[int, ...]
    other: int | None
    vectors: tuple[str, ...]

    @property
    def kept(self) -> list[int]:
        """Axes along which there is more than one value, and those of space."""
        return [axis for axis in range(len(self.sizes)) if axis in self.space or axis == self.other]

    @property
    def kept_sizes(self) -> tuple[int, ...]:
        """Sizes of these."""
        return tuple(self.sizes[axis] for axis in self.kept)

    @property
    def kept_other(self) -> int | None:
        """Number of the axis of frames or colours among these."""
        return None if self.other is None else self.kept.index(self.other)


def nrrd_matrix(fields: dict[str, str], axes: Axes, path: Path) -> tuple[Matrix, bool, list[str]]:
    """IJK to RAS of a NRRD file, whether it states a voxel size, and notes.

    Raises:
        InputError: numbers that are not finite, too few or too many; directions that are not at right angles.
        ValueError: text where numbers belong.
    """
    per_axis = _per_axis(fields, axes, path)
    to_ras, notes, timed = _space(fields, path)
    scalar = per_axis["spacings"][list(axes.space)]
    if not axes.vectors:
        known = not np.isnan(scalar).any()
        spacing = np.where(np.isnan(scalar), 1.0, scalar)
        origin = _origin(fields, timed, path)
        if origin is None:
            origin = _corner(fields, per_axis, axes, spacing) if known else np.zeros(3)
            to_ras = LPS_TO_RAS
        matrix = LPS_TO_RAS @ placed(np.eye(3), spacing, np.zeros(3), path)[0]
        matrix[:3, 3] = to_ras[:3, :3] @ geometry.position(origin, path)
        unit = unit_note(_units(fields, "units", axes), spacing)
        return matrix, known, [*notes, NO_ORIENTATION, *unit]
    columns = np.array([_vector(axes.vectors[axis], timed, path) for axis in axes.space]).T
    lengths = np.linalg.norm(columns, axis=0)
    geometry.spacing(lengths, path)
    if not np.isnan(scalar).any():
        notes += geometry.reconcile(
            "the voxel size", (lengths, "by its space directions"), (scalar, "by its spacings")
        )[1]  # fmt: skip
    origin = _origin(fields, timed, path)
    if origin is None:
        origin = np.zeros(3)
        notes.append(NO_POSITION)
    matrix, more = placed(columns / lengths, lengths, origin, path)
    unit = unit_note(_units(fields, "space units", axes), lengths)
    return to_ras @ matrix, True, [*notes, *more, *unit]


def _space(fields: dict[str, str], path: Path) -> tuple[Matrix, list[str], bool]:
    """The matrix from the file's space to RAS, notes, and whether the space has time as a fourth dimension."""
    name, dimension = fields.get("space", "").lower(), fields.get("space dimension")
    if name and dimension is not None:
        raise bad_header(path, "it states both space and space dimension")
    if "space directions" in fields and not name and dimension is None:
        raise bad_header(path, "space directions without a space")
    if dimension is not None and dimension != "3":
        raise bad_header(path, f"its space has {shown(dimension)} dimensions, not 3")
    timed = name.endswith("-time") or name in ("rast", "last", "lpst")
    plain = name.removesuffix("-time") if name.endswith("-time") else name[:3] if timed else name
    if plain in _TO_RAS:
        return _TO_RAS[plain], [], timed
    if plain and plain not in _WITHOUT_PATIENT:
        raise bad_header(path, f"there is no space '{shown(name)}'")
    if "space directions" not in fields:
        return LPS_TO_RAS, [], timed
    text = f"'{name}', which names" if name else "without names, which gives"
    notes = [f"its space is {text} no patient axes; left-posterior-superior was assumed: check left and right"]
    return LPS_TO_RAS, [*notes, LEFT_HANDED] if plain == "3d-left-handed" else notes, timed


def _vector(text: str, timed: bool, path: Path) -> list[float]:
    if not (text.startswith("(") and text.endswith(")")):
        raise bad_header(path, f"'{shown(text)}' is not a vector")
    values = [number(part.strip()) for part in text[1:-1].split(",")]
    if len(values) != (4 if timed else 3) or any(values[3:]):
        raise bad_header(path, f"'{shown(text)}' is not a vector of its space")
    return values[:3]


def _origin(fields: dict[str, str], timed: bool, path: Path) -> NDArray[np.float64] | None:
    text = fields.get("space origin")
    if text is None:
        return None
    if not fields.get("space") and "space dimension" not in fields:
        raise bad_header(path, "space origin without a space")
    parts = text.removeprefix("(").removesuffix(")").split(",")
    if len(text) - 2 != len(",".join(parts)):
        raise bad_header(path, f"'{shown(text)}' is not a place")
    # The format states an unknown position as NaN for each number.
    if all(part.strip().lower() == "nan" for part in parts):
        return None
    values = [number(part.strip()) for part in parts]
    if len(values) != (4 if timed else 3):
        raise bad_header(path, "space origin is not a place in its space")
    return np.array(values[:3])


def _per_axis(fields: dict[str, str], axes: Axes, path: Path) -> dict[str, NDArray[np.float64]]:
    """Numbers that are stated for each axis, NaN where one is not."""
    found = {}
    for name in ("spacings", "axis mins", "axis maxs", "thicknesses"):
        values = any_numbers(fields[name]) if name in fields else [math.nan] * len(axes.sizes)
        if len(values) != len(axes.sizes):
            raise bad_header(path, f"dimension and {name} disagree")
        found[name] = np.array(values)
    if "spacings" in fields:
        stated = found["spacings"][list(axes.space)]
        geometry.spacing(stated[~np.isnan(stated)] if not np.isnan(stated).all() else [1.0], path)
    centers = fields.get("centers", "").lower().split()
    if centers and (len(centers) != len(axes.sizes) or not _CENTERS.issuperset(centers)):
        raise bad_header(path, "centerings are not those of its axes")
    return found


def _corner(
    fields: dict[str, str], per_axis: dict[str, NDArray[np.float64]], axes: Axes, spacing: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Position of the first voxel by the lower ends of the axes, 0 if these are not stated."""
    chosen = list(axes.space)
    low = per_axis["axis mins"][chosen]
    centers = fields.get("centers", "").lower().split() or ["cell"] * len(axes.sizes)
    half = np.array([0.0 if centers[axis] == "node" else 0.5 for axis in chosen])
    return np.zeros(3) if np.isnan(low).any() else low + half * spacing


def _units(fields: dict[str, str], name: str, axes: Axes) -> list[str]:
    """Units of the axes of space, as far as they are stated."""
    try:
        found = shlex.split(fields.get(name, ""))
    except ValueError:
        return []
    if name == "space units":
        return found[:3]
    return [found[axis] for axis in axes.space if axis < len(found)]
