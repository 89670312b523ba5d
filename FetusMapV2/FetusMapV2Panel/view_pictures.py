"""Pictures for the report: Slicer's views as they are, or drawn off-screen where there are none to show."""

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
from FetusMapV2Panel.translations import translator

_ = translator(__name__)

#: A sheet has room for so many.
_MOST = 4


def openViews(volumeNode) -> list[Picture]:
    """The 3D view and the slice views that are open, with this volume alone in them; none without a main window."""
    if slicer.app.layoutManager() is None:
        return []
    with _alone(volumeNode):
        return _openViews(slicer.app.layoutManager())


def _openViews(layout) -> list[Picture]:
    views = [
        (_("3D view"), layout.threeDWidget(number).threeDView(), layout.threeDWidget(number).visible)
        for number in range(layout.threeDViewCount)
    ]
    for name in layout.sliceViewNames():
        widget = layout.sliceWidget(name)
        views.append((_("{0} slice view").format(name), widget.sliceView(), widget.visible))
    return [Picture(title, _png(view)) for title, view, visible in views if visible][:_MOST]


def drawnViews(volume: Volume, pose: Pose) -> tuple[list[Picture], str]:
    """Skeleton and planes of the fetus drawn off-screen, and why there are none if that cannot be done here."""
    from FetusMapV2Lib.scene.picture import view_pictures

    try:
        return [Picture(title, png) for title, png in view_pictures(volume, pose)], ""
    except UserError as error:
        return [], error.line(with_option=False)


@contextlib.contextmanager
def _alone(volumeNode) -> Iterator[None]:
    """With no other volume in any view: it may be another patient's. Where and how views cut stays as it is."""
    scene, own = volumeNode.GetScene(), volumeNode.GetID()
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


def _layersOf(node) -> tuple[str | None, ...]:
    return node.GetBackgroundVolumeID(), node.GetForegroundVolumeID(), node.GetLabelVolumeID()


def _setLayers(node, volumes: tuple[str | None, ...]) -> None:
    background, foreground, label = volumes
    node.SetBackgroundVolumeID(background)
    node.SetForegroundVolumeID(foreground)
    node.SetLabelVolumeID(label)


def _png(view) -> bytes:
    """What a view shows, rendered now."""
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
