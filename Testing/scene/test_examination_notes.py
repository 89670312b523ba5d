"""Notes of an examination in real volume nodes."""

from __future__ import annotations

import pytest

slicer = pytest.importorskip("slicer")

from FetusMapV2Lib.scene.examination_notes import ATTRIBUTE, ExaminationNotes, read_notes, write_notes  # noqa: E402


def test_notes_are_kept_and_empty_ones_leave_no_trace() -> None:
    scene = slicer.vtkMRMLScene()
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    assert read_notes(volume) == read_notes(None) == ExaminationNotes()
    notes = ExaminationNotes("2026-01-31", comment="Größe „gut“\n2. Zeile")
    write_notes(volume, notes)
    assert read_notes(volume) == notes
    write_notes(volume, ExaminationNotes())
    assert volume.GetAttribute(ATTRIBUTE) is None


def test_a_damaged_attribute_counts_as_none() -> None:
    scene = slicer.vtkMRMLScene()
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    volume.SetAttribute(ATTRIBUTE, "{")
    assert read_notes(volume) == ExaminationNotes()
