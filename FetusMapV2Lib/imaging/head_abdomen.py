"""Head and abdomen of a fetus measured in its volume: planes from the landmarks, ellipses from the greys."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.body_sections import BodySection, HeadAndAbdomen, SectionKey
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.section_planes import moved_plane
from FetusMapV2Lib.anatomy.standard_planes import NoPlane, SectionPlane, abdomen_plane, head_plane
from FetusMapV2Lib.imaging.outlines import find_outline
from FetusMapV2Lib.imaging.volume import Volume

Array = NDArray[np.float64]

#: An outline counts as measured if its edge is seen on so much of it, and nowhere missing over a wider angle (degrees).
LEAST_SEEN, WIDEST_GAP_DEG = 0.7, 90.0
#: A circumference that differs by more than this factor from the usual one at the crown-rump length is no outline.
_LARGEST_FACTOR = 1.6


def measure_head_and_abdomen(volume: Volume, pose: Pose) -> HeadAndAbdomen:
    """HC, BPD, OFD and AC of a pose in its volume; nothing of a doubtful pose.

    Args:
        volume: that the pose was estimated in.
        pose: RAS mm.

    Returns:
        Sections with ellipses; where an edge is not seen, a section without one says why.
    """
    if pose.doubt:
        return HeadAndAbdomen.unknown("it is doubtful whether the landmarks are those of a fetus")
    return HeadAndAbdomen(_section("head", head_plane(pose), volume), _section("abdomen", abdomen_plane(pose), volume))


def measure_in_plane(volume: Volume, section: BodySection, origin: Array, normal: Array) -> tuple[BodySection, bool]:
    """Head or abdomen in another plane, which a person chose; where no edge is seen, the earlier ellipse goes along.

    Args:
        volume: that the pose was estimated in.
        section: as it is now, with a plane.
        origin: (3,) a point of the other plane, RAS mm.
        normal: (3,) its normal.

    Returns:
        The section, set by hand, and whether its edge is seen. Where it is not and there was no ellipse before, it has
        none, but a reason.
    """
    assert section.plane is not None
    plane = moved_plane(section, origin, normal)
    found = _section(section.key, plane, volume, keep_plane=True)
    if found.ellipse is not None:
        return found.with_ellipse(found.ellipse), True
    if section.ellipse is None:
        return found, False
    return section.with_ellipse(replace(section.ellipse, x_mm=0.0, y_mm=0.0), plane), False


def _section(
    key: SectionKey, plane: SectionPlane | NoPlane, volume: Volume, *, keep_plane: bool = False
) -> BodySection:
    if isinstance(plane, NoPlane):
        return BodySection(key, None, reason=plane.reason)
    edge = "skull" if key == "head" else "skin"
    outline = find_outline(volume, plane, keep_plane=keep_plane)
    if outline is None:
        return BodySection(key, plane, reason=f"the edge of the {edge} is not seen")
    if outline.seen < LEAST_SEEN:
        reason = f"the edge of the {edge} is seen on {100 * outline.seen:.0f} % of the outline only"
        return BodySection(key, outline.plane, seen=outline.seen, reason=reason)
    if outline.widest_gap_deg > WIDEST_GAP_DEG:
        reason = f"the edge of the {edge} is not seen over {outline.widest_gap_deg:.0f} degrees"
        return BodySection(key, outline.plane, seen=outline.seen, reason=reason)
    factor = sum((outline.ellipse.major_mm, outline.ellipse.minor_mm)) / sum(plane.half_axes_mm)
    if not 1 / _LARGEST_FACTOR < factor < _LARGEST_FACTOR:
        reason = f"the outline that was found is {factor:.1f} times as large as usual at this crown-rump length"
        return BodySection(key, outline.plane, seen=outline.seen, reason=reason)
    return BodySection(key, outline.plane, outline.ellipse, outline.seen)
