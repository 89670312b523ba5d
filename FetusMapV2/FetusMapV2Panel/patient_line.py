"""The line below the selectors: whose pose is hidden, or what to know about the one on show, and a button for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import slicer
import vtk

from FetusMapV2Lib.scene import ownership
from FetusMapV2Panel import pose_ownership, view_orientation
from FetusMapV2Panel.state import PanelState
from FetusMapV2Panel.translations import translator
from FetusMapV2Panel.widget_widths import wrappable

_ = translator(__name__)


@dataclass(frozen=True)
class Offer:
    """A line, and what its button does."""

    text: str
    button: str = ""
    act: Callable[[], None] | None = None
    other: Any = None


class PatientLine:
    """Shows the line for what is chosen; nothing where all is as one expects.

    Args:
        state: what is on show.
        label, button: of the panel.
    """

    def __init__(self, state: PanelState, label, button):
        self._state, self._label, self._button = state, label, button
        self._offer: Offer | None = None
        self._named: tuple[Any, int] | None = None
        button.connect("clicked(bool)", self._onClicked)
        self.update()

    def update(self) -> None:
        """The volume, the pose on show, or the poses of the scene may have changed."""
        self._offer = self._find() if self._state.parameterNode is not None else None
        self._follow(self._offer.other if self._offer is not None else None)
        self._label.setText(wrappable(self._offer.text) if self._offer is not None else "")
        self._label.setVisible(self._offer is not None)
        self._button.setText(self._offer.button if self._offer is not None else "")
        self._button.setVisible(self._offer is not None and self._offer.act is not None)
        self._button.setEnabled(not self._state.running)

    def close(self) -> None:
        self._follow(None)

    def _onClicked(self, checked: bool = False) -> None:
        if self._offer is not None and self._offer.act is not None:
            self._offer.act()

    def _follow(self, volume) -> None:
        """A volume that is named in the line may get another name."""
        if self._named is not None:
            node, tag = self._named
            node.RemoveObserver(tag)
        tag = volume.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self.update()) if volume is not None else 0
        self._named = (volume, tag) if volume is not None else None

    # --- what there is to say

    def _find(self) -> Offer | None:
        patient, chosen = self._state.patient, self._state.parameterNode.landmarks
        if patient.poseScene is not None:
            return self._ofPoseOnShow(patient.volume, patient.poseScene.landmarks_node)
        if patient.volume is not None and chosen is not None and ownership.volume_of(chosen) is None:
            return self._withoutVolume(chosen)
        return self._ofOwnHidden(patient.volume) or self._ofOthers(patient.volume)

    def _ofPoseOnShow(self, volume, landmarks) -> Offer | None:
        if volume is None:
            return Offer(_noVolumeText(landmarks))
        if pose_ownership.noFetusFound(volume):
            text = _("This is an earlier pose. The newest estimate found no fetus in {0}.")
            return Offer(text.format(pose_ownership.displayName(volume)), other=volume)
        return None

    def _withoutVolume(self, landmarks) -> Offer | None:
        if landmarks not in ownership.all_poses(slicer.mrmlScene):
            return None  # somebody's own points: the panel has said so
        return Offer(_hiddenText(landmarks), _("It is of the chosen volume"), lambda: self._giveToVolume(landmarks))

    def _ofOwnHidden(self, volume) -> Offer | None:
        """Poses of the chosen volume that are not on show."""
        every = ownership.poses_of(slicer.mrmlScene, volume)
        now = [landmarks for landmarks in every if pose_ownership.hiddenFrame(landmarks) is None]
        if now:
            text = _("{0} has an earlier pose, which is hidden.")
            return Offer(
                text.format(pose_ownership.displayName(volume)),
                _("Show it"),
                lambda: self._showLandmarks(now[-1]),
                volume,
            )
        if every:
            frame = pose_ownership.hiddenFrame(every[-1])
            text = _("The pose of frame {0} of {1} is hidden.").format(frame + 1, pose_ownership.displayName(volume))
            return Offer(
                text, _("Show it"), lambda: pose_ownership.browserOf(volume).SetSelectedItemNumber(frame), volume
            )
        return None

    def _ofOthers(self, volume) -> Offer | None:
        """Poses of other volumes, and of volumes that are gone."""
        poses = ownership.all_poses(slicer.mrmlScene)
        other = self._state.patient.lastShownOther(poses)
        if other is not None and volume is not None:
            text = _("{0} has no pose yet. The pose of {1} is hidden.").format(
                pose_ownership.displayName(volume), pose_ownership.displayName(other)
            )
            return Offer(text, _("Show it"), lambda: self._showVolume(other), other)
        if other is not None:
            text = _("No volume is chosen. The pose of {0} is hidden.").format(pose_ownership.displayName(other))
            return Offer(text, _("Show it"), lambda: self._showVolume(other), other)
        if poses:
            show = (_("Show it"), lambda: self._showLandmarks(poses[-1])) if volume is None else ()
            return Offer(_hiddenText(poses[-1]), *show)
        return None

    # --- what the button does

    def _showVolume(self, volume) -> None:
        self._state.parameterNode.inputVolume = volume
        view_orientation.showVolume(volume)

    def _showLandmarks(self, landmarks) -> None:
        self._state.parameterNode.landmarks = landmarks

    def _giveToVolume(self, landmarks) -> None:
        ownership.give_to(landmarks, self._state.patient.volume)
        self._state.followParameters()


def _noVolumeText(landmarks) -> str:
    lost, none = _("The volume of {0} is not in the scene any more."), _("{0} belongs to no volume of the scene.")
    return (lost if ownership.has_lost_its_volume(landmarks) else none).format(pose_ownership.displayName(landmarks))


def _hiddenText(landmarks) -> str:
    lost = _("The volume of {0} is not in the scene any more; the pose is hidden.")
    none = _("{0} belongs to no volume of the scene and is hidden.")
    return (lost if ownership.has_lost_its_volume(landmarks) else none).format(pose_ownership.displayName(landmarks))
