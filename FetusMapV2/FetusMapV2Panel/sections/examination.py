"""The section with what the examiner adds to a report: dates, a comment, an earlier examination, the institution."""

from __future__ import annotations

from datetime import date
from typing import Any

import ctk
import qt
import slicer

from FetusMapV2Lib.anatomy.known_dates import KnownDates, parsed_date
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.study import Study, day_of
from FetusMapV2Lib.scene.examination_notes import ExaminationNotes, read_notes, write_notes
from FetusMapV2Panel.changes import Change
from FetusMapV2Panel.nodes import VolumeNode
from FetusMapV2Panel.sections.base import Section
from FetusMapV2Panel.state import PanelState
from FetusMapV2Panel.translations import translator

_ = translator(__name__)

_INSTITUTION_SETTING = "FetusMapV2/Institution"


class ExaminationSection(Section):
    """Keeps the notes of each volume with that volume; the institution is the user's."""

    UI = "FetusMapV2Examination.ui"

    def __init__(self, state: PanelState, widget: qt.QWidget) -> None:
        Section.__init__(self, state, widget)
        self._volume: VolumeNode | None = None
        self.ui.earlierPathLineEdit.filters = ctk.ctkPathLineEdit.Files
        self.ui.earlierPathLineEdit.nameFilters = [_("Results of an estimate (*.json)")]
        self.ui.institutionLineEdit.setText(institution())
        self.ui.institutionLineEdit.connect("editingFinished()", self.onInstitutionEdited)
        for edit in (self.ui.examinedLineEdit, self.ui.lastPeriodLineEdit, self.ui.chorionicityLineEdit):
            edit.connect("textChanged(QString)", self.onNotesEdited)
        self.ui.commentTextEdit.connect("textChanged()", self.onNotesEdited)
        self.ui.earlierPathLineEdit.connect("currentPathChanged(QString)", self.onNotesEdited)
        self.ui.forgetEarlierButton.connect("clicked(bool)", self.onForgetEarlier)
        self._show(None)

    def onChange(self, change: Change) -> None:
        if change in (Change.SHOWN_POSE_CHANGED, Change.VOLUME_SELECTED):
            poseScene = self.state.poseScene
            volume = self.state.patient.volume if poseScene is None else poseScene.volume_node
            if volume is not self._volume:
                self._show(volume)

    def onInstitutionEdited(self) -> None:
        slicer.app.userSettings().setValue(_INSTITUTION_SETTING, self.ui.institutionLineEdit.text.strip())

    def onNotesEdited(self, _text: str = "") -> None:
        """Store the notes with the volume that they were shown for."""
        if self._volume is not None:
            write_notes(self._volume, self._notes())

    def onForgetEarlier(self, checked: bool = False) -> None:
        # the line does not tell of an empty path
        self.ui.earlierPathLineEdit.currentPath = ""
        self.onNotesEdited()

    def close(self) -> None:
        Section.close(self)
        self._volume = None

    def _notes(self) -> ExaminationNotes:
        return ExaminationNotes(
            examined=self.ui.examinedLineEdit.text.strip(),
            last_period=self.ui.lastPeriodLineEdit.text.strip(),
            comment=self.ui.commentTextEdit.plainText.strip(),
            earlier=self.ui.earlierPathLineEdit.currentPath.strip(),
            chorionicity=self.ui.chorionicityLineEdit.text.strip(),
        )

    def _show(self, volume: VolumeNode | None) -> None:
        """Show the notes of a volume; while they are filled in, nothing is stored."""
        self._volume = None
        notes = read_notes(volume)
        self.ui.examinedLineEdit.setText(notes.examined)
        self.ui.lastPeriodLineEdit.setText(notes.last_period)
        self.ui.commentTextEdit.setPlainText(notes.comment)
        self.ui.earlierPathLineEdit.currentPath = notes.earlier
        self.ui.chorionicityLineEdit.setText(notes.chorionicity)
        lines = "examinedLineEdit", "lastPeriodLineEdit", "earlierPathLineEdit", "chorionicityLineEdit"
        for name in (*lines, "commentTextEdit"):
            getattr(self.ui, name).setEnabled(volume is not None)
        self._volume = volume


def institution() -> str:
    """Where the user examines, as kept on this computer."""
    return slicer.app.userSettings().value(_INSTITUTION_SETTING) or ""


def notedOptions(volumeNode: VolumeNode | None, study: Study | None) -> dict[str, Any]:
    """The arguments of `ExportOptions` that the notes of a volume give.

    Args:
        volumeNode: that the report is of; None if it is not in the scene.
        study: of the volume.

    Raises:
        InputError: a date is none, the day of the volume is needed and unknown, or the earlier file cannot be read.
    """
    from FetusMapV2Lib.reporting.earlier import read_earlier

    notes = read_notes(volumeNode)
    earlier = read_earlier(notes.earlier) if notes.earlier else None
    return {
        "institution": institution(),
        "comment": notes.comment,
        "chorionicity": notes.chorionicity,
        "earlier": earlier,
        "dates": _dates(notes, study),
    }


def _dates(notes: ExaminationNotes, study: Study | None) -> KnownDates | None:
    day = _date(notes.examined, _("Day of the volume")) or day_of(study)
    period = _date(notes.last_period, _("Last period"))
    if day is None and period is not None:
        remedy = _("Fill in 'Day of the volume', as 2026-01-31")
        raise InputError(_("the day of the volume is not known"), remedy=remedy)
    return None if day is None else KnownDates(day, last_period=period)


def _date(text: str, field: str) -> date | None:
    return parsed_date(text, field) if text else None
