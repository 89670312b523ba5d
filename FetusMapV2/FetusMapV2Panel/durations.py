"""The durations of earlier jobs, stored in the user's settings."""

from __future__ import annotations

import json
import statistics
from typing import TYPE_CHECKING

import slicer

from FetusMapV2Panel.parameters import Settings

if TYPE_CHECKING:
    from FetusMapV2Lib.estimation.estimate import Estimate
    from FetusMapV2Lib.estimation.resource_estimate import ResourceEstimate

_KEY = "FetusMapV2/Durations"
_STORED_DURATIONS, _STORED_KINDS = 5, 30


def kindOf(where: Estimate | ResourceEstimate, settings: Settings) -> str:
    """The kind of an estimate: those with the same device, model, refinement and memory budget take about as long."""
    return f"{where.device} | {where.model} | {settings.refine.value} | {settings.memoryBudget:g}"


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


def _stored() -> dict[str, list[float]]:
    try:
        stored = json.loads(slicer.app.userSettings().value(_KEY) or "{}")
        return {str(kind): [float(one) for one in durations] for kind, durations in stored.items()}
    except (ValueError, TypeError, AttributeError):
        return {}
