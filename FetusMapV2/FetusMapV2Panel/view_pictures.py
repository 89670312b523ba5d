"""Pictures for the report: screenshots of Slicer's views, or drawn off-screen if no view is open."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.reporting.report import Picture
from FetusMapV2Lib.scene.node_lookup import nodes_by_class
from FetusMapV2Panel.nodes import VolumeNode
from FetusMapV2Panel.translations import translator

_ = translator(__name__)

#: IDs of the background, foreground and label volume of a slice view.
Layers = tuple[str | None, str | None, str | None]

#: The most pictures that fit on a report.
_MAX_PICTURES = 4


def openViews(volumeNode: VolumeNode) -> list[Picture]:
    """Pictures of the open 3D and slice views, with this volume only; none without a main window."""
    layout = slicer.app.layoutManager()
    if layout is None:
        return []
    with _noOtherVolume(volumeNode):
        return _openViews(layout)


def _openViews(layout: slicer.LayoutManager) -> list[Picture]:
    views = [
        (_("3D view"), layout.threeDWidget(number).threeDView(), layout.threeDWidget(number).visible)
        for number in range(layout.threeDViewCount)
    ]
    for name in layout.sliceViewNames():
        widget = layout.sliceWidget(name)
        views.append((_("{0} slice view").format(name), widget.sliceView(), widget.visible))
    return [Picture(title, _png(view)) for title, view, visible in views if visible][:_MAX_PICTURES]


def drawnViews(volume: Volume, pose: Pose) -> tuple[list[Picture], str]:
    """Pictures of skeleton and planes drawn off-screen, and "", or no pictures and the reason."""
    from FetusMapV2Lib.scene.picture import view_pictures

    try:
        return [Picture(title, png) for title, png in view_pictures(volume, pose)], ""
    except UserError as error:
        return [], error.line(with_option=False)


@contextlib.contextmanager
def _noOtherVolume(volumeNode: VolumeNode) -> Iterator[None]:
    """Hide all other volumes in all views, as they may be of another patient; positions of slices do not change."""
    scene, own = slicer.mrmlScene, volumeNode.GetID()
    layers = [(node, _layersOf(node)) for node in nodes_by_class(scene, "vtkMRMLSliceCompositeNode")]
    rendered = nodes_by_class(scene, "vtkMRMLVolumeRenderingDisplayNode")
    others = [node for node in rendered if node.GetVisibility() and node.GetDisplayableNode() is not volumeNode]
    for node, _before in layers:
        _setLayers(node, (own, None, None))
    for node in others:
        node.SetVisibility(False)
    try:
        yield
    finally:
        for node, before in layers:
            _setLayers(node, before)
        for node in others:
            node.SetVisibility(True)


def _layersOf(node: slicer.vtkMRMLSliceCompositeNode) -> Layers:
    return node.GetBackgroundVolumeID(), node.GetForegroundVolumeID(), node.GetLabelVolumeID()


def _setLayers(node: slicer.vtkMRMLSliceCompositeNode, volumes: Layers) -> None:
    background, foreground, label = volumes
    node.SetBackgroundVolumeID(background)
    node.SetForegroundVolumeID(foreground)
    node.SetLabelVolumeID(label)


def _png(view: slicer.View) -> bytes:
    """A picture of a view, rendered now."""
    view.forceRender()
    grabber = vtk.vtkWindowToImageFilter()
    grabber.SetInput(view.renderWindow())
    grabber.ReadFrontBufferOff()
    grabber.ShouldRerenderOff()
    writer = vtk.vtkPNGWriter()
    writer.SetInputConnection(grabber.GetOutputPort())
    writer.WriteToMemoryOn()
    writer.Write()
    return vtk_to_numpy(writer.GetResult()).tobytes()
