"""How long a job will take: from the duration of earlier jobs, stored in the user's settings, and its progress."""

from __future__ import annotations

import json
import statistics

import slicer

from FetusMapV2Panel.translations import translator

_ = translator(__name__)

_KEY = "FetusMapV2/Durations"
_STORED_DURATIONS, _STORED_KINDS = 5, 30
#: A job must have run this long and got this far before its own speed predicts its end.
_MIN_SECONDS, _MIN_FRACTION = 3.0, 0.1


def usualSeconds(kind: str) -> float | None:
    """The median duration of the last jobs of a kind; None if there was none."""
    durations = _stored().get(kind)
    return statistics.median(durations) if durations else None


def record(kind: str, seconds: float) -> None:
    """Store how long a job took."""
    stored = _stored()
    durations = [*stored.pop(kind, []), round(seconds, 2)][-_STORED_DURATIONS:]
    recent = dict(list(stored.items())[1 - _STORED_KINDS :])
    slicer.app.userSettings().setValue(_KEY, json.dumps({**recent, kind: durations}))


def remainingSeconds(elapsed: float, fraction: float, usual: float | None) -> float | None:
    """Seconds left: from the usual duration, and once that is exceeded from the job's own speed; None if unknown."""
    if usual is not None and elapsed < usual:
        return usual - elapsed
    if elapsed < _MIN_SECONDS or fraction < _MIN_FRACTION:
        return None
    return elapsed * (1 - fraction) / fraction


def durationText(seconds: float) -> str:
    """A rounded duration, e.g. "12 s" or "3 min"."""
    if seconds < 90:
        return _("{0} s").format(max(1, round(seconds)))
    return _("{0} min").format(round(seconds / 60))


def _stored() -> dict[str, list[float]]:
    try:
        stored = json.loads(slicer.app.userSettings().value(_KEY) or "{}")
        return {str(kind): [float(one) for one in durations] for kind, durations in stored.items()}
    except (ValueError, TypeError, AttributeError):
        return {}
