"""What descriptions of control points say, and what is read back from them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from FetusMapV2Lib.imaging.point_notes import PointNote

NUMBERS = st.floats(-300, 300).map(lambda value: round(value, 4))
WORDS = st.text(st.characters(categories=["L", "N", "P", "Zs"]), max_size=30).map(
    lambda text: " ".join(text.replace(";", ",").split())
)
NOTES = st.builds(
    PointNote,
    state=st.sampled_from(["estimated", "edited", "confirmed", "missing"]),
    refined=st.booleans(),
    estimated_at=st.none() | st.tuples(NUMBERS, NUMBERS, NUMBERS),
    estimated_as=WORDS,
    confidence=st.integers(0, 100).map(lambda percent: percent / 100),
    radius90_mm=st.integers(0, 300).map(lambda tenths: tenths / 10),
    model=WORDS,
    doubt=WORDS,
)


@given(NOTES)
def test_a_note_is_read_back_from_its_text(note: PointNote) -> None:
    assert PointNote.read(note.text()) == note


def test_an_exact_note_keeps_what_results_are_computed_from() -> None:
    note = PointNote("confirmed", confidence=0.987654, radius90_mm=4.4567)
    assert PointNote.read(note.text(exact=True)) == note


def test_words_for_a_reader() -> None:
    note = PointNote(
        "edited", estimated_at=(1, -2.5, 3), confidence=0.871, radius90_mm=2.04, model="m (ab)", assumed=True
    )
    assert note.text() == (
        "placed by hand; estimated at RAS 1.0000 -2.5000 3.0000 mm; confidence 0.87; 90 % radius 2.0 mm; model m (ab); "
        "definition assumed"
    )
    assert PointNote("missing").text() == "not found"
    assert PointNote("missing", estimated_at=(1, 2, 3)).text().startswith("marked missing; estimated at")
    assert PointNote().text() == ""


def test_a_semicolon_in_a_model_name_divides_nothing() -> None:
    note = PointNote.read(PointNote(model="mine; confirmed", confidence=0.5).text())
    assert note is not None
    assert (note.state, note.model) == ("estimated", "mine, confirmed")


@pytest.mark.parametrize("text", ["", "blurred", "the radiologist confirmed this", "confidence high"])
def test_descriptions_of_a_hand_made_list_tell_nothing(text: str) -> None:
    assert PointNote.read(text) is None


def test_unknown_parts_are_passed_over() -> None:
    note = PointNote.read("confirmed; seen by two readers; confidence 0.70")
    assert note is not None
    assert (note.state, note.confidence) == ("confirmed", 0.7)
    assert math.isnan(note.radius90_mm)


@pytest.mark.parametrize(
    "text",
    [
        f"confidence {'9' * 400}",
        "confidence 1.5",
        "confidence -0.1",
        "90 % radius -3 mm",
        f"90 % radius {'9' * 5000} mm",
        f"estimated at RAS {'1' * 400} 2 3 mm",
        "estimated at RAS nan inf 3 mm",
        "confidence ٣",
        ";" * 10**5,
    ],
)
def test_numbers_that_cannot_be_are_not_known(text: str) -> None:
    assert PointNote.read(text) is None


def test_a_doubtful_pose_is_told_in_every_point() -> None:
    note = PointNote(doubt="a score of 0.77; below 0.80", confidence=0.9)
    assert note.text() == "doubtful pose: a score of 0.77, below 0.80; confidence 0.90"
