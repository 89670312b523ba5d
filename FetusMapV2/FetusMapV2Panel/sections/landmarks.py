"""The section that corrects landmarks: their list, and undoable steps on them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import qt
import slicer

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.core.progress import OnProgress, ShouldCancel
from FetusMapV2Lib.presenting.landmark_actions import possible_actions
from FetusMapV2Lib.presenting.landmark_rows import LandmarkRow, definition_html, landmark_rows, summary_text
from FetusMapV2Lib.presenting.linked_line import next_row
from FetusMapV2Lib.presenting.tones import Tone
from FetusMapV2Lib.scene import undo_history
from FetusMapV2Lib.scene.control_points import grabbed_row
from FetusMapV2Lib.scene.editing import LandmarkEditor
from FetusMapV2Lib.scene.observations import Observations
from FetusMapV2Panel.changes import Change
from FetusMapV2Panel.landmark_list import LandmarkList
from FetusMapV2Panel.parameters import Settings
from FetusMapV2Panel.placing import LandmarkPlacing
from FetusMapV2Panel.sections.base import Section
from FetusMapV2Panel.shortcuts import LetterShortcuts
from FetusMapV2Panel.state import PanelState, Remedy
from FetusMapV2Panel.translations import translator

_ = translator(__name__)

#: A step on the pose, from its editor and the selected rows.
Step = Callable[[LandmarkEditor, list[int]], object]


class LandmarksSection(Section):
    """Inspect each landmark and correct it."""

    UI = "FetusMapV2Landmarks.ui"

    def __init__(self, state: PanelState, widget: qt.QWidget) -> None:
        Section.__init__(self, state, widget)
        self._schema = default_schema()
        self._editor: LandmarkEditor | None = None
        self._placing = LandmarkPlacing(state, self._onPlacingEnd)
        self._grabObservations = Observations()
        self._rows: list[LandmarkRow] = []
        self._lookedAt: set[int] = set()  # rows of the shown pose that the user went to
        self._list = LandmarkList(self.ui.landmarksTree, self._schema, self.onCurrent, self._updateButtons)
        letters = [button for button in vars(self.ui).values() if _hasLetter(button)]
        self._letters = LetterShortcuts(letters, self._showKeys)
        self.ui.keysCheckBox.setChecked(True)
        self.ui.keysCheckBox.connect("clicked(bool)", self._letters.setOn)
        self._escape = qt.QShortcut(widget)
        self._escape.setKey(qt.QKeySequence("Esc"))
        self._escape.connect("activated()", self._placing.stop)
        self._connect()
        self._connectSteps()
        self._showPose()

    def _connect(self) -> None:
        for button, slot in (
            (self.ui.nextDoubtfulButton, self.onNextDoubtful),
            (self.ui.confirmButton, self.onConfirm),
            (self.ui.placeButton, self.onPlace),
            (self.ui.lockButton, self.onLock),
            (self.ui.refineButton, self.onRefine),
            (self.ui.undoButton, lambda checked=False: self._undoOrRedo(undo_history.undo)),
            (self.ui.redoButton, lambda checked=False: self._undoOrRedo(undo_history.redo)),
        ):
            button.connect("clicked(bool)", slot)

    def _connectSteps(self) -> None:
        steps: list[tuple[qt.QPushButton, Step]] = [
            (self.ui.missingButton, lambda editor, rows: editor.set_missing(rows)),
            (self.ui.resetButton, lambda editor, rows: editor.reset(rows)),
            (self.ui.resetAllButton, lambda editor, rows: editor.reset()),
            (self.ui.swapArmsButton, lambda editor, rows: editor.swap_sides(["arms"])),
            (self.ui.swapLegsButton, lambda editor, rows: editor.swap_sides(["legs"])),
            (self.ui.swapAllButton, lambda editor, rows: editor.swap_sides()),
        ]
        for button, step in steps:
            button.connect("clicked(bool)", lambda checked, step=step: self._edit(step))

    def onChange(self, change: Change) -> None:
        if change is Change.SHOWN_POSE_CHANGED:
            self._showPose()
        elif change is Change.POSE_EDITED:
            self._showRows()
        elif change is Change.LANDMARK_SELECTED:
            self._showCurrent()
        elif change is Change.LANDMARK_SOUGHT:
            self.ui.landmarksCollapsibleButton.collapsed = False
        elif change is Change.RUNNING_CHANGED:
            self._placing.stop()
            self._updateButtons()
        elif change is Change.PARAMETERS_CHANGED:
            self._placing.stopForOtherVolume()

    def leave(self) -> None:
        self._placing.stop()

    def close(self) -> None:
        Section.close(self)
        self._placing.stop()
        self._letters.close()
        self._observeGrabs(None)

    # --- the shown pose

    def _showPose(self) -> None:
        poseScene = self.state.poseScene
        if self._editor is None or self._editor.fetus is not poseScene:
            self._placing.stop()
            self._lookedAt = set()
            self._editor = LandmarkEditor(poseScene) if poseScene is not None else None
            self._observeGrabs(poseScene.landmarks_node if poseScene is not None else None)
        self._showRows()

    def _observeGrabs(self, landmarks: slicer.vtkMRMLMarkupsFiducialNode | None) -> None:
        self._grabObservations.clear()
        if landmarks is not None:
            self._grabObservations.observe(landmarks, landmarks.PointStartInteractionEvent, self.onGrabbed)

    def _showRows(self) -> None:
        self._rows = landmark_rows(self._editor.fetus.current()) if self._editor is not None else []
        self._list.show(self._rows)
        self._updateButtons()

    def _updateButtons(self) -> None:
        ui, placing = self.ui, self._placing.isActive
        isBusy = self.state.running or placing
        can = possible_actions(self._rows, self._list.selected(), is_busy=isBusy)
        for button, enabled in (
            (ui.nextDoubtfulButton, can.next_doubtful),
            (ui.confirmButton, can.confirm),
            (ui.placeButton, placing or can.place),
            (ui.missingButton, can.mark_missing),
            (ui.lockButton, can.lock),
            (ui.resetButton, can.reset),
            (ui.resetAllButton, can.edit),
            (ui.swapArmsButton, can.edit),
            (ui.swapLegsButton, can.edit),
            (ui.swapAllButton, can.edit),
            (ui.refineButton, can.refine),
            (ui.undoButton, not isBusy and undo_history.can_undo(slicer.mrmlScene)),
            (ui.redoButton, not isBusy and undo_history.can_redo(slicer.mrmlScene)),
        ):
            if button.enabled != enabled:
                button.setEnabled(enabled)
        ui.confirmButton.setChecked(can.is_confirmed)
        ui.lockButton.setChecked(can.is_locked)
        ui.placeButton.setChecked(placing)
        self._escape.setEnabled(placing)
        self._updateTexts()

    def _updateTexts(self) -> None:
        row = self._list.current()
        hint = _("Select a landmark to see its definition and to move the views to it.")
        self.ui.definitionLabel.setText(hint if row is None else definition_html(self._schema.landmarks[row]))
        self.ui.summaryLabel.setText(summary_text(self._rows))

    def _showKeys(self, isOn: bool, isTyping: bool) -> None:
        """Say whether the letter keys act on landmarks now."""
        waiting, acting = _("wait while you type"), _("act on the selected landmarks")
        text = _("off") if not isOn else waiting if isTyping else acting
        self.ui.keysLabel.setText(_("Keys: {0}.").format(text))

    # --- the current landmark

    def onCurrent(self, row: int) -> None:
        """Move the views to a landmark that was clicked in the list or reached by an arrow key."""
        self.state.goToLandmark(row)

    def onGrabbed(self, caller: slicer.vtkMRMLMarkupsFiducialNode, event: str) -> None:
        """Select a landmark that is grabbed in a view, so that keys apply to it."""
        row = grabbed_row(caller)
        if row is not None and row != self._list.current():
            self.state.selectLandmark(row)

    def _showCurrent(self) -> None:
        """Select the current landmark in the list."""
        row = self.state.currentLandmark
        if row is not None:
            self._lookedAt.add(row)
        if row is not None and row != self._list.current():
            self._list.select(row)
        self._updateButtons()

    def onNextDoubtful(self, checked: bool = False) -> None:
        doubtful = [number for number, row in enumerate(self._rows) if row.doubtful]
        row = next_row(doubtful, self._list.current(), self._schema)
        if row is not None:
            self.state.goToLandmark(row)

    # --- steps

    def onConfirm(self, checked: bool) -> None:
        """Confirm the selected landmarks; asks first if several of them were never looked at."""
        rows = self._list.selected()
        unseen = [row for row in rows if row not in self._lookedAt and self._rows[row].state == "estimated"]
        if checked and len(unseen) > 1:
            text = _("{0} of these {1} landmarks were not looked at one by one. Are they all in their places?")
            confirm = Remedy(_("Confirm all {0}").format(len(rows)), lambda: self._confirmAll(rows))
            self.say(text.format(len(unseen), len(rows)), Tone.WARNING, confirm)
        else:
            self._edit(lambda editor, rows: editor.confirm(rows, checked))
        self._updateButtons()

    def _confirmAll(self, rows: list[int]) -> None:
        self.say("")
        if self._editor is not None:
            self._editor.confirm(rows)
        self._updateButtons()

    def onLock(self, checked: bool) -> None:
        self._edit(lambda editor, rows: editor.lock(rows, checked))
        self._updateButtons()

    def _edit(self, step: Step) -> None:
        if self._editor is not None:
            step(self._editor, self._list.selected())

    def _undoOrRedo(self, go: Callable[..., object]) -> None:
        """Undo or redo a step, if it was made in the selected volume."""
        try:
            go(slicer.mrmlScene, self.state.patient.volume)
        except UserError as error:
            self.say(error.line(with_option=False), Tone.ERROR)
        self._updateButtons()

    # --- placing

    def onPlace(self, checked: bool) -> None:
        if self._placing.isActive or self._editor is None:
            self._placing.stop()
            return
        row = self._list.selected()[0]
        name = self._schema.landmarks[row].name
        self.say(_("Click in a view where {0} is. Right click or Esc cancels.").format(name))
        self._placing.start(self._editor.fetus, row)
        self._updateButtons()

    def _onPlacingEnd(self) -> None:
        self.say("")
        self._showRows()

    # --- refinement

    def onRefine(self, checked: bool = False) -> None:
        self.run(self._refine)

    def _refine(self, onProgress: OnProgress, shouldCancel: ShouldCancel) -> Generator[None, None, None]:
        parameters, poseScene = self.state.parameterNode, self.state.poseScene
        if parameters is None or poseScene is None:
            return
        before = poseScene.pose().positions
        refined = yield from self.state.logic.refine(
            poseScene,
            settings=Settings.of(parameters),
            onProgress=onProgress,
            shouldCancel=shouldCancel,
        )
        if not self.state.closed and self.state.poseScene is poseScene:
            moved = np.linalg.norm(poseScene.pose().positions - before, axis=1)
            tone = Tone.WARNING if refined.warnings else Tone.SUCCESS
            self.say("\n".join([_movedText(moved), *refined.warnings]), tone)


def _hasLetter(widget: Any) -> bool:
    return bool(widget.inherits("QPushButton") and not widget.shortcut.isEmpty())


def _movedText(moved: np.ndarray) -> str:
    count = int((np.nan_to_num(moved) > 0).sum())
    if not count:
        return _("No landmark moved.")
    return _("{0} landmarks moved by up to {1:.1f} mm.").format(count, np.nanmax(moved))
