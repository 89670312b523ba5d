"""Slicer's slice and 3D views without a window: the real displayable managers, rendered off-screen to arrays.

Used for pictures; the application has its own views.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray
from vtkmodules.util import numpy_support
from vtkmodules.vtkCommonMath import vtkMatrix4x4
from vtkmodules.vtkRenderingCore import (
    vtkActor2D,
    vtkImageMapper,
    vtkRenderer,
    vtkRenderWindow,
    vtkRenderWindowInteractor,
    vtkWindowToImageFilter,
)

from FetusMapV2Lib.anatomy.fetal_slices import SlicePose
from FetusMapV2Lib.scene.scene_files import application_of
from FetusMapV2Lib.scene.slice_turning import turn_slice
from FetusMapV2Lib.scene.triton_first import load_triton

Array = NDArray[np.float64]
Image = NDArray[np.uint8]


class OffscreenView:
    """A render window with Slicer's displayable managers.

    Args:
        scene: a scene of `scene_files.new_scene`.
        managers: names of displayable manager classes.
        size: width and height in pixels.
    """

    def __init__(self, scene: slicer.vtkMRMLScene, managers: tuple[str, ...], size: tuple[int, int]) -> None:
        load_triton()
        self.size = size
        self.application = application_of(scene)
        self.renderer = vtkRenderer()
        self.window = vtkRenderWindow()
        self.window.SetOffScreenRendering(1)
        self.window.ShowWindowOff()
        # With multi-sampling, depth peeling silently drops translucent planes on software renderers.
        self.window.SetMultiSamples(0)
        self.window.SetSize(*size)
        self.window.AddRenderer(self.renderer)
        self.interactor = vtkRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        self.interactor.EnableRenderOff()
        self.group = slicer.vtkMRMLDisplayableManagerGroup()
        self.group.SetRenderer(self.renderer)
        for name in managers:
            manager = getattr(slicer, name)()
            # Not by the factories: these are singletons of the application's own views.
            manager.SetMRMLApplicationLogic(self.application.logic)
            self.group.AddDisplayableManager(manager)

    def image(self) -> Image:
        """The rendered view, (height, width, 3) uint8, first row on top."""
        self.window.Render()
        grabber = vtkWindowToImageFilter()
        grabber.SetInput(self.window)
        grabber.ReadFrontBufferOff()
        grabber.ShouldRerenderOff()
        grabber.Update()
        output = grabber.GetOutput()
        width, height, _ = output.GetDimensions()
        pixels = numpy_support.vtk_to_numpy(output.GetPointData().GetScalars())
        return np.array(pixels.reshape(height, width, -1)[::-1, :, :3])

    def close(self) -> None:
        """Release the scene and the render window."""
        self.group.SetMRMLDisplayableNode(None)
        self.group.SetRenderer(None)
        self.window.Finalize()


class SliceView(OffscreenView):
    """A slice view, like Red, Yellow and Green."""

    _MANAGERS: tuple[str, ...] = ("vtkMRMLModelSliceDisplayableManager", "vtkMRMLMarkupsDisplayableManager")

    def __init__(self, scene: slicer.vtkMRMLScene, name: str, size: tuple[int, int]) -> None:
        super().__init__(scene, self._MANAGERS, size)
        self.renderer.GetActiveCamera().ParallelProjectionOn()
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(self.application.logic)
        self.application.logic.GetSliceLogics().AddItem(self.logic)
        self.logic.SetMRMLScene(scene)
        self.node = self.logic.AddSliceNode(name)
        self.node.SetMappedInLayout(1)
        self.node.SetDimensions(*size, 1)
        self._mapper = vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        actor = vtkActor2D()
        actor.SetMapper(self._mapper)
        actor.GetProperty().SetDisplayLocationToBackground()
        self.renderer.AddViewProp(actor)
        self.group.SetMRMLDisplayableNode(self.node)

    def image(self) -> Image:
        """The rendered view; the reslicing pipeline is known once the volume is set."""
        self._mapper.SetInputConnection(self.logic.GetImageDataConnection())
        return super().image()

    def look_at(self, volume_node: Any, cut: SlicePose) -> None:
        """Show the volume in the plane of `cut`."""
        self.logic.GetSliceCompositeNode().SetBackgroundVolumeID(volume_node.GetID())
        turn_slice(self.node, cut)

    def to_pixels(self, points: Array) -> Array:
        """(N, 2) pixels (x to the right, y down) of world points (N, 3)."""
        matrix = vtkMatrix4x4()
        vtkMatrix4x4.Invert(self.node.GetXYToRAS(), matrix)
        xy = np.array([matrix.MultiplyPoint((*point, 1.0))[:2] for point in points]).reshape(-1, 2)
        return np.column_stack([xy[:, 0], self.size[1] - 1 - xy[:, 1]])


class ThreeDView(OffscreenView):
    """A 3D view with a fixed camera."""

    _MANAGERS = (
        "vtkMRMLCameraDisplayableManager",
        "vtkMRMLViewDisplayableManager",
        "vtkMRMLModelDisplayableManager",
        "vtkMRMLMarkupsDisplayableManager",
    )

    def __init__(
        self, scene: slicer.vtkMRMLScene, size: tuple[int, int], background: tuple[float, float, float]
    ) -> None:
        super().__init__(scene, self._MANAGERS, size)
        self.renderer.SetUseDepthPeeling(True)
        self.logic = slicer.vtkMRMLViewLogic()
        self.logic.SetMRMLApplicationLogic(self.application.logic)
        self.application.logic.GetViewLogics().AddItem(self.logic)
        self.logic.SetMRMLScene(scene)
        self.node = self.logic.AddViewNode("1")
        self.node.SetMappedInLayout(1)
        self.node.SetBoxVisible(False)
        self.node.SetAxisLabelsVisible(False)
        self.node.SetBackgroundColor(*background)
        self.node.SetBackgroundColor2(*background)
        self.group.SetMRMLDisplayableNode(self.node)

    def look_at(self, centre: Array, towards: Array, up: Array, height_mm: float) -> None:
        """Look along the unit vector `towards` at `centre` (RAS mm), `height_mm` of it from top to bottom."""
        camera = self.renderer.GetActiveCamera()
        camera.ParallelProjectionOn()
        camera.SetFocalPoint(*centre)
        camera.SetPosition(*(np.asarray(centre) - 400.0 * np.asarray(towards)))
        camera.SetViewUp(*up)
        camera.SetParallelScale(height_mm / 2)
        self.renderer.ResetCameraClippingRange()

    def to_pixels(self, points: Array) -> Array:
        """(N, 2) pixels (x to the right, y down) of world points (N, 3)."""
        pixels = []
        for point in points:
            self.renderer.SetWorldPoint(*point, 1.0)
            self.renderer.WorldToDisplay()
            x, y, _ = self.renderer.GetDisplayPoint()
            pixels.append((x, self.size[1] - 1 - y))
        return np.array(pixels, dtype=float).reshape(-1, 2)
