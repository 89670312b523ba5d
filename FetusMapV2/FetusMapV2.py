"""FetusMapV2: estimates the pose of a 10-15 week fetus in a 3D ultrasound volume and measures it. Research use only.

Connects Slicer with FetusMapV2Lib, which contains everything that runs without Qt.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import qt
import slicer
import vtk
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin

try:
    import FetusMapV2Lib  # noqa: F401
except ModuleNotFoundError:  # run from the source tree, where the library lies beside this folder
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from FetusMapV2Panel import pose_ownership, sample_data, saved_settings, view_orientation
from FetusMapV2Panel.activity import ActivityStrip
from FetusMapV2Panel.changes import Change
from FetusMapV2Panel.colours import PaletteObserver
from FetusMapV2Panel.estimation import EngineLoader
from FetusMapV2Panel.module_tests import FetusMapV2Test
from FetusMapV2Panel.movement import SequenceEstimation
from FetusMapV2Panel.parameters import FetusMapV2ParameterNode
from FetusMapV2Panel.sections import SECTIONS
from FetusMapV2Panel.sections.base import Section
from FetusMapV2Panel.state import PanelState

from FetusMapV2Lib.presenting.tones import Tone

__all__ = ["FetusMapV2", "FetusMapV2Logic", "FetusMapV2Test", "FetusMapV2Widget"]


class FetusMapV2(ScriptedLoadableModule):
    """The description of the module for Slicer."""

    def __init__(self, parent: Any) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "FetusMapV2"
        parent.categories = [translate("qSlicerAbstractCoreModule", "Ultrasound")]
        parent.dependencies = ["Markups"]
        parent.contributors = ["FetusMapV2 contributors"]
        parent.helpText = _(
            "Finds 22 landmarks of a 10-15 week fetus in a 3D ultrasound volume and measures crown-rump length, "
            "femora and humeri. Drag a landmark to correct it: lengths and gestational age are updated. "
            "Research use only; default weights were trained on simulated volumes."
        )
        parent.acknowledgementText = _("The 22-landmark pose and its network follow the FetusMapV2 paper.")
        # the SampleData module exists once all modules are loaded
        slicer.app.connect("startupCompleted()", sample_data.register)


class FetusMapV2Widget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The panel: loads its sections and connects them with the events of the scene."""

    def __init__(self, parent: slicer.qSlicerWidget | None = None, logic: FetusMapV2Logic | None = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = logic if logic is not None else FetusMapV2Logic()
        self.sections: list[Section] = []
        self._guiTag: int | None = None
        self._sceneIsNew = False

    def setup(self) -> None:
        ScriptedLoadableModuleWidget.setup(self)
        self.state = PanelState(self.logic)
        frame = slicer.util.loadUI(self.resourcePath("UI/FetusMapV2.ui"))
        self.layout.addWidget(frame)
        self.activity = ActivityStrip(self.state, frame)
        self._palette = PaletteObserver(frame, lambda: self.state.announce(Change.COLOURS_CHANGED))
        self.sections = [self._addSection(kind, frame.layout()) for kind in SECTIONS]
        self.ui = slicer.util.childWidgetVariables(frame)
        for event, slot in (
            (slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose),
            (slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose),
            (slicer.mrmlScene.EndImportEvent, self.onSceneEndImport),
            (slicer.mrmlScene.StartUndoEvent, self.onSceneStartUndo),
            (slicer.mrmlScene.StartRedoEvent, self.onSceneStartUndo),
            (slicer.mrmlScene.EndUndoEvent, self.onSceneEndUndo),
            (slicer.mrmlScene.EndRedoEvent, self.onSceneEndUndo),
            (slicer.mrmlScene.NodeRemovedEvent, self.onNodeRemoved),
        ):
            self.addObserver(slicer.mrmlScene, event, slot)
        self.initializeParameterNode()

    def _addSection(self, kind: type[Section], layout: qt.QBoxLayout) -> Section:
        """Add a section below the others, above the spacer at the end of the panel."""
        widget = slicer.util.loadUI(self.resourcePath(f"UI/{kind.UI}"))
        layout.insertWidget(layout.count() - 1, widget)
        if hasattr(widget, "setMRMLScene"):  # passes it to the selectors through the connections of the .ui file
            widget.setMRMLScene(slicer.mrmlScene)
        return kind(self.state, widget)

    def cleanup(self) -> None:
        """Release everything; called when the application exits or the module is reloaded."""
        if not self.sections:
            return
        self.state.close()
        self.setParameterNode(None)
        self.removeObservers()
        for section in self.sections:
            section.close()
        self.activity.close()
        self._palette.close()
        self.logic.close()

    def enter(self) -> None:
        if self.state.parameterNode is None:
            self.initializeParameterNode()
        else:
            self.selectDefaultVolume()

    def exit(self) -> None:
        self._leaveSections()

    def _leaveSections(self) -> None:
        for section in self.sections:
            section.leave()

    def onSceneStartClose(self, caller: slicer.vtkMRMLScene, event: str) -> None:
        self._leaveSections()
        self.state.cancel()
        self.setParameterNode(None)
        self.logic.close()
        self._sceneIsNew = True

    def onSceneEndClose(self, caller: slicer.vtkMRMLScene, event: str) -> None:
        if self.parent.isEntered and not self.state.closed:
            self.initializeParameterNode()

    def onSceneEndImport(self, caller: slicer.vtkMRMLScene, event: str) -> None:
        self._sceneIsNew = False  # it brings its own settings
        self.onSceneEndClose(caller, event)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def onNodeRemoved(self, caller: slicer.vtkMRMLScene, event: str, node: slicer.vtkMRMLNode) -> None:
        """Hide the pose of a volume that was removed."""
        if node.IsA("vtkMRMLVolumeNode") and not slicer.mrmlScene.IsClosing():
            self.state.followParameters()

    def onSceneStartUndo(self, caller: slicer.vtkMRMLScene, event: str) -> None:
        self.state.patient.beforeUndo()

    def onSceneEndUndo(self, caller: slicer.vtkMRMLScene, event: str) -> None:
        """Report changes of hidden poses: Slicer's own menu undoes and redoes steps of all volumes."""
        others = self.state.patient.afterUndo()
        if others:
            names = ", ".join(pose_ownership.displayName(node) for node in others)
            self.state.say(_("This step changed the pose of {0}, which is hidden.").format(names), Tone.WARNING)

    def initializeParameterNode(self) -> None:
        known = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        isNew, self._sceneIsNew = self._sceneIsNew or known is None, False
        parameters = self.logic.getParameterNode()
        if isNew:
            saved_settings.lastUsed().applyTo(parameters)
            saved_settings.applyPreferences(parameters)
        self.setParameterNode(parameters)
        self.selectDefaultVolume()

    def selectDefaultVolume(self) -> None:
        """Select the volume of the slice views, or else the newest, unless a volume is selected already."""
        volume = _newestOffered(self.ui.inputSelector, view_orientation.shownVolume())
        self.state.patient.setDefaults(volume, _newestOffered(self.ui.sequenceSelector))

    def setParameterNode(self, parameterNode: FetusMapV2ParameterNode | None) -> None:
        before = self.state.parameterNode
        if before is not None:
            before.disconnectGui(self._guiTag)
            self.removeObserver(before, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
        if parameterNode is not None:
            self._guiTag = parameterNode.connectGui(self.ui)
            self.addObserver(parameterNode, vtk.vtkCommand.ModifiedEvent, self.onParametersModified)
        self.state.setParameterNode(parameterNode)

    def onParametersModified(self, caller: object = None, event: str = "") -> None:
        self.state.followParameters()


def _newestOffered(selector: slicer.qMRMLNodeComboBox, preferred: slicer.vtkMRMLNode | None = None) -> Any:
    """The preferred node if a selector offers it, or else the newest; None without any.

    The scene is searched, because the selector may not have been updated yet.
    """
    found = [
        node
        for kind in selector.nodeTypes
        for node in slicer.util.getNodesByClass(kind)
        if not node.GetHideFromEditors() and not any(map(node.IsA, selector.hideChildNodeTypes))
    ]
    return preferred if preferred in found else next(reversed(found), None)


class FetusMapV2Logic(ScriptedLoadableModuleLogic, SequenceEstimation):
    """Estimates poses for the panel and for batch scripts; runs without a main window.

    Args:
        engineLoader: returns an engine for EngineSettings; by default one in a process of its own.
    """

    def __init__(self, engineLoader: EngineLoader | None = None) -> None:
        ScriptedLoadableModuleLogic.__init__(self)
        SequenceEstimation.__init__(self, engineLoader)

    def getParameterNode(self) -> FetusMapV2ParameterNode:  # type: ignore[override]  # as in Slicer's template
        return FetusMapV2ParameterNode(ScriptedLoadableModuleLogic.getParameterNode(self))
