"""The scene and the logics that the Slicer application would create at start-up, all real."""

from __future__ import annotations

import tempfile

import slicer
import vtk

_MODULE_LOGICS = {
    "Units": "vtkSlicerUnitsLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "Tables": "vtkSlicerTablesLogic",
    "VolumeRendering": "vtkSlicerVolumeRenderingLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
}


def create_application_logic(scene):
    """The application logic of `scene`, with colours, views and the module logics registered."""
    application = slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    colours = application.GetColorLogic()
    colours.SetMRMLScene(scene)
    colours.AddDefaultColorNodes()
    colours.SetMRMLApplicationLogic(application)
    application.SetModuleLogic("Colors", colours)
    application.SetSliceLogics(vtk.vtkCollection())
    application.SetViewLogics(vtk.vtkCollection())
    for factory in (
        slicer.vtkMRMLThreeDViewDisplayableManagerFactory,
        slicer.vtkMRMLSliceViewDisplayableManagerFactory,
    ):
        factory.GetInstance().SetMRMLApplicationLogic(application)
    return application


def create_module_logics(scene, application) -> dict[str, object]:
    """Name -> logic of the modules that slicer-core contains."""
    logics = {}
    for name, class_name in _MODULE_LOGICS.items():
        logic = getattr(slicer, class_name)()
        logic.SetMRMLApplicationLogic(application)
        logic.SetMRMLScene(scene)
        application.SetModuleLogic(name, logic)
        logics[name] = logic
    return logics


def create_data_io(scene, application):
    """The data manager that reading an .mrb needs; keep the returned objects alive."""
    remote = slicer.vtkMRMLRemoteIOLogic()
    remote.SetMRMLScene(scene)
    remote.SetMRMLApplicationLogic(application)
    remote.GetCacheManager().SetRemoteCacheDirectory(tempfile.mkdtemp(prefix="bench-cache-"))
    manager = slicer.vtkDataIOManagerLogic()
    manager.SetMRMLScene(scene)
    manager.SetMRMLApplicationLogic(application)
    manager.SetAndObserveDataIOManager(remote.GetDataIOManager())
    remote.AddDataIOToScene()
    return remote, manager


def create_scene():
    """An empty scene with the default cross-hair and slice orientations."""
    scene = slicer.vtkMRMLScene()
    crosshair = slicer.vtkMRMLCrosshairNode()
    crosshair.SetCrosshairName("default")
    scene.AddNode(crosshair)
    scene.AddDefaultNode(_plain_view())
    return scene


def _plain_view():
    """3D views without box and axis letters on a dark ground, also after the scene was closed."""
    view = slicer.vtkMRMLViewNode()
    view.SetBoxVisible(0)
    view.SetAxisLabelsVisible(0)
    view.SetBackgroundColor(0.10, 0.10, 0.18)
    view.SetBackgroundColor2(0.10, 0.10, 0.18)
    return view
