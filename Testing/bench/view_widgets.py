"""The views as Qt widgets: VTK renders off-screen, Qt shows the picture and passes the mouse on."""

from __future__ import annotations

import numpy as np
import vtk
from PySide6 import QtCore, QtGui, QtWidgets
from vtk.util.numpy_support import vtk_to_numpy

from bench.views import SliceView, ThreeDView, View

_BUTTONS = {
    QtCore.Qt.LeftButton: "LeftButton",
    QtCore.Qt.RightButton: "RightButton",
    QtCore.Qt.MiddleButton: "MiddleButton",
}


class ViewWidget(QtWidgets.QWidget):
    """One view on the screen; renders again when its displayable managers ask for it."""

    def __init__(self, view: View, label: str):
        super().__init__()
        self.view, self.label = view, label
        self._image, self._pixels, self._stale = None, None, True
        self.setMouseTracking(True)
        self.setMinimumSize(200, 180)
        view.managers.AddObserver("UpdateEvent", self._invalidate)
        if isinstance(view, SliceView):
            view.logic.AddObserver("ModifiedEvent", self._invalidate)

    def _invalidate(self, *_):
        self._stale = True
        self.update()

    def resizeEvent(self, event):
        self.view.resize(event.size().width(), event.size().height())
        self._stale = True

    def paintEvent(self, _event):
        if self._stale or self._image is None:
            self._render()
        painter = QtGui.QPainter(self)
        painter.drawImage(0, 0, self._image)
        painter.setPen(QtCore.Qt.white)
        painter.drawText(8, 18, self.label)
        painter.end()

    def _render(self):
        self.view.render()
        grabber = vtk.vtkWindowToImageFilter()
        grabber.SetInput(self.view.window)
        grabber.ReadFrontBufferOff()
        grabber.ShouldRerenderOff()
        grabber.Update()
        output = grabber.GetOutput()
        width, height, _depth = output.GetDimensions()
        values = vtk_to_numpy(output.GetPointData().GetScalars()).reshape(height, width, -1)
        self._pixels = np.ascontiguousarray(values[::-1, :, :3])
        self._image = QtGui.QImage(self._pixels.data, width, height, 3 * width, QtGui.QImage.Format_RGB888)
        self._stale = False

    # --- as qMRMLSliceWidget and qMRMLThreeDWidget give their views

    def sliceView(self):
        return self

    def threeDView(self):
        return self

    def interactorStyle(self):
        return self.view.style

    def sliceLogic(self):
        return self.view.logic

    def renderWindow(self):
        return self.view.window

    def forceRender(self):
        self.view.render()

    # --- mouse

    def _send(self, name, event):
        position, modifiers = event.position(), event.modifiers()
        self.view.mouse(
            name,
            position.x(),
            self.height - 1 - position.y(),
            bool(modifiers & QtCore.Qt.ControlModifier),
            bool(modifiers & QtCore.Qt.ShiftModifier),
        )

    def enterEvent(self, event):
        self.view.mouse("EnterEvent", event.position().x(), self.height - 1 - event.position().y())

    def leaveEvent(self, _event):
        self.view.interactor.InvokeEvent("LeaveEvent")

    def mouseMoveEvent(self, event):
        self._send("MouseMoveEvent", event)

    def mousePressEvent(self, event):
        self._send(_BUTTONS[event.button()] + "PressEvent", event)

    def mouseReleaseEvent(self, event):
        self._send(_BUTTONS[event.button()] + "ReleaseEvent", event)

    def wheelEvent(self, event):
        up = event.angleDelta().y() > 0
        self._send("MouseWheelForwardEvent" if up else "MouseWheelBackwardEvent", event)


class FourUpLayout(QtWidgets.QWidget):
    """Red, 3D, Yellow and Green in a square, as in Slicer's four-up layout."""

    def __init__(self, scene, application):
        super().__init__()
        self.views = {"Red": ViewWidget(SliceView(scene, application, "Red", "Axial"), "Red")}
        self.views["3D"] = ViewWidget(ThreeDView(scene, application), "3D")
        self.views["Yellow"] = ViewWidget(SliceView(scene, application, "Yellow", "Sagittal"), "Yellow")
        self.views["Green"] = ViewWidget(SliceView(scene, application, "Green", "Coronal"), "Green")
        grid = QtWidgets.QGridLayout(self)
        grid.setContentsMargins(1, 1, 1, 1)
        grid.setSpacing(2)
        for index, view in enumerate(self.views.values()):
            grid.addWidget(view, index // 2, index % 2)
