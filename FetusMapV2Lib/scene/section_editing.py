"""Steps on what is measured by hand other than dragging it, each of which can be undone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.body_sections import SectionKey
from FetusMapV2Lib.anatomy.nuchal import first_callipers
from FetusMapV2Lib.scene import undo_history
from FetusMapV2Lib.scene.control_points import world_to_local
from FetusMapV2Lib.scene.hand_measures import HandMeasures
from FetusMapV2Lib.scene.pose_scene import PoseScene

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
