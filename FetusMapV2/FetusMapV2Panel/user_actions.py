"""What a user does in the panel and the views, for the scenarios of the self-test and of the repository's tests."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

import qt
import slicer
import vtk


class UserActions(Protocol):
    """Operates the panel and the views."""

    def click(self, button: qt.QAbstractButton) -> None:
        """Click a button of the panel."""
        ...

    def clickLink(self, label: qt.QLabel, word: str) -> None:
        """Click the link of a label whose text has a word."""
        ...

    def select(self, tree: qt.QTreeWidget, item: qt.QTreeWidgetItem) -> None:
        """Select an item of a list."""
        ...

    def drag(self, viewName: str, ras: Sequence[float], byPixels: tuple[int, int]) -> None:
        """Drag the point at a world position (RAS, mm) in a slice view."""
        ...

    def screenshot(self, name: str, widget: qt.QWidget) -> None:
        """Save a screenshot, with a widget of the panel visible."""
        ...


class SlicerActions:
    """User actions inside Slicer: real button signals and mouse events, no screenshots."""

    def click(self, button: qt.QAbstractButton) -> None:
        button.click()
        slicer.app.processEvents()

    def clickLink(self, label: qt.QLabel, word: str) -> None:
        signal = label.linkActivated
        getattr(signal, "emit", signal)(linkTarget(label, word))  # PythonQt emits a signal that is called
        slicer.app.processEvents()

    def select(self, tree: qt.QTreeWidget, item: qt.QTreeWidgetItem) -> None:
        tree.setCurrentItem(item)
        slicer.app.processEvents()

    def drag(self, viewName: str, ras: Sequence[float], byPixels: tuple[int, int]) -> None:
        view = sliceWidget(viewName).sliceView()
        interactor = view.interactorStyle().GetInteractor()
        x, y = _pixel(viewName, ras)
        path = [(x + byPixels[0] * part / 4, y + byPixels[1] * part / 4) for part in range(5)]
        for event, points in (
            ("EnterEvent", path[:1]),
            ("MouseMoveEvent", path[:1]),
            ("LeftButtonPressEvent", path[:1]),
            ("MouseMoveEvent", path[1:]),
            ("LeftButtonReleaseEvent", path[-1:]),
        ):
            for at in points:
                interactor.SetEventInformation(round(at[0]), round(at[1]), 0, 0, "\0", 0, None)
                interactor.InvokeEvent(event)
                slicer.app.processEvents()

    def screenshot(self, name: str, widget: qt.QWidget) -> None:
        """The self-test saves none."""


def linkTarget(label: qt.QLabel, word: str) -> str:
    """The target of the link of a label whose text has a word.

    Raises:
        AssertionError: there is none.
    """
    found = re.search(rf'href="([^"]*)"[^>]*>[^<]*{word}', label.text)
    if found is None:
        raise AssertionError(f"no link with {word!r} in {label.text!r}")
    return found[1]


def expect(holds: bool, message: str) -> None:
    """Check one expectation of a scenario.

    Raises:
        AssertionError: it does not hold; with the message.
    """
    if not holds:
        raise AssertionError(message)


def sliceWidget(viewName: str) -> slicer.SliceWidget:
    """A slice view of the main window."""
    layout = slicer.app.layoutManager()
    if layout is None:
        raise RuntimeError("there is no main window")
    return layout.sliceWidget(viewName)


def sliceNode(viewName: str) -> slicer.vtkMRMLSliceNode:
    """The slice node of a slice view of the main window."""
    return sliceWidget(viewName).sliceLogic().GetSliceNode()


def _pixel(viewName: str, ras: Sequence[float]) -> tuple[float, float]:
    """The pixel of a world point in a slice view, counted from the lower left."""
    inverse = vtk.vtkMatrix4x4()
    vtk.vtkMatrix4x4.Invert(sliceNode(viewName).GetXYToRAS(), inverse)
    x, y, _depth, _one = inverse.MultiplyPoint([*ras, 1.0])
    return x, y
