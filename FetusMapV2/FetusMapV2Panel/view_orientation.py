"""Orients Slicer's views to the fetus; does nothing without a main window."""

from __future__ import annotations

import contextlib
import enum
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import slicer

from FetusMapV2Lib.anatomy.fetal_slices import SlicePose, slice_poses
from FetusMapV2Lib.anatomy.planes import fetal_axes
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.scene.node_lookup import nodes_by_class
from FetusMapV2Lib.scene.slice_turning import turn_slice
from FetusMapV2Lib.scene.viewpoints import best_viewpoint
from FetusMapV2Panel.nodes import VolumeNode

# Square views need no room for names beside the fetus.
_VIEW_SIZE, _NO_MARGIN = (600, 600), 0


#: The orientations that Slicer's slice views start with.
_DEFAULT_ORIENTATIONS = {"Red": "Axial", "Yellow": "Sagittal", "Green": "Coronal"}


class FetalPlane(enum.Enum):
    """A standard plane of the fetus; the value is the slice view that shows it, if that view is open."""

    MIDSAGITTAL = "Yellow"
    CORONAL = "Green"
    TRANSVERSE = "Red"


def pausedRendering() -> contextlib.AbstractContextManager[None]:
    """A context in which no view renders, so that an edit with all its consequences is rendered once."""
    return slicer.util.RenderBlocker() if slicer.app.layoutManager() is not None else contextlib.nullcontext()


def shownVolume() -> VolumeNode | None:
    """The volume in the background of the slice views; None without one."""
    layers = nodes_by_class(slicer.mrmlScene, "vtkMRMLSliceCompositeNode")
    found = (slicer.mrmlScene.GetNodeByID(node.GetBackgroundVolumeID() or "") for node in layers)
    return next((node for node in found if node is not None), None)


def showVolume(volumeNode: VolumeNode | None) -> None:
    """Show a volume, and no other one, in the slice views."""
    if slicer.app.layoutManager() is None or volumeNode is None:
        return
    layers = nodes_by_class(slicer.mrmlScene, "vtkMRMLSliceCompositeNode")
    if not all(node.GetBackgroundVolumeID() == volumeNode.GetID() for node in layers):
        slicer.util.setSliceViewerLayers(background=volumeNode, foreground=None, label=None, fit=True)


def showPose(volumeNode: VolumeNode | None, pose: Pose) -> None:
    """Show the volume in the slice views, with slices through the centre of the fetus, and the upright fetus in 3D."""
    if slicer.app.layoutManager() is None:
        return
    showVolume(volumeNode)
    slicer.util.setSliceViewerLayers(background=volumeNode, fit=True)
    _jumpToCentre(pose)
    slicer.util.resetThreeDViews()
    _pointCamerasAtFetus(pose)


def showPlanes(pose: Pose, *planes: FetalPlane) -> bool:
    """Turn slice views into standard planes of the fetus, with the whole fetus visible.

    Returns:
        False if no slice view is open, or the pose has no landmark.
    """
    if slicer.app.layoutManager() is None or not pose.present.any():
        return False
    nodes = {node.GetLayoutName(): node for node in slicer.util.getNodesByClass("vtkMRMLSliceNode")}
    shown = {name: node for name, node in nodes.items() if node.IsMappedInLayout()}
    if not shown:
        return False
    midsagittal = pose.midsagittal_plane
    slices = slice_poses(pose.positions, fetal_axes(midsagittal), midsagittal, pose.schema, aspect=1.0)
    for plane, slice_pose in zip(FetalPlane, slices, strict=True):
        if plane in planes:
            turn_slice(shown.get(plane.value) or next(iter(shown.values())), slice_pose)
    return True


def showCut(cut: Callable[[float], SlicePose | None], plane: FetalPlane) -> bool:
    """Turn the slice view of a standard plane, or the first that is open, to another slice.

    Args:
        cut: returns the slice for a view of an aspect, width over height.
        plane: whose view is taken.

    Returns:
        False if no slice view is open, or there is no slice.
    """
    view = viewOf(plane)
    if view is None:
        return False
    width, height, _depth = view.GetDimensions()
    wanted = cut(width / max(height, 1))
    if wanted is not None:
        turn_slice(view, wanted)
    return wanted is not None


def viewOf(plane: FetalPlane) -> Any:
    """The vtkMRMLSliceNode of the view of a standard plane, or of the first that is open; None without one."""
    if slicer.app.layoutManager() is None:
        return None
    nodes = {node.GetLayoutName(): node for node in slicer.util.getNodesByClass("vtkMRMLSliceNode")}
    shown = {name: node for name, node in nodes.items() if node.IsMappedInLayout()}
    return shown.get(plane.value) or next(iter(shown.values()), None)


def turnToFetus(pose: Pose) -> bool:
    """Turn each open slice view to its plane of the fetus, or the only one to the midsagittal plane.

    Returns:
        False if no slice view is open, or the pose has no midsagittal plane.
    """
    if slicer.app.layoutManager() is None or pose.midsagittal_plane is None:
        return False
    nodes = slicer.util.getNodesByClass("vtkMRMLSliceNode")
    shown = {node.GetLayoutName() for node in nodes if node.IsMappedInLayout()}
    own = [plane for plane in FetalPlane if plane.value in shown]
    return showPlanes(pose, *own if len(shown) > 1 else [FetalPlane.MIDSAGITTAL])


def resetOrientations(pose: Pose | None) -> None:
    """Reset the slice views to their default orientations, with slices through the centre of the fetus."""
    for node in slicer.util.getNodesByClass("vtkMRMLSliceNode"):
        if node.GetLayoutName() in _DEFAULT_ORIENTATIONS:
            node.SetOrientation(_DEFAULT_ORIENTATIONS[node.GetLayoutName()])
    if pose is not None and pose.present.any():
        _jumpToCentre(pose)


def _jumpToCentre(pose: Pose) -> None:
    centre = np.nanmean(pose.positions, axis=0)
    r, a, s = (float(value) for value in centre)
    slicer.modules.markups.logic().JumpSlicesToLocation(r, a, s, True)


def _pointCamerasAtFetus(pose: Pose) -> None:
    """View the upright fetus from the direction in which its landmarks overlap least."""
    plane = pose.midsagittal_plane
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
