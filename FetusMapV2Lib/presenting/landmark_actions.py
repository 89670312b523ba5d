"""Which actions on landmarks are possible, from their rows and the selected ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from FetusMapV2Lib.presenting.landmark_rows import LandmarkRow


@dataclass(frozen=True)
class LandmarkActions:
    """Whether each action is possible, and whether the toggles are on.

    Attributes:
        edit: actions on the whole pose: swap sides, reset all.
        next_doubtful: go to the next doubtful landmark.
        confirm: confirm the selected landmarks.
        place: place the selected landmark by a click.
        mark_missing: mark the selected landmarks as missing.
        lock: lock the selected landmarks.
        reset: reset the selected landmarks to the estimate.
        refine: refine around the landmarks that were set by hand.
        is_confirmed: whether all selected landmarks are confirmed.
        is_locked: whether all selected landmarks are locked.
    """

    edit: bool = False
    next_doubtful: bool = False
    confirm: bool = False
    place: bool = False
    mark_missing: bool = False
    lock: bool = False
    reset: bool = False
    refine: bool = False
    is_confirmed: bool = False
    is_locked: bool = False


def possible_actions(rows: Sequence[LandmarkRow], selected: Sequence[int], *, is_busy: bool) -> LandmarkActions:
    """The possible actions.

    Args:
        rows: all landmarks of the shown pose; empty without a pose.
        selected: numbers of the selected rows.
        is_busy: whether a job runs or a landmark is being placed, which allows no action.
    """
    chosen = [rows[number] for number in selected] if rows else []
    present = [row for row in chosen if row.state != "missing"]
    movable = [row for row in chosen if not row.locked]
    free = bool(rows) and not is_busy
    return LandmarkActions(
        edit=free,
        next_doubtful=free and any(row.doubtful for row in rows),
        confirm=free and bool(present),
        place=free and len(chosen) == 1 and bool(movable),
        mark_missing=free and any(row.state != "missing" for row in movable),
        lock=free and bool(chosen),
        reset=free and bool(movable),
        refine=free and any(row.set_by_hand for row in rows),
        is_confirmed=bool(present) and all(row.state == "confirmed" for row in present),
        is_locked=bool(chosen) and all(row.locked for row in chosen),
    )
