"""Real slice and 3D views without Qt, off-screen: displayable managers and interactor styles of slicer-core."""

from __future__ import annotations

import slicer
import vtk

_SLICE_MANAGERS = (
    "vtkMRMLCrosshairDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
)
_THREE_D_MANAGERS = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLThreeDReformatDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager3D",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLMarkupsDisplayableManager",
)


class View:
    """A render window with the displayable managers of one kind of view."""

    def __init__(self, size):
        self.renderer = vtk.vtkRenderer()
        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(1)
        self.window.ShowWindowOff()
        self.window.SetMultiSamples(0)  # more than 0 with depth peeling drops translucent props on software GL
        self.window.SetSize(*size)
        self.window.AddRenderer(self.renderer)
        self.interactor = vtk.vtkRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        self.managers = slicer.vtkMRMLDisplayableManagerGroup()
        self.managers.SetRenderer(self.renderer)

    def _initialise(self, factory, application, names) -> None:
        factory = factory.GetInstance()
        factory.SetMRMLApplicationLogic(application)
        for name in names:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        self.managers.Initialize(factory, self.renderer)

    def resize(self, width: int, height: int) -> None:
        self.window.SetSize(width, height)
        self.interactor.SetSize(width, height)

    def render(self) -> None:
        self.window.Render()

    def draw_markups(self, wanted: bool = True) -> None:
        """Show markups in this view, as each view of Slicer does, or save the time: a node takes 2 to 8 ms a view."""
        manager = self.managers.GetDisplayableManagerByClassName("vtkMRMLMarkupsDisplayableManager")
        if wanted == (manager.GetMRMLScene() is not None):
            return
        # it goes on observing the interaction node without a scene, and warns when it is to do so again
        vtk.vtkObject.GlobalWarningDisplayOff()
        manager.SetMRMLScene(self.node.GetScene() if wanted else None)
        vtk.vtkObject.GlobalWarningDisplayOn()

    def mouse(self, event: str, x: float, y: float, control: bool = False, shift: bool = False) -> None:
        """Send one VTK event at pixel (x, y), y counted from the bottom."""
        self.interactor.SetEventInformation(round(x), round(y), int(control), int(shift), "\0", 0, None)
        self.interactor.InvokeEvent(event)


class SliceView(View):
    """One slice view such as Red."""

    def __init__(self, scene, application, name: str, orientation: str, size=(500, 500)):
        super().__init__(size)
        self.renderer.GetActiveCamera().ParallelProjectionOn()
        self.mapper = vtk.vtkImageMapper()
        self.mapper.SetColorWindow(255)
        self.mapper.SetColorLevel(127.5)
        actor = vtk.vtkActor2D()
        actor.SetMapper(self.mapper)
        actor.GetProperty().SetDisplayLocationToBackground()
        self.renderer.AddViewProp(actor)
        self._initialise(slicer.vtkMRMLSliceViewDisplayableManagerFactory, application, _SLICE_MANAGERS)
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(application)
        application.GetSliceLogics().AddItem(self.logic)
        self.style = slicer.vtkMRMLSliceViewInteractorStyle()
        self.style.SetSliceLogic(self.logic)
        self.style.SetDisplayableManagers(self.managers)
        self.interactor.SetInteractorStyle(vtk.vtkInteractorStyleUser())
        self.style.SetInteractor(self.interactor)
        self.logic.SetMRMLScene(scene)
        self.node = self.logic.AddSliceNode(name)
        self.node.SetMappedInLayout(1)
        self.node.SetOrientation(orientation)
        self.node.SetDimensions(*size, 1)
        # as Slicer's layout does when a scene has been closed
        scene.AddObserver(scene.EndCloseEvent, lambda *_: self.node.SetOrientation(orientation))
        self.managers.SetMRMLDisplayableNode(self.node)
        self.interactor.Initialize()

    def resize(self, width: int, height: int) -> None:
        super().resize(width, height)
        self.logic.ResizeSliceNode(width, height)

    def render(self) -> None:
        self.mapper.SetInputConnection(self.logic.GetImageDataConnection())
        super().render()

    def to_pixel(self, ras) -> tuple[float, float, float]:
        """Pixel (x, y from the bottom) and depth of a world point in RAS mm."""
        inverse = vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(self.node.GetXYToRAS(), inverse)
        return inverse.MultiplyPoint([*ras, 1])[:3]

    def to_world(self, x: float, y: float) -> tuple[float, float, float]:
        """World point (RAS mm) of a pixel in the displayed slice."""
        return self.node.GetXYToRAS().MultiplyPoint([x, y, 0, 1])[:3]


class ThreeDView(View):
    """The 3D view."""

    def __init__(self, scene, application, name: str = "1", size=(600, 500)):
        super().__init__(size)
        self.renderer.SetUseDepthPeeling(True)
        self._initialise(slicer.vtkMRMLThreeDViewDisplayableManagerFactory, application, _THREE_D_MANAGERS)
        self.style = slicer.vtkMRMLThreeDViewInteractorStyle()
        self.style.SetDisplayableManagers(self.managers)
        self.style.SetInteractor(self.interactor)
        self.interactor.SetInteractorStyle(vtk.vtkInteractorStyle3D())
        self.logic = slicer.vtkMRMLViewLogic()
        self.logic.SetMRMLApplicationLogic(application)
        application.GetViewLogics().AddItem(self.logic)
        self.logic.SetMRMLScene(scene)
        self.node = self.logic.AddViewNode(name)
        self.node.SetMappedInLayout(1)
        self.managers.SetMRMLDisplayableNode(self.node)
        self.interactor.Initialize()

    def reset(self) -> None:
        """Show everything."""
        self.renderer.ResetCamera()
        camera = self.managers.GetDisplayableManagerByClassName("vtkMRMLCameraDisplayableManager").GetCameraNode()
        camera.ResetClippingRange()
