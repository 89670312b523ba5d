"""The guide map as a picture on a label, drawn anew at the size and sharpness that the label has."""

from __future__ import annotations

import qt

from FetusMapV2Lib.reporting.guide_map import guide_map

_SHAPE = 0.62
_SMALLEST = 300
#: From this width on there is room for the names of the landmarks.
_NAMES_FROM = 760


def showGuideMap(label, pose, plane, states) -> None:
    """Show the map of a pose, or nothing without one."""
    if pose is None:
        label.clear()
        return
    width = max(label.width, _SMALLEST)
    sharpness = label.devicePixelRatioF()
    names = width >= _NAMES_FROM
    height = round(width * (0.45 if names else _SHAPE))
    svg = guide_map(pose, plane, size=(width, height), scale=sharpness, names=names, states=states)
    picture = qt.QPixmap()
    picture.loadFromData(qt.QByteArray(svg.encode("utf-8")), "SVG")
    picture.setDevicePixelRatio(sharpness)
    label.setPixmap(picture)
