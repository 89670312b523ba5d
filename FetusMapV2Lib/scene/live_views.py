"""Slicer's slice and 3D views without a window that react to the mouse: the same managers and styles as in Slicer.

Whoever shows them elsewhere passes mouse events to `interactor`, and draws again when `on_change` is called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray
from vtkmodules.vtkCommonCore import vtkCommand, vtkLogger
from vtkmodules.vtkInteractionStyle import vtkInteractorStyleUser
from vtkmodules.vtkRenderingCore import vtkInteractorStyle3D

from FetusMapV2Lib.anatomy.fetal_slices import slice_poses
from FetusMapV2Lib.anatomy.planes import fetal_axes
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.scene.node_lookup import nodes_by_class
from FetusMapV2Lib.scene.offscreen_views import OffscreenView, SliceView, ThreeDView
from FetusMapV2Lib.scene.slice_focus import focus_on
from FetusMapV2Lib.scene.slice_turning import turn_slice
from FetusMapV2Lib.scene.viewpoints import best_viewpoint

Array = NDArray[np.float64]

#: The slice views by name, with the orientation that each starts with, as in Slicer.
ORIENTATIONS = {"Red": "Axial", "Yellow": "Sagittal", "Green": "Coronal"}
#: The standard planes of the fetus, and the slice view that shows each.
PLANES = {"midsagittal": "Yellow", "coronal": "Green", "transverse": "Red"}
_SIZE = (400, 400)
_BACKGROUND = (0.06, 0.06, 0.09)


class LiveSliceView(SliceView):
    """A slice view that reacts to the mouse.

    Args:
        scene: a scene of `scene_files.new_scene`.
        name: of the view; one of `ORIENTATIONS`.
    """

    _MANAGERS = ("vtkMRMLCrosshairDisplayableManager", *SliceView._MANAGERS)

    def __init__(self, scene: slicer.vtkMRMLScene, name: str) -> None:
        super().__init__(scene, name, _SIZE)
        self.node.SetOrientation(ORIENTATIONS[name])
        self._style = slicer.vtkMRMLSliceViewInteractorStyle()
        self._style.SetSliceLogic(self.logic)
        self._style.SetDisplayableManagers(self.group)
        self.interactor.SetInteractorStyle(vtkInteractorStyleUser())
        self._style.SetInteractor(self.interactor)
        self.interactor.Initialize()

    def resize(self, width: int, height: int) -> None:
        """Give the view another size in pixels."""
        self.size = (width, height)
        self.interactor.UpdateSize(width, height)
        self.logic.ResizeSliceNode(width, height)

    def show_volume(self, volume_node: Any) -> None:
        """Show a volume as a whole."""
        self.logic.GetSliceCompositeNode().SetBackgroundVolumeID(volume_node.GetID())
        self.logic.FitSliceToBackground()

    def prepare(self) -> None:
        """Call before the window is drawn: the reslicing pipeline is known once a volume is shown."""
        self._mapper.SetInputConnection(self.logic.GetImageDataConnection())


class LiveThreeDView(ThreeDView):
    """A 3D view that reacts to the mouse.

    Args:
        scene: a scene of `scene_files.new_scene`.
    """

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        super().__init__(scene, _SIZE, _BACKGROUND)
        self._style = slicer.vtkMRMLThreeDViewInteractorStyle()
        self._style.SetDisplayableManagers(self.group)
        self._style.SetInteractor(self.interactor)
        self.interactor.SetInteractorStyle(vtkInteractorStyle3D())
        self.interactor.Initialize()

    def resize(self, width: int, height: int) -> None:
        """Give the view another size in pixels."""
        self.size = (width, height)
        self.interactor.UpdateSize(width, height)

    def prepare(self) -> None:
        """Call before the window is drawn."""


class LiveViews:
    """The four views of a scene: Red, Yellow, Green and 3D.

    Attributes:
        views: by name; the slice views and "3D".

    Args:
        scene: a scene of `scene_files.new_scene`.
        on_change: called with the name of a view whenever it has to be drawn again.
    """

    def __init__(self, scene: slicer.vtkMRMLScene, on_change: Callable[[str], None]) -> None:
        self._scene = scene
        self.views: dict[str, LiveSliceView | LiveThreeDView] = {
            **{name: LiveSliceView(scene, name) for name in ORIENTATIONS},
            "3D": LiveThreeDView(scene),
        }
        for name, view in self.views.items():
            view.group.AddObserver(vtkCommand.UpdateEvent, lambda caller, event, name=name: on_change(name))

    @property
    def slices(self) -> list[LiveSliceView]:
        """The slice views."""
        return [view for view in self.views.values() if isinstance(view, LiveSliceView)]

    def show_volume(self, volume_node: Any) -> None:
        """Show a volume as a whole in all slice views."""
        for view in self.slices:
            view.show_volume(volume_node)

    def show_pose(self, pose: Pose) -> None:
        """Slices through the centre of the fetus, and the upright fetus in 3D; does nothing without a landmark."""
        if not pose.present.any():
            return
        self._jump_to_centre(pose)
        plane, view = pose.midsagittal_plane, self.views["3D"]
        if plane is not None and isinstance(view, LiveThreeDView):
            best = best_viewpoint(pose.positions, fetal_axes(plane), view.size, 0)
            view.look_at(best.centre, best.towards, best.up, best.height_mm)

    def show_planes(self, pose: Pose) -> None:
        """Turn the slice views to the midsagittal, a coronal and a transverse plane of the fetus."""
        if not pose.present.any():
            return
        midsagittal = pose.midsagittal_plane
        cuts = slice_poses(pose.positions, fetal_axes(midsagittal), midsagittal, pose.schema, aspect=1.0)
        for name, cut in zip(PLANES.values(), cuts, strict=True):
            turn_slice(self.views[name].node, cut)

    def show_axes(self, pose: Pose | None) -> None:
        """Reset the slice views to the axes of the volume, through the centre of the fetus if there is one."""
        for name, orientation in ORIENTATIONS.items():
            self.views[name].node.SetOrientation(orientation)
        if pose is not None and pose.present.any():
            self._jump_to_centre(pose)

    def focus(self, point: Array) -> None:
        """Turn all slice views to a point (3,), RAS mm."""
        focus_on(self._scene, point)

    def close(self) -> None:
        """Release the scene and the render windows."""
        for view in self.views.values():
            view.group.RemoveObservers(vtkCommand.UpdateEvent)
            OffscreenView.close(view)

    def _jump_to_centre(self, pose: Pose) -> None:
        x, y, z = (float(value) for value in np.nanmean(pose.positions, axis=0))
        for node in nodes_by_class(self._scene, "vtkMRMLSliceNode"):
            node.JumpSliceByCentering(x, y, z)


def without_log() -> None:
    """Keep VTK's remarks out of the log of this process, such as those on its search for a display."""
    vtkLogger.SetStderrVerbosity(vtkLogger.VERBOSITY_OFF)
