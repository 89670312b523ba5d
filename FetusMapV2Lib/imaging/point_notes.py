"""What the description of a control point says: who placed the landmark, how sure, and where it was estimated.

Words that a reader of Slicer's point list understands, and that can be read back from a Markups file.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

PointState = Literal["estimated", "edited", "confirmed", "missing"]

_EDITED, _CONFIRMED, _REFINED = "placed by hand", "confirmed", "refined"
_MISSING, _NOT_FOUND = "marked missing", "not found"
_ASSUMED = "definition assumed"
_DOUBTFUL = "doubtful pose"
_NUMBER = r"(-?[0-9]{1,7}(?:\.[0-9]{1,9})?)"  # longer numbers are not coordinates
_PLACE = re.compile(rf"estimated at RAS {_NUMBER} {_NUMBER} {_NUMBER} mm")
_NAME = re.compile(r"estimated as (.+)")
_CONFIDENCE = re.compile(rf"confidence {_NUMBER}")
_RADIUS = re.compile(rf"90 % radius {_NUMBER} mm")
_MODEL = re.compile(r"model (.+)")
_DOUBT = re.compile(rf"{_DOUBTFUL}: (.+)", re.DOTALL)


@dataclass(frozen=True)
class PointNote:
    """What is known about one landmark besides its position.

    Attributes:
        state: "estimated" by a model, "edited" by hand, "confirmed" where it is, or "missing".
        refined: its position was refined around landmarks set by hand.
        estimated_at: where a model put it, RAS mm in the node's own coordinates; None if it lies there, or unknown.
        estimated_as: the name that the model gave it, empty if it is still called so.
        confidence: of the model, 0-1, NaN = unknown.
        radius90_mm: of the model's position, NaN = unknown.
        model: name and identity, empty = unknown.
        assumed: the definition of the landmark is assumed.
        doubt: why the whole pose is doubtful (`Pose.doubt`), empty if it is not.
    """

    state: PointState = "estimated"
    refined: bool = False
    estimated_at: tuple[float, float, float] | None = None
    estimated_as: str = ""
    confidence: float = math.nan
    radius90_mm: float = math.nan
    model: str = ""
    assumed: bool = False
    doubt: str = ""

    def text(self, *, exact: bool = False) -> str:
        """The note in words; empty if there is nothing to note.

        Args:
            exact: with so many digits that what is computed from it once more is the same.
        """
        parts = [self._state_words(), _REFINED if self.refined else ""]
        if self.doubt:
            parts.append(f"{_DOUBTFUL}: {_one_part(self.doubt)}")
        if self.estimated_at is not None:
            parts.append("estimated at RAS {:.4f} {:.4f} {:.4f} mm".format(*self.estimated_at))
        if self.estimated_as:
            parts.append(f"estimated as {_one_part(self.estimated_as)}")
        if math.isfinite(self.confidence):
            parts.append(f"confidence {self.confidence:.{6 if exact else 2}f}")
        if math.isfinite(self.radius90_mm):
            parts.append(f"90 % radius {self.radius90_mm:.{4 if exact else 1}f} mm")
        if self.model:
            parts.append(f"model {_one_part(self.model)}")
        if self.assumed:
            parts.append(_ASSUMED)
        return "; ".join(filter(None, parts))

    def _state_words(self) -> str:
        missing = _NOT_FOUND if self.estimated_at is None else _MISSING
        return {"estimated": "", "edited": _EDITED, "confirmed": _CONFIRMED, "missing": missing}[self.state]

    @classmethod
    def read(cls, text: str) -> PointNote | None:
        """The note in a description; None if it tells nothing of a model or a state, as in a hand-made point list."""
        parts = [part.strip() for part in text.split(";")]
        place = _first(_PLACE, parts)
        note = cls(
            state=_state(parts),
            refined=_REFINED in parts,
            estimated_at=None if place is None else (float(place[1]), float(place[2]), float(place[3])),
            estimated_as=_words(_NAME, parts),
            confidence=_number(_CONFIDENCE, parts, most=1.0),
            radius90_mm=_number(_RADIUS, parts),
            model=_words(_MODEL, parts),
            doubt=_words(_DOUBT, parts),
        )
        if note.text() == "":
            return None
        return note


def _one_part(text: str) -> str:
    return " ".join(text.replace(";", ",").split())


def _first(pattern: re.Pattern[str], parts: list[str]) -> re.Match[str] | None:
    return next((found for part in parts if (found := pattern.fullmatch(part))), None)


def _words(pattern: re.Pattern[str], parts: list[str]) -> str:
    found = _first(pattern, parts)
    return "" if found is None else found[1]


def _number(pattern: re.Pattern[str], parts: list[str], most: float = math.inf) -> float:
    """A number from 0 to `most`; NaN for any other, and without one."""
    found = _first(pattern, parts)
    value = math.nan if found is None else float(found[1])
    return value if 0.0 <= value <= most else math.nan


def _state(parts: list[str]) -> PointState:
    words: dict[str, PointState] = {
        _EDITED: "edited",
        _CONFIRMED: "confirmed",
        _MISSING: "missing",
        _NOT_FOUND: "missing",
    }
    return next((words[part] for part in parts if part in words), "estimated")
