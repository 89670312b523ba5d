"""Steps on what is measured by hand other than dragging it, each of which can be undone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.body_sections import BodySection, SectionKey
from FetusMapV2Lib.anatomy.nuchal import first_callipers
from FetusMapV2Lib.anatomy.section_handles import handles_of
from FetusMapV2Lib.anatomy.section_planes import section_cut_by
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.scene import undo_history
from FetusMapV2Lib.scene.control_points import world_to_local
from FetusMapV2Lib.scene.hand_measures import HandMeasures
from FetusMapV2Lib.scene.pose_scene import PoseScene
from FetusMapV2Lib.scene.slice_turning import plane_of

Array = NDArray[np.float64]


def propose_again(fetus: PoseScene, *keys: SectionKey) -> bool:
    """Drop outlines set by hand, so that those found in the volume are shown; true if there were any."""
    before = now = HandMeasures.load(fetus.landmarks_node)
    for key in keys:
        now = now.with_handles(key, None)
    changed = any(before.handles(key) is not None for key in keys)
    if changed:
        _step(fetus, now)
    return changed


def use_shown_plane(fetus: PoseScene, volume: Volume, slice_node: Any) -> tuple[BodySection | None, bool]:
    """Measure head or abdomen, whichever a slice view cuts across, in the plane that it shows.

    Args:
        fetus: whose outlines were searched before.
        volume: that the pose was estimated in.
        slice_node: vtkMRMLSliceNode of the view.

    Returns:
        The section as a person set it now, and whether its edge is seen. None if the view cuts neither; without an
        ellipse, and nothing is changed, if none was there and no edge is seen.
    """
    from FetusMapV2Lib.imaging.head_abdomen import measure_in_plane

    shown = fetus.sections.sections()
    origin, normal = plane_of(slice_node)
    section = None if shown is None else section_cut_by(shown, origin, normal)
    if section is None:
        return None, False
    measured, seen = measure_in_plane(volume, section, origin, normal)
    handles = handles_of(measured)
    if handles is not None:
        local = world_to_local(fetus.landmarks_node, handles)
        _step(fetus, HandMeasures.load(fetus.landmarks_node).with_handles(measured.key, local))
    return measured, seen


def start_nuchal_try(fetus: PoseScene) -> bool:
    """Show callipers behind the neck, to be dragged to the edges of the fluid; false if the neck is missing."""
    places = first_callipers(fetus.pose())
    if places is None:
        return False
    local = world_to_local(fetus.landmarks_node, places)
    _step(fetus, HandMeasures.load(fetus.landmarks_node).with_try(local))
    return True


def remove_nuchal_try(fetus: PoseScene) -> bool:
    """Remove the last try; false if there is none."""
    stored = HandMeasures.load(fetus.landmarks_node)
    if not len(stored.nuchal):
        return False
    _step(fetus, stored.without_last_try())
    return True


def _step(fetus: PoseScene, now: HandMeasures) -> None:
    undo_history.enable(fetus.scene)
    undo_history.save_state(fetus.scene)
    now.save(fetus.landmarks_node)
