"""What an examiner notes of one volume: its day, the last period, a comment, an earlier examination.

Stored in the volume node, so that it is saved with the scene and never shown or reported for another volume.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from FetusMapV2Lib.scene.node_attributes import read_attribute, write_attribute

ATTRIBUTE = "FetusMapV2.Examination"


@dataclass(frozen=True)
class ExaminationNotes:
    """The texts as they were typed, empty where nothing was.

    Attributes:
        examined: day of the volume; empty = that of its DICOM study.
        last_period: first day of the last menstrual period.
        comment: for the report.
        earlier: result file of an earlier examination of the same patient.
        chorionicity: of several fetuses, and amnionicity.
    """

    examined: str = ""
    last_period: str = ""
    comment: str = ""
    earlier: str = ""
    chorionicity: str = ""


def read_notes(volume: Any) -> ExaminationNotes:
    """The notes of a volume node; empty ones for none, or if there are none."""
    found = None if volume is None else read_attribute(volume, ATTRIBUTE, ExaminationNotes)
    return found or ExaminationNotes()


def write_notes(volume: Any, notes: ExaminationNotes) -> None:
    """Store the notes in a volume node; empty ones leave no trace."""
    if notes == ExaminationNotes():
        volume.RemoveAttribute(ATTRIBUTE)
    else:
        write_attribute(volume, ATTRIBUTE, notes)
