"""Where the picture shows the outer skin near landmarks that lie on it.

A crown-rump length goes from skin to skin: where bright tissue ends in dark fluid, the picture tells the place better
than a network with voxels of 1-2 mm.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from FetusMapV2Lib.anatomy.skin_landmarks import outward_directions
from FetusMapV2Lib.imaging.edge_profiles import means_beside, skin_beyond_mm
from FetusMapV2Lib.imaging.sampling import greys_at
from FetusMapV2Lib.imaging.volume import Volume

Array = NDArray[np.float64]

_STEP_MM = 0.1
#: An edge is looked for this far from a landmark, inwards and outwards, on rays within a disc of this radius.
_REACH_MM, _DISC_MM = 4.0, 2.0
#: Rays of the disc: one in its middle, and so many on each of two rings.
_RINGS = (6, 12)
#: Smoothing of the mean profile, and the stretches whose means are compared on both sides of an edge.
_SMOOTH_MM, _STRETCH_MM = 0.3, 1.5
#: How much darker it is beyond a clear edge than before it, as a share of the greys' range there.
_CLEAR = 0.4
#: What an edge at the end of the reach has to be clearer by than one at the landmark, in the same units.
_FAR = 0.25
#: The surface is looked for from this far before to this far beyond the clearest place of the edge.
_BEFORE_MM, _BEYOND_MM = 2.0, 3.0


def landmarks_on_skin(volume: Volume, positions: Array) -> Array:
    """Landmarks of the skin where the picture shows its edge.

    Args:
        volume: ultrasound.
        positions: (22, 3) RAS mm of a body, its landmarks within `_REACH_MM` of where they are.

    Returns:
        (22, 3) RAS mm, NaN for landmarks that do not lie on the skin and for those near which no clear edge is seen.
    """
    directions = outward_directions(positions)
    placed = np.full(positions.shape, np.nan)
    for row in np.flatnonzero(np.isfinite(directions).all(axis=1)):
        placed[row] = positions[row] + _skin_mm(volume, positions[row], directions[row]) * directions[row]
    return placed


def _skin_mm(volume: Volume, point: Array, outwards: Array) -> float:
    """How far outwards of a point (3,) RAS mm the skin's surface lies, mm; NaN where no clear edge is seen."""
    margin = _REACH_MM + _BEYOND_MM + _SMOOTH_MM
    steps = np.arange(-margin, margin + _STEP_MM / 2, _STEP_MM)
    greys = greys_at(volume, (point + _disc(outwards))[:, None] + steps[:, None] * outwards)
    known = np.isfinite(greys)
    if not known.any(axis=0).all():  # near the border of the volume nothing is known of what lies beyond
        return np.nan
    contrast = float(np.subtract(*np.percentile(greys[known], (95, 5))))
    profile = gaussian_filter1d(np.nanmean(greys, axis=0), _SMOOTH_MM / _STEP_MM)
    before, after = means_beside(profile[None], round(_STRETCH_MM / _STEP_MM))
    clearness = (before - after)[0] / max(contrast, 1e-6)
    near = np.abs(steps) <= _REACH_MM
    best = int(np.argmax(np.where(near, clearness - _FAR * (steps / _REACH_MM) ** 2, -np.inf)))
    if clearness[best] < _CLEAR:
        return np.nan
    around = (steps >= steps[best] - _BEFORE_MM) & (steps <= steps[best] + _BEYOND_MM)
    return float(steps[best]) + skin_beyond_mm(greys[:, around], steps[around] - steps[best])


def _disc(normal: Array) -> Array:
    """Points (19, 3) of a disc around the origin, across a unit vector."""
    across = np.linalg.svd(normal[None])[2][1:]
    radii = np.concatenate([[0.0], *(np.full(n, _DISC_MM * (r + 1) / len(_RINGS)) for r, n in enumerate(_RINGS))])
    turns = np.concatenate([[0.0], *(np.arange(n) * (2 * np.pi / n) for n in _RINGS)])
    return np.asarray(radii[:, None] * (np.cos(turns)[:, None] * across[0] + np.sin(turns)[:, None] * across[1]))
