"""The views as Qt widgets: VTK renders off-screen, Qt shows the picture and forwards mouse events."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets
from vtk.util.numpy_support import vtk_to_numpy

from bench.views import SliceView, ThreeDView, View

_BUTTONS = {
    QtCore.Qt.LeftButton: "LeftButton",
    QtCore.Qt.RightButton: "RightButton",
    QtCore.Qt.MiddleButton: "MiddleButton",
}


#: How long a view waits for more requests before it renders, as ctkVTKAbstractView.
_WAIT_MS = round(1000 / 60)


class ViewWidget(QtWidgets.QWidget):
    """One view on the screen; renders when its displayable managers request it.

    The first request waits for more, and all of them are rendered together from the event loop. While rendering is
    paused requests are only recorded.

    Attributes:
        renders: how often it was rendered.
        has_requests: whether it will be rendered soon.
        is_impatient: whether each further request is rendered at once, in the midst of the changes, as by
            ctkVTKAbstractView if it comes after `_WAIT_MS`. How often that happens depends on the speed of the machine,
            so it is off by default.
    """

    def __init__(self, view: View, label: str):
        super().__init__()
        self.view, self.label, self.renders = view, label, 0
        self.is_impatient = False
        self._image, self._pixels, self._paused = None, None, 0
        self.has_requests, self._timer = False, QtCore.QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._on_time)
        self.setMouseTracking(True)
        self.setMinimumSize(200, 180)
        view.managers.AddObserver("UpdateEvent", self.scheduleRender)
        # As in Slicer no view renders while a scene is closed, loaded or changed as a whole.
        slicer.mrmlScene.AddObserver(slicer.mrmlScene.EndBatchProcessEvent, self.scheduleRender)
        if isinstance(view, SliceView):
            view.logic.AddObserver("ModifiedEvent", self.scheduleRender)

    # --- when to render

    def scheduleRender(self, *_):
        if slicer.mrmlScene.IsBatchProcessing():
            return
        if not self.has_requests:
            self.has_requests = True
            self._timer.start(_WAIT_MS)
        elif self.is_impatient:
            self._request_render()

    def pauseRender(self):
        self._paused += 1

    def resumeRender(self):
        assert self._paused > 0, "rendering is not paused"
        self._paused -= 1
        if self.has_requests and self.is_impatient:
            self._request_render()
        elif self.has_requests:
            self._timer.start(_WAIT_MS)

    def forceRender(self):
        self._timer.stop()
        self.has_requests = False
        if self.visible:
            self._render()
            self.update()

    def _on_time(self):
        if self.has_requests:
            self._request_render()

    def _request_render(self):
        if not self._paused:
            self.forceRender()

    def resizeEvent(self, event):
        self.view.resize(event.size().width(), event.size().height())
        self._image = None

    def paintEvent(self, _event):
        if self._image is None:
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
        self.renders += 1

    # --- as in qMRMLSliceWidget and qMRMLThreeDWidget

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
