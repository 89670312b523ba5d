"""Durations for display, and the remaining time of a job."""

from __future__ import annotations

from FetusMapV2Lib.presenting.translation import translator

_ = translator(__name__)

#: Seconds of an estimate with the bundled model by device and refinement, for a computer that has made none yet: a
#: volume of 176 x 112 x 112 voxels on two cores, and docs/accuracy.md, "Time", for an NVIDIA H200.
_ELSEWHERE = {
    ("cpu", "off"): 2.0,
    ("cpu", "prior"): 2.0,
    ("cpu", "full"): 20.0,
    ("cuda", "off"): 0.4,
    ("cuda", "prior"): 0.4,
    ("cuda", "full"): 0.8,
}
#: A job must have run this long and got this far before its own speed predicts its end.
_MIN_SECONDS, _MIN_FRACTION = 3.0, 0.1


def seconds_elsewhere(device: str, refine: str) -> float | None:
    """How long an estimate with the bundled model took on another computer; None if it was not measured.

    Args:
        device: as the engine names it, e.g. "cpu" or "cuda:0".
        refine: the refinement, "off", "prior" or "full".
    """
    return _ELSEWHERE.get((device.split(":")[0], refine))


def remaining_seconds(elapsed: float, fraction: float, usual: float | None) -> float | None:
    """Seconds left of a job: from its usual duration, and once that is exceeded from its own speed.

    Args:
        elapsed: seconds since its start.
        fraction: its progress, 0 to 1.
        usual: the usual duration of such jobs in seconds; None if unknown.

    Returns:
        None if it cannot be predicted yet.
    """
    if usual is not None and elapsed < usual:
        return usual - elapsed
    if elapsed < _MIN_SECONDS or fraction < _MIN_FRACTION:
        return None
    return elapsed * (1 - fraction) / fraction


def duration_text(seconds: float) -> str:
    """A rounded duration, e.g. "12 s" or "3 min"."""
    if seconds < 90:
        return _("{0} s").format(max(1, round(seconds)))
    return _("{0} min").format(round(seconds / 60))
