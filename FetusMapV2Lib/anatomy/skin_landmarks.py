"""Landmarks that lie on the outer skin, and which way out of the body the skin is.

Of the nose, the cord and the nape an edge of the skin does not tell the place: the nose is small, the cord goes on
beyond the skin, and a nuchal translucency has an edge of its own below it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.schema import default_schema

Array = NDArray[np.float64]

#: Landmarks on the skin, and between which places each lies outwards: the second ones are inside or behind the body.
#: Of the rump two ways are in between, along the lower spine and along the crown-rump length.
_OUTWARDS: dict[str, tuple[tuple[str, ...], ...]] = {
    "cranial_crest": (("chin", "hind_neck"),),
    "forehead": (("cranial_crest", "hind_neck"),),
    "chin": (("hind_neck",),),
    "rump": (("lumbosacral_spine",), ("cranial_crest",)),
}


def skin_rows() -> tuple[int, ...]:
    """Rows of these landmarks in a pose array."""
    return tuple(default_schema().index(key) for key in _OUTWARDS)


def outward_directions(positions: Array) -> Array:
    """Unit vectors out of the body at the landmarks on the skin.

    Args:
        positions: (22, 3) mm; NaN = missing.

    Returns:
        (22, 3), NaN for other landmarks and where one that tells the direction is missing or in the same place.
    """
    schema = default_schema()
    directions = np.full(positions.shape, np.nan)
    for key, origins in _OUTWARDS.items():
        row = schema.index(key)
        ways = [positions[row] - positions[[schema.index(one) for one in origin]].mean(axis=0) for origin in origins]
        directions[row] = _unit(np.sum([_unit(way) for way in ways], axis=0))
    return directions


def _unit(vector: Array) -> Array:
    """The vector with a length of 1; NaN if it has none."""
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else np.full(3, np.nan)
