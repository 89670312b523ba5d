"""Turning Slicer's views to the fetus; does nothing without a main window."""

from __future__ import annotations

import numpy as np
import slicer

from FetusMapV2Lib.anatomy.pose import Pose


def show(volumeNode, pose: Pose) -> None:
    """Show the volume in the slice views, cut through the middle of the fetus, and the whole of it in 3D."""
    if slicer.app.layoutManager() is None:
        return
    slicer.util.setSliceViewerLayers(background=volumeNode, fit=True)
    centre = np.nanmean(pose.positions, axis=0)
    slicer.modules.markups.logic().JumpSlicesToLocation(*(float(value) for value in centre), True)
    slicer.util.resetThreeDViews()
