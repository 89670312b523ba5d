"""Stand-ins for the qMRML widgets of Slicer: node selector and scene-aware containers."""

from __future__ import annotations

import functools

import slicer
from PySide6 import QtWidgets
from PySide6.QtCore import Property, Signal
from shiboken6 import isValid

from bench.qt_shim import custom_widget


def _publish(cls: type) -> type:
    setattr(slicer, cls.__name__, cls)
    return custom_widget(cls)


@_publish
class qMRMLWidget(QtWidgets.QWidget):
    """Passes its scene to children through the connections of the .ui file, and only through them."""

    mrmlSceneChanged = Signal(object)
    SIGNATURES = frozenset({"mrmlSceneChanged(vtkMRMLScene*)"})

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene = None

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene):
        self._scene = scene
        self.mrmlSceneChanged.emit(scene)


@_publish
class qSlicerWidget(qMRMLWidget):
    """The parent that Slicer gives to a module's widget; entered while its module is shown."""

    isEntered = False


def _flag(name: str, default: bool) -> Property:
    key = f"_flag_{name}"

    def get(self):
        return getattr(self, key, default)

    def put(self, value):
        setattr(self, key, bool(value))
        self._fill()

    return Property(bool, get, put)


def _stop_observing(observations: list) -> None:
    for observed, tag in observations:
        observed.RemoveObserver(tag)
    observations.clear()


@_publish
class qMRMLNodeComboBox(QtWidgets.QWidget):
    """A selector of the scene's nodes of some classes; empty until it is given a scene."""

    currentNodeChanged = Signal(object)
    currentNodeIDChanged = Signal(str)
    nodeAddedByUser = Signal(object)
    SIGNATURES = frozenset(
        {
            "currentNodeChanged(vtkMRMLNode*)",
            "currentNodeIDChanged(QString)",
            "nodeAddedByUser(vtkMRMLNode*)",
        }
    )
    noneEnabled = _flag("noneEnabled", False)
    addEnabled = _flag("addEnabled", True)
    removeEnabled = _flag("removeEnabled", True)
    renameEnabled = _flag("renameEnabled", False)
    editEnabled = _flag("editEnabled", False)
    showHidden = _flag("showHidden", False)
    showChildNodeTypes = _flag("showChildNodeTypes", True)
    selectNodeUponCreation = _flag("selectNodeUponCreation", True)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene, self._types, self._observations, self._last = None, [], [], None
        self._none_text = "None"
        self._hidden_types = []
        self._combo = QtWidgets.QComboBox(self)  # as wide as its longest name, unless `sizeAdjustPolicy` is set
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._combo)
        self._combo.currentIndexChanged.connect(lambda _index: self._announce())
        self.destroyed.connect(functools.partial(_stop_observing, self._observations))

    # --- scene

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene):
        _stop_observing(self._observations)
        self._scene = scene
        if scene is not None:
            kind = slicer.vtkMRMLScene
            events = (kind.NodeAddedEvent, kind.NodeRemovedEvent, kind.EndCloseEvent, kind.EndImportEvent)
            self._observations += [(scene, scene.AddObserver(event, lambda *_: self._fill())) for event in events]
        self._fill()

    def _matching_nodes(self):
        for class_name in self._types:
            nodes = self._scene.GetNodesByClass(class_name)
            nodes.UnRegister(None)
            for index in range(nodes.GetNumberOfItems()):
                node = nodes.GetItemAsObject(index)
                if node.GetHideFromEditors() and not self.showHidden:
                    continue
                if any(node.IsA(hidden) for hidden in self._hidden_types):
                    continue
                if self.showChildNodeTypes or node.GetClassName() == class_name:
                    yield node

    def _fill(self):
        if self._scene is None or not isValid(self):  # Qt may have deleted the widget before the scene
            return
        selected = self._combo.itemData(self._combo.currentIndex)
        self._combo.blockSignals(True)
        self._combo.clear()
        nodes = list(self._matching_nodes())
        if self.noneEnabled or not nodes:
            self._combo.addItem(self._none_text, "")
        for node in nodes:
            self._combo.addItem(node.GetName(), node.GetID())
        self._combo.setCurrentIndex(max(0, self._combo.findData(selected)))
        self._combo.blockSignals(False)
        self._announce()

    def _announce(self):
        node = self.currentNode()
        if node is not self._last:
            self._last = node
            self.currentNodeChanged.emit(node)
            self.currentNodeIDChanged.emit(node.GetID() if node else "")

    # --- selection

    def currentNode(self):
        identifier = self._combo.itemData(self._combo.currentIndex)
        return self._scene.GetNodeByID(identifier) if self._scene is not None and identifier else None

    def setCurrentNode(self, node):
        self.setCurrentNodeID(node.GetID() if node is not None else "")

    def setCurrentNodeID(self, identifier):
        self._combo.setCurrentIndex(max(0, self._combo.findData(identifier or "")))

    def nodeCount(self):
        return self._combo.count - (1 if self._combo.itemData(0) == "" else 0)

    def _set_types(self, types):
        self._types = list(types)
        self._fill()

    def _set_hidden_types(self, types):
        self._hidden_types = list(types)
        self._fill()

    def _set_none_text(self, text):
        self._none_text = text
        self._fill()

    def _current_id(self):
        node = self.currentNode()
        return node.GetID() if node else ""

    currentNodeID = Property(str, _current_id, setCurrentNodeID)
    nodeTypes = Property("QStringList", lambda self: self._types, _set_types)
    hideChildNodeTypes = Property("QStringList", lambda self: self._hidden_types, _set_hidden_types)
    noneDisplay = Property(str, lambda self: self._none_text, _set_none_text)
