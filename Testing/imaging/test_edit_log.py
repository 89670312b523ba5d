"""Edits as JSON, without identity, and successive moves as one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.edit_log import Change, Edit, edits_from_json, edits_to_json, merged, without_identity

MOVE = Edit("2026-01-31T10:20:30Z", "moved", (Change(5, (1.0, 2.0, 3.0), (4.0, 5.0, 6.0)),), "Dr. Ä", "F 1", "toy")
NEXT = replace(MOVE, time="2026-01-31T10:21:00Z", changes=(Change(5, (4.0, 5.0, 6.0), None),), action="set missing")


def test_json_reads_back_also_from_a_later_version() -> None:
    values = edits_to_json([MOVE, NEXT])
    assert values[0]["changes"] == [{"number": 5, "before": [1.0, 2.0, 3.0], "after": [4.0, 5.0, 6.0]}]
    values[0]["signature"] = "of a later version"
    assert edits_from_json(values) == (MOVE, NEXT)
    with pytest.raises(InputError, match="edit log"):
        edits_from_json({"edits": 3})


def test_without_identity_neither_who_nor_when_is_left() -> None:
    (edit,) = without_identity([MOVE])
    assert (edit.time, edit.examiner) == ("", "") and edit.changes == MOVE.changes


def test_moves_of_one_landmark_by_one_person_are_one_row() -> None:
    further = replace(MOVE, time="2026-01-31T10:20:40Z", changes=(Change(5, (4.0, 5.0, 6.0), (7.0, 8.0, 9.0)),))
    assert merged([MOVE, further]) == [replace(further, changes=(Change(5, (1.0, 2.0, 3.0), (7.0, 8.0, 9.0)),))]
    others = (replace(further, examiner="X"), replace(further, changes=(Change(6, None, (1.0, 1.0, 1.0)),)), NEXT)
    assert all(len(merged([MOVE, other])) == 2 for other in others)
