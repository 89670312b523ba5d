"""The mini-Slicer's main window: module panel on the left, four real views on the right, and simulated user input."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtTest import QTest

from bench import modules
from bench.view_widgets import FourUpLayout

_STEP_MS = 10
#: Inside the box of a check box, from its left edge.
_BOX_PIXELS = 8
#: Qt's event loop holds the interpreter lock, here as in Slicer: other threads run only while a slot runs in Python.
#: Polling is rare, so that threads do not depend on it.
_POLL_MS = 50


class LayoutManager:
    """The part of qSlicerLayoutManager that slicer.util and the module use."""

    def __init__(self, views: FourUpLayout):
        self._views = views.views

    def sliceViewNames(self):
        return tuple(name for name in self._views if name != "3D")

    def sliceWidget(self, name):
        return self._views[name]

    @property
    def threeDViewCount(self):
        return 1

    def threeDWidget(self, _index):
        return self._views["3D"]

    def mrmlSliceLogics(self):
        logics = vtk.vtkCollection()
        for name in self.sliceViewNames():
            logics.AddItem(self._views[name].view.logic)
        return logics

    def setRenderPaused(self, paused):
        for view in self._views.values():
            view.pauseRender() if paused else view.resumeRender()

    def resetThreeDViews(self):
        self._views["3D"].view.reset()


class MainWindow(QtWidgets.QMainWindow):
    """Opened once per process, as in Slicer; scripted modules are loaded into it one after another."""

    def __init__(self, size=(1280, 800), panel_width=450):
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self.layout_widget = FourUpLayout(slicer.mrmlScene, slicer.app.applicationLogic())
        self.views = self.layout_widget.views
        slicer.app.setLayoutManager(LayoutManager(self.layout_widget))
        self._sizes = [panel_width, size[0] - panel_width]
        # stays when a module is unloaded, so that the views keep their size and are not rendered anew
        self._panel_place = QtWidgets.QWidget()
        QtWidgets.QVBoxLayout(self._panel_place).setContentsMargins(0, 0, 0, 0)
        self._splitter = QtWidgets.QSplitter()
        self._splitter.addWidget(self._panel_place)
        self._splitter.addWidget(self.layout_widget)
        self.setCentralWidget(self._splitter)
        self._loaded: modules.LoadedModule | None = None
        self.resize(*size)
        self.show()

    @property
    def module_widget(self):
        """The widget object of the loaded module."""
        return self._loaded.widget

    def moduleSelector(self):
        """As of qSlicerMainWindow: the panel shows one module here, so choosing another one is an error."""
        return self

    def selectModule(self, name: str) -> None:
        if self._loaded is None or self._loaded.widget.moduleName != name:
            raise RuntimeError(f"the module {name} is not loaded")

    def load(self, module_path: Path, make_logic=None) -> None:
        """Load a module and show its panel."""
        self.unload()
        self._loaded = modules.load_module(module_path, make_logic)
        # in Slicer too, a panel that is too tall for the window is scrolled
        self._scroll = QtWidgets.QScrollArea()
        self._scroll.setWidgetResizable(True)
        self._scroll.setFrameShape(QtWidgets.QFrame.NoFrame)
        self._scroll.setWidget(self._loaded.panel)
        self._panel_place.layout().addWidget(self._scroll)
        self._splitter.setSizes(self._sizes)
        slicer.app.processEvents()

    def unload(self) -> None:
        """Unload the module, as on reload or exit."""
        if self._loaded is not None:
            self._loaded.unload()
            self._scroll.setParent(None)
            self._scroll.deleteLater()
            self._loaded = None

    def choose_another_module(self) -> None:
        """Leave the module, as with Slicer's module selector, which hides the panel."""
        self._loaded.leave()
        self._scroll.hide()
        slicer.app.processEvents()

    def choose_module(self) -> None:
        """Return to the module."""
        self._scroll.show()
        self._loaded.enter()
        slicer.app.processEvents()

    def draw_markups(self, *views: str) -> None:
        """Show markups in these views alone; each view shows them in Slicer, and here once the mouse was in it."""
        for name, widget in self.views.items():
            widget.view.draw_markups(name in views)

    def bring_into_sight(self, widget) -> None:
        """Scroll the panel to one of its widgets."""
        slicer.app.processEvents()
        self._scroll.ensureWidgetVisible(widget)
        slicer.app.processEvents()

    def click(self, button) -> None:
        """A real left click on a button, on the box of a check box: its text may be narrower than the widget."""
        self._scroll.ensureWidgetVisible(button)
        at = QtCore.QPoint(_BOX_PIXELS, button.height // 2) if button.inherits("QCheckBox") else button.rect.center()
        QTest.mouseClick(button, QtCore.Qt.LeftButton, QtCore.Qt.NoModifier, at)
        slicer.app.processEvents()

    def click_link(self, label, target: str) -> None:
        """A real left click on a link of a label, where its text is laid out."""
        self._scroll.ensureWidgetVisible(label)
        at = _place_of_link(label, target)
        QTest.mouseMove(label, at)
        QTest.mouseClick(label, QtCore.Qt.LeftButton, QtCore.Qt.NoModifier, at)
        slicer.app.processEvents()

    def click_item(self, view, index) -> None:
        """A real left click on an item of a list, table or tree, given by its model index."""
        view.scrollTo(index)
        QTest.mouseClick(view.viewport(), QtCore.Qt.LeftButton, QtCore.Qt.NoModifier, view.visualRect(index).center())
        slicer.app.processEvents()

    def press(self, key) -> None:
        """Press a key in the widget with the focus; a button with this shortcut is clicked."""
        self.activateWindow()
        QTest.qWaitForWindowActive(self)  # another window that has just gone may have been the active one
        QTest.keyClick(self.focusWidget() or self, key)
        # a button is clicked 0.1 s after its shortcut (QAbstractButton.animateClick)
        while any(button.isDown() for button in self.findChildren(QtWidgets.QPushButton)):
            QTest.qWait(_STEP_MS)
        slicer.app.processEvents()

    def click_view(self, view_name: str, ras, button=QtCore.Qt.LeftButton) -> None:
        """Move the mouse to a world position in a slice view and click."""
        widget = self._view_for_mouse(view_name)
        x, y, _depth = widget.view.to_pixel(ras)
        for away in (12, 4, 0):
            QTest.mouseMove(widget, QtCore.QPoint(round(x) - away, round(widget.height - 1 - y)))
            slicer.app.processEvents()
        at = QtCore.QPoint(round(x), round(widget.height - 1 - y))
        QTest.mouseClick(widget, button, QtCore.Qt.NoModifier, at)
        slicer.app.processEvents()

    def wait_until(self, condition: Callable[[], bool], seconds: float = 300.0) -> bool:
        """Run the event loop until a condition holds; false after a time-out."""
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                return False
            QTest.qWait(_POLL_MS)
        return True

    def drag(self, view_name: str, ras, by_pixels: tuple[int, int], steps: int = 8) -> tuple[float, float, float]:
        """Drag the point at a world position in a slice view; returns the position where the mouse is released."""
        widget = self._view_for_mouse(view_name)
        x, y, _depth = widget.view.to_pixel(ras)
        dx, dy = by_pixels

        def at(px, py):
            return QtCore.QPoint(round(px), round(widget.height - 1 - py))

        QTest.mouseMove(widget, at(x - 6, y - 6))
        QTest.mouseMove(widget, at(x, y))
        QTest.mousePress(widget, QtCore.Qt.LeftButton, QtCore.Qt.NoModifier, at(x, y))
        for step in range(1, steps + 1):
            QTest.mouseMove(widget, at(x + dx * step / steps, y + dy * step / steps))
            slicer.app.processEvents()
        QTest.mouseRelease(widget, QtCore.Qt.LeftButton, QtCore.Qt.NoModifier, at(x + dx, y + dy))
        slicer.app.processEvents()
        end = at(x + dx, y + dy)
        return widget.view.to_world(end.x(), widget.height - 1 - end.y())

    def _view_for_mouse(self, name: str):
        """A view, with its markups."""
        self.views[name].view.draw_markups()
        slicer.app.processEvents()
        return self.views[name]

    def picture(self, path: Path) -> None:
        """Write the window as a PNG, once its layouts have settled."""
        QTest.qWait(5 * _STEP_MS)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not self.grab().save(str(path)):
            raise OSError(f"cannot write {path}")


def _place_of_link(label, target: str) -> QtCore.QPoint:
    """The middle of a link in a label, found by laying its text out as the label does."""
    document = QtGui.QTextDocument()
    document.setDocumentMargin(0)
    document.setDefaultFont(label.font)
    document.setHtml(label.text)
    space = label.contentsRect()
    document.setTextWidth(space.width())
    layout = document.documentLayout()
    height = round(layout.documentSize().height())
    top = space.top() + max(0, (space.height() - height) // 2)
    found = [
        (x, y) for y in range(height) for x in range(space.width()) if layout.anchorAt(QtCore.QPointF(x, y)) == target
    ]
    if not found:
        raise ValueError(f"{label.objectName} has no link {target!r}")
    middle = found[len(found) // 2][1]
    columns = [x for x, y in found if y == middle]
    return QtCore.QPoint(space.left() + columns[len(columns) // 2], top + middle)
