"""The line of a result: what it says of every kind of pose and without one, and where its links lead."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from anatomy.bodies import standing_body

from FetusMapV2Lib.anatomy.measurements import measurements
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.result_line import result_line
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.presenting.linked_line import (
    LinkedLine,
    line_of_no_fetus,
    line_of_pose,
    line_without_result,
    next_row,
)
from FetusMapV2Lib.presenting.tones import Tone

SCHEMA = default_schema()


def body(missing: tuple[int, ...] = (), doubtful: tuple[int, ...] = ()) -> Pose:
    positions, confidence = standing_body(), np.full(SCHEMA.count, 0.9)
    confidence[list(doubtful)] = 0.2
    positions[list(missing)], confidence[list(missing)] = np.nan, np.nan
    return Pose(positions, confidence, np.full(SCHEMA.count, 2.0))


def line(pose: Pose, **options: bool) -> LinkedLine:
    return line_of_pose(pose, measurements(pose), **options)


def test_a_sure_pose_is_a_success_and_has_no_links():
    found, written = line(body()), result_line(body(), measurements(body()))
    assert found.tone is Tone.SUCCESS
    assert found.text == f"{written.sign} {written.text}", "the line of the report"
    assert not any(part.rows for part in found.parts)


def test_doubtful_and_missing_landmarks_are_counted_named_and_linked():
    found = line(body(missing=(21,), doubtful=(12, 3)))
    assert found.tone is Tone.WARNING
    assert found.text.startswith("! ") and found.text.endswith(" · 2 doubtful · 1 missing")
    doubtful, missing = found.parts[-2:]
    assert doubtful.rows == (3, 12), "in the order of the list"
    assert (doubtful.tip, missing.rows) == ("2 doubtful: Nasal bone, Left wrist", (21,))
    assert "1 missing: Right ankle" in found.tip


def test_a_length_without_crown_leads_to_it_and_gives_no_age():
    found = line(body(missing=(0,)))
    assert found.parts[0].text == "CRL missing" and found.parts[0].rows == (0,)
    assert found.parts[1].text == "neutral", "no age"


def test_a_length_beyond_the_formula_is_explained():
    small = replace(body(), positions=standing_body() / 10)
    assert "outside 15 to 95 mm" in line(small).tip and line(small).tone is Tone.WARNING
    assert "outside" not in line(body()).tip


def test_a_doubtful_pose_leads_to_all_that_no_person_has_settled():
    confidence = np.full(SCHEMA.count, 0.9)
    confidence[[0, 9]] = 1.0  # set by hand
    found = line(replace(body(), confidence=confidence, doubt="The head is not clear."))
    assert (found.sign, found.tone) == ("?", Tone.WARNING)
    assert found.parts[-1].rows == tuple(row for row in range(SCHEMA.count) if row not in (0, 9))
    assert "The head is not clear." in found.tip


def test_an_earlier_pose_says_so_first_and_is_no_success():
    found = line(body(), outdated=True)
    assert found.parts[0].text == "earlier pose"
    assert (found.sign, found.tone) == ("?", Tone.WARNING)


def test_a_frame_without_landmarks_has_no_fetus():
    found = line(body(missing=tuple(range(SCHEMA.count))))
    assert found.tone is Tone.FINDING and "No fetus" in found.text


def test_no_fetus_and_no_result_have_their_own_words():
    assert line_of_no_fetus().text == "◆ No fetus found" and line_of_no_fetus().tone is Tone.FINDING
    waiting = [line_without_result(has_volume=chosen) for chosen in (True, False)]
    assert {one.tone for one in waiting} == {Tone.NOTE} and waiting[0].text != waiting[1].text


@pytest.mark.parametrize("start", [None, 21])
def test_a_link_leads_from_one_landmark_to_the_next_and_round_again(start):
    reached, current = [], start
    for _ in range(4):
        current = next_row((3, 12, 21), current, SCHEMA)
        reached.append(current)
    assert reached == [3, 12, 21, 3]


def test_a_link_to_none_and_to_the_only_one():
    assert next_row((), 3, SCHEMA) is None
    assert next_row((7,), 7, SCHEMA) == 7
