"""The guide map as a picture on a label, drawn at the size and resolution of the label."""

from __future__ import annotations

from collections.abc import Sequence

import qt

from FetusMapV2Lib.anatomy.planes import Plane
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.reporting.guide_map import guide_map

#: Height over width, without and with names.
_ASPECT, _ASPECT_WITH_NAMES = 0.62, 0.45
#: Pixels; a map of the second width has room for the names of the landmarks.
_MIN_WIDTH, _MIN_WIDTH_WITH_NAMES = 160, 760


def showGuideMap(label: qt.QLabel, pose: Pose | None, plane: Plane | None, states: Sequence[str]) -> None:
    """Show the map of a pose; nothing without one."""
    if pose is None:
        label.clear()
        return
    width = max(label.width, _MIN_WIDTH)
    scale = label.devicePixelRatioF()
    names = width >= _MIN_WIDTH_WITH_NAMES
    height = round(width * (_ASPECT_WITH_NAMES if names else _ASPECT))
    svg = guide_map(pose, plane, size=(width, height), scale=scale, names=names, states=states)
    picture = qt.QPixmap()
    picture.loadFromData(qt.QByteArray(svg.encode("utf-8")), "SVG")
    picture.setDevicePixelRatio(scale)
    label.setPixmap(picture)
