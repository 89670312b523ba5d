"""Steps on the planes of the open case: those of the fetus, of the volume, and of the outlines of head and abdomen."""

from __future__ import annotations

from FetusMapV2Lib.anatomy.body_sections import SectionKey
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.scene import section_editing
from FetusMapV2Lib.scene.slice_turning import turn_slice
from FetusMapV2Lib.serving.open_case import OpenCase


def show_planes(case: OpenCase, which: str) -> None:
    """Turn the slices to the planes of the "fetus", or else to the axes of the volume."""
    pose = case.poses.pose() if case.poses is not None else None
    if which == "fetus" and pose is not None:
        case.views.show_planes(pose)
    else:
        case.views.show_axes(pose)


def propose_again(case: OpenCase) -> None:
    """Drop the outlines set by hand, so that those found in the volume are shown."""
    if case.poses is not None:
        section_editing.propose_again(case.poses, "head", "abdomen")


def use_shown_plane(case: OpenCase) -> None:
    """Measure head or abdomen in the plane that the Red view shows.

    Raises:
        InputError: it cuts neither across, or no edge is seen in it.
    """
    case.find_outlines()
    if case.poses is None:
        return
    section, seen = section_editing.use_shown_plane(case.poses, case.volume, case.views.views["Red"].node)
    if section is None:
        remedy = "Go to one of them first"
        raise InputError("the Red view cuts neither head nor abdomen across", remedy=remedy)
    if section.ellipse is None:
        raise InputError(f"not measured in this plane: {section.reason}", remedy="Scroll to another one")
    if not seen:
        raise InputError("the edge is not seen in this plane", remedy="Drag the ellipse onto it")


def show_section(case: OpenCase, key: SectionKey) -> None:
    """Turn the Red view to the plane of the head or of the abdomen.

    Raises:
        InputError: there is no such plane.
    """
    case.find_outlines()
    found = None if case.poses is None else case.poses.sections.sections()
    if found is None:
        return
    section = found.section(key)
    view = case.views.views["Red"]
    cut = section.cut(view.size[0] / max(view.size[1], 1))
    if cut is None:
        raise InputError(f"there is no plane of the {section.key}: {section.reason}")
    turn_slice(view.node, cut)
