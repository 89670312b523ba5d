"""How long a job will take: from earlier ones of its kind, kept in the user's settings, and from how far it is."""

from __future__ import annotations

import json
import statistics

import slicer

from FetusMapV2Panel.translations import translator

_ = translator(__name__)

_KEY = "FetusMapV2/Durations"
_KEPT, _KINDS = 5, 30
#: A job must have come so far before its end is told from its own pace.
_LEAST_SECONDS, _LEAST_FRACTION = 3.0, 0.1


def expected(kind: str) -> float | None:
    """Seconds that the last jobs of a kind took, their median; None if there was none."""
    taken = _all().get(kind)
    return statistics.median(taken) if taken else None


def add(kind: str, seconds: float) -> None:
    """Note how long a job took."""
    known = _all()
    taken = [*known.pop(kind, []), round(seconds, 2)][-_KEPT:]
    recent = dict(list(known.items())[1 - _KINDS :])
    slicer.app.userSettings().setValue(_KEY, json.dumps({**recent, kind: taken}))


def remaining(elapsed: float, fraction: float, usual: float | None) -> float | None:
    """Seconds to go: by what is usual, and when that is over by the job's own pace; None if nothing can be said."""
    if usual is not None and elapsed < usual:
        return usual - elapsed
    if elapsed < _LEAST_SECONDS or fraction < _LEAST_FRACTION:
        return None
    return elapsed * (1 - fraction) / fraction


def inWords(seconds: float) -> str:
    """About how long, e.g. "12 s" or "3 min"."""
    if seconds < 90:
        return _("{0} s").format(max(1, round(seconds)))
    return _("{0} min").format(round(seconds / 60))


def _all() -> dict[str, list[float]]:
    try:
        found = json.loads(slicer.app.userSettings().value(_KEY) or "{}")
        return {str(kind): [float(one) for one in taken] for kind, taken in found.items()}
    except (ValueError, TypeError, AttributeError):
        return {}
