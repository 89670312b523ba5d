"""The section that corrects: the list of landmarks, and what can be done to them, each step undoable."""

from __future__ import annotations

import numpy as np
import qt
import slicer

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.scene import undo_history
from FetusMapV2Lib.scene.editing import LandmarkEditor
from FetusMapV2Lib.scene.placement import Placement
from FetusMapV2Lib.scene.pose_nodes import moving_row
from FetusMapV2Lib.scene.slice_focus import focus_on
from FetusMapV2Panel.landmark_list import LandmarkList, Line, definitionHtml, lines
from FetusMapV2Panel.parameters import Settings
from FetusMapV2Panel.sections.base import Section
from FetusMapV2Panel.shortcuts import LetterShortcuts
from FetusMapV2Panel.state import Change
from FetusMapV2Panel.translations import translator

_ = translator(__name__)


class LandmarksSection(Section):
    """Look at each landmark, and put right what is wrong."""

    UI = "FetusMapV2Landmarks.ui"

    def __init__(self, state, widget):
        Section.__init__(self, state, widget)
        self._schema = default_schema()
        self._editor: LandmarkEditor | None = None
        self._placement: Placement | None = None
        self._placingIn = None
        self._grabbing: tuple[object, int] | None = None
        self._lines: list[Line] = []
        self._list = LandmarkList(self.ui.landmarksTree, self._schema, self.onChosen, self._updateButtons)
        self._letters = LetterShortcuts(button for button in vars(self.ui).values() if _hasLetter(button))
        self._escape = qt.QShortcut(widget)
        self._escape.setKey(qt.QKeySequence("Esc"))
        self._connect()
        self._showPose()

    def _connect(self) -> None:
        for button, slot in (
            (self.ui.nextDoubtfulButton, self.onNextDoubtful),
            (self.ui.confirmButton, self.onConfirm),
            (self.ui.placeButton, self.onPlace),
            (self.ui.missingButton, self.onMissing),
            (self.ui.lockButton, self.onLock),
            (self.ui.resetButton, self.onReset),
            (self.ui.resetAllButton, self.onResetAll),
            (self.ui.swapArmsButton, self.onSwapArms),
            (self.ui.swapLegsButton, self.onSwapLegs),
            (self.ui.swapAllButton, self.onSwapAll),
            (self.ui.refineButton, self.onRefine),
            (self.ui.undoButton, self.onUndo),
            (self.ui.redoButton, self.onRedo),
        ):
            button.connect("clicked(bool)", slot)
        self._escape.connect("activated()", self._stopPlacing)

    def onChange(self, change: Change) -> None:
        if change is Change.SHOWN_POSE_CHANGED:
            self._showPose()
        elif change is Change.POSE_EDITED:
            self._showLines()
        elif change is Change.RUNNING_CHANGED:
            self._stopPlacing()
            self._updateButtons()
        elif (
            change is Change.PARAMETERS_CHANGED
            and self._placement is not None
            and self._volume() is not self._placingIn
        ):
            self._stopPlacing()

    def leave(self) -> None:
        self._stopPlacing()

    def close(self) -> None:
        Section.close(self)
        self._stopPlacing()
        self._letters.close()
        self._letGo()

    # --- what is on show

    def _showPose(self) -> None:
        poseScene = self.state.poseScene
        if self._editor is None or self._editor.fetus is not poseScene:
            self._stopPlacing()
            self._letGo()
            self._editor = LandmarkEditor(poseScene) if poseScene is not None else None
            if poseScene is not None:
                node = poseScene.landmarks_node
                self._grabbing = (node, node.AddObserver(node.PointStartInteractionEvent, self.onGrabbed))
        self._showLines()

    def _letGo(self) -> None:
        if self._grabbing is not None:
            node, tag = self._grabbing
            node.RemoveObserver(tag)
            self._grabbing = None

    def _showLines(self) -> None:
        self._lines = lines(self._editor.fetus) if self._editor is not None else []
        self._list.show(self._lines)
        self._updateButtons()

    def _updateButtons(self) -> None:
        running, placing = self.state.running, self._placement is not None
        free = self._editor is not None and not running and not placing
        chosen = [self._lines[row] for row in self._list.selected()] if self._editor is not None else []
        present = [line for line in chosen if line.state != "missing"]
        movable = [line for line in chosen if not line.locked]
        enabled = {
            self.ui.nextDoubtfulButton: free and any(line.doubtful for line in self._lines),
            self.ui.confirmButton: free and bool(present),
            self.ui.placeButton: placing or (free and len(chosen) == 1 and bool(movable)),
            self.ui.missingButton: free and any(line.state != "missing" for line in movable),
            self.ui.lockButton: free and bool(chosen),
            self.ui.resetButton: free and bool(movable),
            self.ui.refineButton: free and any(line.setByHand for line in self._lines),
            self.ui.undoButton: not running and not placing and undo_history.can_undo(slicer.mrmlScene),
            self.ui.redoButton: not running and not placing and undo_history.can_redo(slicer.mrmlScene),
        }
        for button in (
            self.ui.resetAllButton,
            self.ui.swapArmsButton,
            self.ui.swapLegsButton,
            self.ui.swapAllButton,
        ):
            enabled[button] = free
        for button, wanted in enabled.items():
            if button.enabled != wanted:
                button.setEnabled(wanted)
        self.ui.confirmButton.setChecked(bool(present) and all(line.state == "confirmed" for line in present))
        self.ui.lockButton.setChecked(bool(chosen) and all(line.locked for line in chosen))
        self.ui.placeButton.setChecked(placing)
        self._escape.setEnabled(placing)
        self._updateTexts()

    def _updateTexts(self) -> None:
        row = self._list.current()
        definition = _("Choose a landmark to see what it is, and to turn the views to it.")
        self.ui.definitionLabel.setText(definition if row is None else definitionHtml(self._schema.landmarks[row]))
        self.ui.summaryLabel.setText(_summary(self._lines))

    # --- going to landmarks

    def onChosen(self, row: int) -> None:
        """A landmark was clicked in the list, or reached by an arrow key: turn the views to it."""
        self._updateButtons()
        position = self._editor.fetus.pose().positions[row] if self._editor is not None else np.full(3, np.nan)
        if np.isfinite(position).all():
            focus_on(slicer.mrmlScene, position)

    def onGrabbed(self, caller, event) -> None:
        """A landmark is grabbed in a view: keys now mean this one."""
        row = moving_row(caller)
        if row is not None and row != self._list.current():
            self._list.select(row)

    def onNextDoubtful(self, checked: bool = False) -> None:
        current = self._list.current()
        if not self._lines:
            return
        order = [row for group in self._schema.groups for row in self._schema.rows(group)]
        start = order.index(current) + 1 if current is not None else 0
        row = next((row for row in order[start:] + order[:start] if self._lines[row].doubtful), None)
        if row is not None:
            self._list.select(row)
            self.onChosen(row)

    # --- steps

    def onConfirm(self, checked: bool) -> None:
        self._editor.confirm(self._list.selected(), checked)
        self._updateButtons()

    def onMissing(self, checked: bool = False) -> None:
        self._editor.set_missing(self._list.selected())

    def onLock(self, checked: bool) -> None:
        self._editor.lock(self._list.selected(), checked)
        self._updateButtons()

    def onReset(self, checked: bool = False) -> None:
        self._editor.reset(self._list.selected())

    def onResetAll(self, checked: bool = False) -> None:
        self._editor.reset()

    def onSwapArms(self, checked: bool = False) -> None:
        self._editor.swap_sides(["arms"])

    def onSwapLegs(self, checked: bool = False) -> None:
        self._editor.swap_sides(["legs"])

    def onSwapAll(self, checked: bool = False) -> None:
        self._editor.swap_sides()

    def onUndo(self, checked: bool = False) -> None:
        self._step(undo_history.undo)

    def onRedo(self, checked: bool = False) -> None:
        self._step(undo_history.redo)

    def _step(self, go) -> None:
        """Go back or forth, if it was a step in the chosen volume."""
        try:
            go(slicer.mrmlScene, self.state.patient.volume)
        except UserError as error:
            self.say(error.line(with_option=False), isError=True)
        self._updateButtons()

    # --- placing

    def onPlace(self, checked: bool) -> None:
        if self._placement is not None:
            self._stopPlacing()
            return
        row = self._list.selected()[0]
        name = self._schema.landmarks[row].name
        self.say(_("Click in a view where {0} is. Right click or Esc: leave it as it was.").format(name))
        self._placingIn = self._volume()
        self._placement = Placement(self._editor.fetus, row, self.onPlaced)
        self._updateButtons()

    def onPlaced(self, placed: bool) -> None:
        self._placement = None
        self.say("")
        self._showLines()

    def _volume(self):
        return self.state.parameterNode.inputVolume if self.state.parameterNode is not None else None

    def _stopPlacing(self) -> None:
        if self._placement is not None:
            self._placement.cancel()

    # --- refinement

    def onRefine(self, checked: bool = False) -> None:
        if self._editor is not None and self.state.parameterNode is not None:
            self.run(self._refine)

    def _refine(self, onProgress, shouldCancel):
        parameters, poseScene = self.state.parameterNode, self._editor.fetus
        before = poseScene.pose().positions
        refined = yield from self.state.logic.refine(
            poseScene,
            settings=Settings.of(parameters),
            onProgress=onProgress,
            shouldCancel=shouldCancel,
            waitForCompletion=False,
        )
        if not self.state.closed and self.state.poseScene is poseScene:
            moved = np.linalg.norm(poseScene.pose().positions - before, axis=1)
            self.say("\n".join([_movedText(moved), *refined.warnings]))


def _hasLetter(widget) -> bool:
    return widget.inherits("QPushButton") and not widget.shortcut.isEmpty()


def _summary(contents: list[Line]) -> str:
    if not contents:
        return ""
    counts = [
        (_("{0} doubtful"), sum(line.doubtful for line in contents)),
        (_("{0} edited"), sum(line.state == "edited" for line in contents)),
        (_("{0} confirmed"), sum(line.state == "confirmed" for line in contents)),
        (_("{0} missing"), sum(line.state == "missing" for line in contents)),
    ]
    return " · ".join(text.format(count) for text, count in counts)


def _movedText(moved: np.ndarray) -> str:
    count = int((np.nan_to_num(moved) > 0).sum())
    if not count:
        return _("No landmark had to move.")
    return _("{0} landmarks moved by up to {1:.1f} mm.").format(count, np.nanmax(moved))
