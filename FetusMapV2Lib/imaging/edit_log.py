"""What was done to the landmarks of a pose by hand, step by step: who, when, from where to where, in which software.

The list only grows: an undone step stays in it, and its undoing is a step of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from FetusMapV2Lib.core.serialisation import ReadingRules, from_json, to_json

Action = Literal[
    "moved",
    "placed",
    "set missing",
    "confirmed",
    "confirmation withdrawn",
    "sides swapped",
    "refined",
    "reset",
    "estimated again",
    "undone",
    "redone",
]
Place = tuple[float, float, float]

_DIGITS = 3


@dataclass(frozen=True)
class Change:
    """What a step did to one landmark.

    Attributes:
        number: of the landmark, from 1.
        before: where it was, RAS mm in the world; None = it was missing.
        after: where it is since then; None = missing.
    """

    number: int
    before: Place | None
    after: Place | None


@dataclass(frozen=True)
class Edit:
    """One step; a drag from press to release is one.

    Attributes:
        time: UTC, as ``2026-01-31T10:20:30Z``; empty if it is withheld.
        action: what was done. "estimated again" replaced all landmarks by a new estimate.
        changes: per landmark.
        examiner: as entered by the user; empty if no name was entered, or if it is withheld.
        software: name and version.
        model: name and identity of the model that gave the pose; empty if unknown.
        frame: of a sequence, from 0; None in a single volume.
    """

    time: str
    action: Action
    changes: tuple[Change, ...] = ()
    examiner: str = ""
    software: str = ""
    model: str = ""
    frame: int | None = None


def edits_to_json(edits: Sequence[Edit]) -> list[dict[str, Any]]:
    """The steps as JSON values."""
    values: list[dict[str, Any]] = to_json(list(edits), digits=_DIGITS)
    return values


def edits_from_json(values: Any) -> tuple[Edit, ...]:
    """The steps in JSON values.

    Raises:
        InputError: they are no list of steps.
    """
    return from_json(tuple[Edit, ...], values, "the edit log", rules=ReadingRules(unknown_keys=True))


def without_identity(edits: Iterable[Edit]) -> tuple[Edit, ...]:
    """The steps without who made them and when; the day may be that of the examination."""
    return tuple(replace(edit, time="", examiner="") for edit in edits)


def merged(edits: Iterable[Edit]) -> list[Edit]:
    """The steps, moves of one landmark in a row by one person as one from the first place to the last."""
    result: list[Edit] = []
    for edit in edits:
        last = result[-1] if result else None
        if last is not None and _continues(last, edit):
            change = replace(edit.changes[0], before=last.changes[0].before)
            result[-1] = replace(edit, changes=(change,))
        else:
            result.append(edit)
    return result


def _continues(one: Edit, other: Edit) -> bool:
    if one.action != "moved" or other.action != "moved" or len(one.changes) != 1 or len(other.changes) != 1:
        return False
    same = (one.examiner, one.software, one.model, one.frame) == (
        other.examiner,
        other.software,
        other.model,
        other.frame,
    )
    return same and one.changes[0].number == other.changes[0].number
