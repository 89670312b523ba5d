"""The field of the volume's voxel size, for volumes whose file gives a wrong one or none."""

from __future__ import annotations

from collections.abc import Callable

import slicer

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.imaging.volume_checks import SPACING_REMEDY
from FetusMapV2Lib.presenting.tones import Tone
from FetusMapV2Lib.scene.voxel_size import parse_voxel_size, set_voxel_size, voxel_size_text
from FetusMapV2Panel import pose_ownership, view_orientation
from FetusMapV2Panel.state import PanelState, Remedy
from FetusMapV2Panel.translations import translator

_ = translator(__name__)


class VoxelSize:
    """Shows the voxel size of the chosen volume and sets another one.

    Args:
        state: the shared state of the panel.
        ui: the widgets of the section that estimates.
        estimate: estimates the pose of the chosen volume.
    """

    def __init__(self, state: PanelState, ui: slicer.util.ChildWidgets, estimate: Callable[[], None]) -> None:
        self._state, self._ui, self._estimate = state, ui, estimate
        ui.voxelSizeEdit.connect("returnPressed()", self._set)
        ui.voxelSizeButton.connect("clicked(bool)", lambda checked=False: self._set())
        self.update()

    def update(self) -> None:
        """Show the voxel size of the chosen volume; call after another choice, and when a job starts or ends."""
        volume = self._state.patient.volume
        hasImage = volume is not None and volume.GetImageData() is not None
        self._ui.voxelSizeEdit.setText(voxel_size_text(volume) if hasImage else "")
        for widget in (self._ui.voxelSizeEdit, self._ui.voxelSizeButton):
            widget.setEnabled(hasImage)

    def remedyFor(self, warnings: str) -> Remedy | None:
        """A button that leads to the field, if one of these warnings asks for the true size."""
        return Remedy(_("Correct the voxel size"), self.focus) if SPACING_REMEDY in warnings else None

    def focus(self) -> None:
        """Open the options and put the cursor into the field."""
        self._ui.estimateCollapsibleButton.collapsed = False
        self._ui.optionsCollapsibleButton.collapsed = False
        self._ui.voxelSizeEdit.setFocus()
        self._ui.voxelSizeEdit.selectAll()

    def _set(self) -> None:
        volume = self._state.patient.volume
        if volume is None or self._state.running:
            return
        try:
            size = parse_voxel_size(self._ui.voxelSizeEdit.text)
        except UserError as error:
            self._state.say(error.line(with_option=False), Tone.ERROR, remedy=Remedy(_("Try again"), self.focus))
            return
        hadPose = self._state.poseScene is not None
        set_voxel_size(volume, size, pose_ownership.browserOf(volume))
        view_orientation.showVolume(volume)
        self.update()
        text = _("{0} now has voxels of {1} mm.").format(pose_ownership.displayName(volume), voxel_size_text(volume))
        if hadPose:
            text += " " + _("Its pose was estimated with the size before.")
        tone = Tone.WARNING if hadPose else Tone.SUCCESS
        self._state.say(text, tone, remedy=Remedy(_("Estimate with this size"), self._estimate))
