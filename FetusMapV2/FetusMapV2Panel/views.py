"""Turning Slicer's views to the fetus; does nothing without a main window."""

from __future__ import annotations

import math

import numpy as np
import slicer

from FetusMapV2Lib.anatomy.planes import fetal_axes, midsagittal_plane
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.scene.viewpoints import best_viewpoint

# Square views need no room for names beside the fetus.
_VIEW_SIZE, _NO_MARGIN = (600, 600), 0


def show(volumeNode, pose: Pose) -> None:
    """Show the volume in the slice views, cut through the middle of the fetus, and the upright fetus in 3D."""
    if slicer.app.layoutManager() is None:
        return
    slicer.util.setSliceViewerLayers(background=volumeNode, fit=True)
    centre = np.nanmean(pose.positions, axis=0)
    slicer.modules.markups.logic().JumpSlicesToLocation(*(float(value) for value in centre), True)
    slicer.util.resetThreeDViews()
    _faceFetus(pose)


def _faceFetus(pose: Pose) -> None:
    """Look at the fetus from its front, from the side on which its landmarks hide one another least."""
    plane = midsagittal_plane(pose.positions)
    if plane is None:
        return
    view = best_viewpoint(pose.positions, fetal_axes(plane), _VIEW_SIZE, _NO_MARGIN)
    for camera in slicer.util.getNodesByClass("vtkMRMLCameraNode"):
        distance = view.height_mm / 2 / math.tan(math.radians(camera.GetViewAngle()) / 2)
        camera.SetFocalPoint(*view.centre)
        camera.SetPosition(*(view.centre - distance * view.towards))
        camera.SetViewUp(*view.up)
        camera.SetParallelScale(view.height_mm / 2)
        camera.ResetClippingRange()
