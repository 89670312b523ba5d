"""Starts the mini-Slicer: publishes slicer.app, slicer.mrmlScene, slicer.modules and the Qt modules `qt` and `ctk`."""

from __future__ import annotations

import sys
import tempfile
import types
from pathlib import Path

import slicer
from PySide6.QtCore import QObject, QSettings, Signal
from PySide6.QtWidgets import QWidget

from bench import ctk_widgets, logics, qt_shim
from bench.io_manager import CoreIOManager

sys.modules["qt"], sys.modules["ctk"] = qt_shim, ctk_widgets
_EXTENSION = str(Path(__file__).parent / "slicer_ext")
if _EXTENSION not in slicer.__path__:
    slicer.__path__.append(_EXTENSION)  # slicer.ScriptedLoadableModule, slicer.parameterNodeWrapper, slicer.i18n

from bench import sample_data  # noqa: E402 - needs slicer in place

sys.modules["SampleData"] = sample_data

from bench import mrml_widgets  # noqa: E402, F401 - publishes slicer.qMRML*, and needs `qt` in place


class ModuleManager(QObject):
    """Announces modules that are unloaded."""

    moduleAboutToBeUnloaded = Signal(str)
    SIGNATURES = frozenset({"moduleAboutToBeUnloaded(QString)"})

    def module(self, name):
        """A module that is loaded, else None."""
        return getattr(slicer.modules, name.lower(), None)


class Application(QObject):
    """The part of qSlicerApplication that the module may use; anything else raises AttributeError."""

    startupCompleted = Signal()
    focusChanged = Signal(QWidget, QWidget)
    SIGNATURES = frozenset({"startupCompleted()", "focusChanged(QWidget*,QWidget*)"})
    applicationName = "Slicer"

    def __init__(self, scene, application_logic, module_logics, testing):
        super().__init__()
        self._scene, self._logic, self._testing = scene, application_logic, testing
        self._io = CoreIOManager(scene, module_logics)
        self._modules = ModuleManager()
        self._layout = None
        qt_shim.application().focusChanged.connect(self.focusChanged)
        # never the settings of the user; empty in every process
        self._settings = str(Path(tempfile.mkdtemp(prefix="bench-settings-")) / "Slicer.ini")

    def applicationLogic(self):
        return self._logic

    def mrmlScene(self):
        return self._scene

    def coreIOManager(self):
        return self._io

    def moduleManager(self):
        return self._modules

    def layoutManager(self):
        """None without a main window, as in Slicer."""
        return self._layout

    def setLayoutManager(self, layout):
        self._layout = layout

    def pauseRender(self):
        """Pause all views, as `slicer.util.RenderBlocker` does; nothing without a main window."""
        if self._layout is not None:
            self._layout.setRenderPaused(True)

    def resumeRender(self):
        if self._layout is not None:
            self._layout.setRenderPaused(False)

    def testingEnabled(self):
        return self._testing

    def processEvents(self):
        qt_shim.application().processEvents()

    def topLevelWidgets(self):
        return qt_shim.application().topLevelWidgets()

    def setOverrideCursor(self, cursor):
        qt_shim.application().setOverrideCursor(cursor)

    def restoreOverrideCursor(self):
        qt_shim.application().restoreOverrideCursor()

    def userSettings(self):
        return QSettings(self._settings, QSettings.IniFormat)


def start(testing: bool = True):
    """Create the application and its scene, once per process; returns the scene."""
    qt_shim.application()
    scene = logics.create_scene()
    application_logic = logics.create_application_logic(scene)
    module_logics = logics.create_module_logics(scene, application_logic)
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    slicer.app = Application(scene, application_logic, module_logics, testing)
    slicer.app.keep_alive = (module_logics, logics.create_data_io(scene, application_logic))
    slicer.mrmlScene = scene
    slicer.modules = sys.modules["slicer.modules"] = types.ModuleType("slicer.modules")
    for name, logic in module_logics.items():
        module = types.SimpleNamespace(name=name, path="", logic=lambda logic=logic: logic)
        setattr(slicer.modules, name.lower(), module)
    return scene
