"""Loads a scripted module the way Slicer's module factory does, and unloads it again."""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer
from PySide6 import QtCore, QtWidgets


@dataclass
class LoadedModule:
    """A scripted module with its widget inside a panel."""

    python: types.ModuleType
    module: Any
    widget: Any
    panel: Any

    def enter(self) -> None:
        """The user chooses this module."""
        self.panel.isEntered = True
        self.widget.enter()

    def leave(self) -> None:
        """The user chooses another module."""
        self.panel.isEntered = False
        self.widget.exit()

    def unload(self) -> None:
        """What Slicer does when the module is reloaded or the application exits."""
        slicer.app.moduleManager().moduleAboutToBeUnloaded.emit(self.widget.moduleName)
        getattr(slicer.modules, self.widget.moduleName.lower()).widgetRepresentation = None
        self.panel.setMRMLScene(None)
        self.panel.setParent(None)
        self.panel.deleteLater()
        QtCore.QCoreApplication.sendPostedEvents(None, QtCore.QEvent.DeferredDelete)


class ScriptedModuleWidget:
    """What slicer.util.getModuleWidget() asks for the module's Python object."""

    def __init__(self, python):
        self._python = python

    def self(self):
        return self._python


slicer.qSlicerScriptedLoadableModuleWidget = ScriptedModuleWidget


def load_python(path: Path) -> types.ModuleType:
    """Import the module's file under its own name, its folder being on the path as in Slicer."""
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot import {path}")
    python = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = python
    spec.loader.exec_module(python)
    return python


def load_module(path: Path, make_logic: Callable[[Any], Any] | None = None) -> LoadedModule:
    """Create ``<Name>(parent)`` and ``<Name>Widget(panel)``, set it up and enter it.

    Args:
        path: the module's Python file.
        make_logic: gives the widget a logic of the test's own, from the module's Python; else it makes its own.
    """
    python = load_python(path)
    name = path.stem
    parent = types.SimpleNamespace(path=str(path), icon=None)
    module = getattr(python, name)(parent)
    known = types.SimpleNamespace(name=name, path=str(path), title=parent.title)
    setattr(slicer.modules, name.lower(), known)
    panel = slicer.qSlicerWidget()
    QtWidgets.QVBoxLayout(panel)
    panel.setMRMLScene(slicer.mrmlScene)
    arguments = {} if make_logic is None else {"logic": make_logic(python)}
    widget = getattr(python, name + "Widget")(panel, **arguments)
    known.widgetRepresentation = lambda: ScriptedModuleWidget(widget)
    widget.setup()
    loaded = LoadedModule(python, module, widget, panel)
    loaded.enter()
    return loaded
