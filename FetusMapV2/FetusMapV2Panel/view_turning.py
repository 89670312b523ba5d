"""Turning Slicer's views to the fetus; does nothing without a main window."""

from __future__ import annotations

import contextlib
import enum
import math

import numpy as np
import slicer

from FetusMapV2Lib.anatomy.planes import fetal_axes, midsagittal_plane
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.scene import pose_nodes
from FetusMapV2Lib.scene.slice_turning import turn_slice
from FetusMapV2Lib.scene.viewpoints import best_viewpoint, slice_poses

# Square views need no room for names beside the fetus.
_VIEW_SIZE, _NO_MARGIN = (600, 600), 0


#: How Slicer's slice views look at a volume at first.
_OWN_AXES = {"Red": "Axial", "Yellow": "Sagittal", "Green": "Coronal"}


class Direction(enum.Enum):
    """A standard plane of the fetus; the value is the slice view that is turned into it, where it is open."""

    MIDSAGITTAL = "Yellow"
    CORONAL = "Green"
    TRANSVERSE = "Red"


def renderPaused() -> contextlib.AbstractContextManager:
    """A context in which no view renders: one picture of all that follows a move, not one of every part of it."""
    return slicer.util.RenderBlocker() if slicer.app.layoutManager() is not None else contextlib.nullcontext()


def volumeOnShow():
    """The volume in the background of the slice views, None without one."""
    layers = pose_nodes.of_class(slicer.mrmlScene, "vtkMRMLSliceCompositeNode")
    found = (slicer.mrmlScene.GetNodeByID(node.GetBackgroundVolumeID() or "") for node in layers)
    return next((node for node in found if node is not None), None)


def showVolume(volumeNode) -> None:
    """Show a volume in the slice views, with no other one over it."""
    if slicer.app.layoutManager() is None or volumeNode is None:
        return
    layers = pose_nodes.of_class(slicer.mrmlScene, "vtkMRMLSliceCompositeNode")
    if not all(node.GetBackgroundVolumeID() == volumeNode.GetID() for node in layers):
        slicer.util.setSliceViewerLayers(background=volumeNode, foreground=None, label=None, fit=True)


def show(volumeNode, pose: Pose) -> None:
    """Show the volume in the slice views, cut through the middle of the fetus, and the upright fetus in 3D."""
    if slicer.app.layoutManager() is None:
        return
    showVolume(volumeNode)
    slicer.util.setSliceViewerLayers(background=volumeNode, fit=True)
    _jumpToMiddle(pose)
    slicer.util.resetThreeDViews()
    _faceFetus(pose)


def turnTo(pose: Pose, *directions: Direction) -> bool:
    """Turn slice views into standard planes of the fetus, the whole of it in sight.

    Returns:
        False if no slice view is open, or the pose has no landmark.
    """
    if slicer.app.layoutManager() is None or not pose.present.any():
        return False
    nodes = {node.GetLayoutName(): node for node in slicer.util.getNodesByClass("vtkMRMLSliceNode")}
    shown = {name: node for name, node in nodes.items() if node.IsMappedInLayout()}
    if not shown:
        return False
    plane = midsagittal_plane(pose.positions)
    cuts = slice_poses(pose.positions, fetal_axes(plane), plane, default_schema(), aspect=1.0)
    for direction, cut in zip(Direction, cuts, strict=True):
        if direction in directions:
            turn_slice(shown.get(direction.value) or next(iter(shown.values())), cut)
    return True


def turnBack(pose: Pose | None) -> None:
    """Give the slice views the volume's own axes again, cut through the middle of the fetus."""
    for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        if node.GetLayoutName() in _OWN_AXES:
            node.SetOrientation(_OWN_AXES[node.GetLayoutName()])
    if pose is not None and pose.present.any():
        _jumpToMiddle(pose)


def _jumpToMiddle(pose: Pose) -> None:
    centre = np.nanmean(pose.positions, axis=0)
    slicer.modules.markups.logic().JumpSlicesToLocation(*(float(value) for value in centre), True)


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
