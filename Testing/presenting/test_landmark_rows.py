"""The rows of the landmark list, and the actions that they allow."""

from __future__ import annotations

import pytest

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.presenting.landmark_actions import LandmarkActions, possible_actions
from FetusMapV2Lib.presenting.landmark_rows import LandmarkRow, confidence_tip, definition_html, summary_text


@pytest.mark.parametrize(("confidence", "text"), [(0.996, ">99%"), (0.5, "50%"), (None, "–")])
def test_no_confidence_is_100_per_cent(confidence: float | None, text: str) -> None:
    assert LandmarkRow("estimated", confidence).confidence_text() == text


def test_the_state_names_all_that_applies() -> None:
    assert (
        LandmarkRow("estimated", 0.3, refined=True, locked=True).state_text() == "estimated, refined, doubtful, locked"
    )
    assert LandmarkRow("edited").state_text() == "edited"


def test_all_estimates_of_a_doubtful_pose_are_doubtful() -> None:
    sure = LandmarkRow("estimated", 0.99, of_doubtful_pose=True)
    assert sure.state_text() == "estimated, doubtful"
    assert not LandmarkRow("confirmed", of_doubtful_pose=True).doubtful
    assert possible_actions([sure], [], is_busy=False).next_doubtful


def test_the_summary_counts_the_states() -> None:
    rows = [LandmarkRow("estimated", 0.3), LandmarkRow("estimated", 0.9), LandmarkRow("edited"), LandmarkRow("missing")]
    assert summary_text(rows) == "1 doubtful · 1 edited · 0 confirmed · 1 missing"
    assert summary_text([]) == ""


def test_definitions_are_html_and_say_what_is_assumed() -> None:
    for landmark in default_schema().landmarks:
        assert ("Assumed" in definition_html(landmark)) == landmark.assumed
    landmark = default_schema().landmarks[0]
    assert "within 2.5 mm" in confidence_tip(LandmarkRow("estimated", 0.9, 2.51), landmark)
    assert confidence_tip(None, landmark) == definition_html(landmark)


def test_without_a_pose_or_while_busy_nothing_is_possible() -> None:
    assert possible_actions([], [], is_busy=False) == LandmarkActions()
    busy = possible_actions([LandmarkRow("confirmed", locked=True)], [0], is_busy=True)
    assert busy == LandmarkActions(is_confirmed=True, is_locked=True)


@pytest.mark.parametrize(
    ("row", "possible"),
    [
        (LandmarkRow("estimated", 0.9), {"confirm", "place", "mark_missing", "lock", "reset"}),
        (LandmarkRow("estimated", 0.3), {"next_doubtful", "confirm", "place", "mark_missing", "lock", "reset"}),
        (LandmarkRow("edited"), {"confirm", "place", "mark_missing", "lock", "reset", "refine"}),
        (LandmarkRow("confirmed"), {"confirm", "place", "mark_missing", "lock", "reset", "refine", "is_confirmed"}),
        (LandmarkRow("missing"), {"place", "lock", "reset"}),
        (LandmarkRow("estimated", 0.9, locked=True), {"confirm", "lock", "refine", "is_locked"}),
        (LandmarkRow("missing", locked=True), {"lock", "is_locked"}),
    ],
)
def test_actions_on_one_selected_landmark(row: LandmarkRow, possible: set[str]) -> None:
    actions = possible_actions([row, LandmarkRow("missing")], [0], is_busy=False)
    assert {name for name, value in vars(actions).items() if value} == possible | {"edit"}


def test_several_landmarks_cannot_be_placed_and_are_toggled_together() -> None:
    rows = [LandmarkRow("confirmed"), LandmarkRow("missing"), LandmarkRow("estimated", 0.9)]
    assert not possible_actions(rows, [0, 1], is_busy=False).place
    assert possible_actions(rows, [0, 1], is_busy=False).is_confirmed, "a missing landmark cannot be confirmed"
    assert not possible_actions(rows, [0, 2], is_busy=False).is_confirmed
    assert not possible_actions(rows, [], is_busy=False).lock
