"""The line below the selectors: whose pose is hidden, or a note on the shown pose, and a button for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import qt
import slicer
import vtk

from FetusMapV2Lib.scene import ownership
from FetusMapV2Lib.scene.observations import Observations
from FetusMapV2Panel import pose_ownership, view_orientation
from FetusMapV2Panel.nodes import LandmarksNode, VolumeNode
from FetusMapV2Panel.pose_ownership import displayName
from FetusMapV2Panel.state import PanelState
from FetusMapV2Panel.translations import translator
from FetusMapV2Panel.widget_widths import wrappable

_ = translator(__name__)


@dataclass(frozen=True)
class Note:
    """The text of the line and the action of its button.

    Attributes:
        text: the text.
        button: the text of the button.
        action: called when the button is clicked; without one it is hidden.
        volume: the volume that the text names.
        isDoubt: whether the text says why the shown pose is doubtful.
    """

    text: str
    button: str = ""
    action: Callable[[], None] | None = None
    volume: VolumeNode | None = None
    isDoubt: bool = False


class PatientLine:
    """Shows the note for the current selection; nothing if the pose of the selected volume is shown.

    Args:
        state: the shared state of the panel.
        label: the label of the text.
        button: the button of the action.
    """

    def __init__(self, state: PanelState, label: qt.QLabel, button: qt.QPushButton) -> None:
        self._state, self._label, self._button = state, label, button
        self._note: Note | None = None
        self._nameObservations = Observations()
        button.connect("clicked(bool)", self._onClicked)
        self.update()

    def update(self) -> None:
        """Show the note; call after a change of the volume, the shown pose or the poses in the scene."""
        self._note = note = self._find()
        self._observeName(note.volume if note is not None else None)
        self._label.setText(wrappable(note.text) if note is not None else "")
        self._label.setVisible(note is not None)
        self._button.setText(note.button if note is not None else "")
        self._button.setVisible(note is not None and note.action is not None)
        self._button.setEnabled(not self._state.running)

    def close(self) -> None:
        self._observeName(None)

    def _onClicked(self, checked: bool = False) -> None:
        if self._note is not None and self._note.action is not None:
            self._note.action()

    def _observeName(self, volume: VolumeNode | None) -> None:
        self._nameObservations.clear()
        if volume is not None:
            self._nameObservations.observe(volume, vtk.vtkCommand.ModifiedEvent, self._onModified)

    def _onModified(self, caller: vtk.vtkObject, event: str) -> None:
        self.update()

    # --- the note

    @property
    def showsDoubt(self) -> bool:
        """Whether the line says why the shown pose is doubtful."""
        return self._note is not None and self._note.isDoubt

    def _find(self) -> Note | None:
        parameters, patient = self._state.parameterNode, self._state.patient
        if parameters is None:
            return None
        volume, landmarks = patient.volume, parameters.landmarks
        if patient.poseScene is not None:
            return self._shownPose(volume, patient.poseScene.landmarks_node) or self._doubt()
        if volume is not None and landmarks is not None and ownership.volume_of(landmarks) is None:
            return self._landmarksWithoutVolume(landmarks)
        return self._hiddenOfSelected(volume) or self._hiddenOfOthers(volume)

    def _shownPose(self, volume: VolumeNode | None, landmarks: LandmarksNode) -> Note | None:
        if volume is None:
            return Note(_noVolumeText(landmarks))
        if pose_ownership.noFetusFound(volume):
            text = _("This is an earlier pose. The newest estimate found no fetus in {0}.")
            return Note(text.format(displayName(volume)), volume=volume)
        return None

    def _doubt(self) -> Note | None:
        poseScene = self._state.patient.poseScene
        doubt = poseScene.snapshot.doubt if poseScene is not None else ""
        return Note(_("Doubtful pose. {0}").format(doubt), isDoubt=True) if doubt else None

    def _landmarksWithoutVolume(self, landmarks: LandmarksNode) -> Note | None:
        if landmarks not in ownership.all_poses(slicer.mrmlScene):
            return None  # other points of the user; the panel has a message about them already
        return Note(_hiddenText(landmarks), _("Assign to this volume"), lambda: self._assignToVolume(landmarks))

    def _hiddenOfSelected(self, volume: VolumeNode | None) -> Note | None:
        """Hidden poses of the selected volume."""
        if volume is None:
            return None
        poses = ownership.poses_of(slicer.mrmlScene, volume)
        frames = [pose_ownership.hiddenFrame(landmarks) for landmarks in poses]
        ofShownFrame = [landmarks for landmarks, frame in zip(poses, frames, strict=True) if frame is None]
        if ofShownFrame:
            text = _("{0} has an earlier pose, which is hidden.").format(displayName(volume))
            return Note(text, _("Show it"), lambda: self._selectLandmarks(ofShownFrame[-1]), volume)
        if frames and frames[-1] is not None:
            frame = frames[-1]
            text = _("The pose of frame {0} of {1} is hidden.").format(frame + 1, displayName(volume))
            return Note(text, _("Show it"), lambda: _showFrame(volume, frame), volume)
        return None

    def _hiddenOfOthers(self, volume: VolumeNode | None) -> Note | None:
        """Hidden poses of other volumes, and of deleted volumes."""
        poses = ownership.all_poses(slicer.mrmlScene)
        other = self._state.patient.lastShownOther(poses)
        if other is not None and volume is not None:
            text = _("{0} has no pose yet. The pose of {1} is hidden.").format(displayName(volume), displayName(other))
            return Note(text, _("Show it"), lambda: self._selectVolume(other), other)
        if other is not None:
            text = _("No volume is chosen. The pose of {0} is hidden.").format(displayName(other))
            return Note(text, _("Show it"), lambda: self._selectVolume(other), other)
        if poses and volume is None:
            return Note(_hiddenText(poses[-1]), _("Show it"), lambda: self._selectLandmarks(poses[-1]))
        return Note(_hiddenText(poses[-1])) if poses else None

    # --- actions of the button

    def _selectVolume(self, volume: VolumeNode) -> None:
        if self._state.parameterNode is not None:
            self._state.parameterNode.inputVolume = volume
            view_orientation.showVolume(volume)

    def _selectLandmarks(self, landmarks: LandmarksNode) -> None:
        if self._state.parameterNode is not None:
            self._state.parameterNode.landmarks = landmarks

    def _assignToVolume(self, landmarks: LandmarksNode) -> None:
        ownership.assign_volume(landmarks, self._state.patient.volume)
        self._state.followParameters()


def _showFrame(volume: VolumeNode, frame: int) -> None:
    browser = pose_ownership.browserOf(volume)
    if browser is not None:
        browser.SetSelectedItemNumber(frame)


def _noVolumeText(landmarks: LandmarksNode) -> str:
    lost, none = _("The volume of {0} is not in the scene any more."), _("{0} belongs to no volume of the scene.")
    return (lost if ownership.is_orphaned(landmarks) else none).format(displayName(landmarks))


def _hiddenText(landmarks: LandmarksNode) -> str:
    lost = _("The volume of {0} is not in the scene any more; the pose is hidden.")
    none = _("{0} belongs to no volume of the scene and is hidden.")
    return (lost if ownership.is_orphaned(landmarks) else none).format(displayName(landmarks))
