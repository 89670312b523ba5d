"""The parts of a pose that can be switched off in all views: names, skeleton, midsagittal plane, callipers."""

from __future__ import annotations

import enum
from typing import Any

from FetusMapV2Lib.scene import appearance
from FetusMapV2Lib.scene.pose_scene import PoseScene

#: Attribute of display nodes that are switched off. What a user hides elsewhere in Slicer does not have it.
_OFF = "FetusMapV2.SwitchedOff"


class PosePart(enum.Enum):
    """A part; the points themselves are always shown."""

    NAMES = "names"
    SKELETON = "skeleton"
    PLANE = "plane"
    CALLIPERS = "callipers"


def switch(fetus: PoseScene, part: PosePart, *, on: bool) -> None:
    """Show or hide a part of a pose; does nothing if it is as wanted."""
    nodes = [node for node in _nodes(fetus, part) if node is not None]
    if on:
        appearance.show_again(nodes, _OFF)
    else:
        appearance.hide(nodes, _OFF)


def _nodes(fetus: PoseScene, part: PosePart) -> list[Any]:
    if part is PosePart.NAMES:
        return [fetus.names_node]
    if part is PosePart.SKELETON:
        return [fetus.skeleton_node, *fetus.slice_skeleton_nodes]
    if part is PosePart.PLANE:
        return [fetus.plane_node, fetus.trace_node]
    return [fetus.calliper_node, *fetus.line_nodes.values(), *fetus.sections.nodes]
