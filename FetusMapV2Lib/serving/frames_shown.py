"""What the page shows of the frames of a 4D case: which one is shown, and the movement between their poses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.presenting.estimate_text import frames_text
from FetusMapV2Lib.presenting.movement_rows import frame_text, movement_rows
from FetusMapV2Lib.presenting.tones import Tone
from FetusMapV2Lib.serving.open_case import OpenCase
from FetusMapV2Lib.serving.sequence_case import SequenceCase


def frames_shown(case: OpenCase | None) -> dict[str, Any]:
    """Number and time of the shown frame, and the rows of the movement; a static volume has one frame."""
    if not isinstance(case, SequenceCase):
        return {"frame": 0, "frame_count": 1, "frame_text": "", "movement_rows": []}
    movement, frame = case.movement(), case.frame
    return {
        "frame": frame,
        "frame_count": case.frame_count,
        "frame_text": frame_text(movement, frame, case.frame_count),
        "movement_rows": [asdict(row) for row in movement_rows(movement, frame)],
    }


def frames_message(case: SequenceCase, estimates: Sequence[Estimate]) -> tuple[str, Tone]:
    """In how many frames a fetus was found, or why in none."""
    if not any(estimate.has_pose for estimate in estimates):
        return estimates[0].reason, Tone.FINDING
    return frames_text(estimates, are_times_known=case.frames.times_s is not None)
