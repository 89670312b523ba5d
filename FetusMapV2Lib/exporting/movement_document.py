"""What is written of a movement: a table with one row per frame as CSV, and everything with its definitions as JSON.

All numbers have their unit; what is not known stays empty; everything says "research use only".
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from FetusMapV2Lib.anatomy import movement as rules
from FetusMapV2Lib.anatomy.activity import SOURCE
from FetusMapV2Lib.anatomy.movement import Movement
from FetusMapV2Lib.anatomy.trajectories import HALF_WINDOW
from FetusMapV2Lib.core.notices import RESEARCH_USE
from FetusMapV2Lib.core.serialisation import to_json
from FetusMapV2Lib.core.version import SOFTWARE
from FetusMapV2Lib.estimation.estimate import Estimate

UNKNOWN_TIMES = "The times of the frames are not known: speeds are per frame."

#: Decimals of all numbers in the JSON.
_DIGITS = 4


def movement_csv(movement: Movement, estimates: Sequence[Estimate] = ()) -> str:
    """One row per frame: time, angles with the half-width of their 90 % interval, speeds, noise, which parts move.

    Args:
        movement: the movement.
        estimates: one per frame, for the grade of presence; empty if unknown.
    """
    unit = speed_unit(movement).replace("/", "_per_")
    header = ["frame", "time_s" if movement.time_unit == "s" else "time_frames"]
    for angle in movement.angle_list:
        header += [f"{angle.key}_deg", f"{angle.key}_plus_minus_deg"]
    for part in movement.part_list:
        header += [f"{part.key}_speed_{unit}", f"{part.key}_noise_{unit}", f"{part.key}_moves"]
    header += [f"body_turning_deg_per_{movement.time_unit}", "activity", "fetus", "note"]
    kinds = _kinds(movement)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    for frame, time in enumerate(movement.times):
        row = [str(frame), f"{time:.6g}"]
        for values in zip(movement.angles[frame], movement.angle_intervals[frame], strict=True):
            row += [_cell(value, 1) for value in values]
        speeds = zip(movement.speeds[frame], movement.noise[frame], movement.moving[frame], strict=True)
        for speed, noise, moves in speeds:
            known = math.isfinite(speed)
            row += [_cell(speed, 2), _cell(noise, 2), str(int(moves)) if known else ""]
        grade = estimates[frame].status if estimates and estimates[frame].has_pose else ""
        row += [_cell(movement.turning[frame], 2), kinds[frame], grade, RESEARCH_USE if frame == 0 else ""]
        writer.writerow(row)
    return out.getvalue()


def movement_document(movement: Movement, estimates: Sequence[Estimate]) -> dict[str, Any]:
    """The JSON of a movement: definitions, frames, ranges of angles, periods, model and device."""
    first = next((estimate for estimate in estimates if estimate.model), estimates[0])
    known = movement.time_unit == "s"
    document = {
        "software": SOFTWARE,
        "notice": RESEARCH_USE,
        "model": first.model,
        "device": first.device,
        "device_reason": first.device_reason,
        "laterality": _sides_document(estimates),
        "time_unit": movement.time_unit,
        "time_note": "" if known else UNKNOWN_TIMES,
        "speed_unit": speed_unit(movement),
        "method": {
            "window_frames": 2 * HALF_WINDOW + 1,
            "onset": rules.ONSET,
            "release": rules.RELEASE,
            "least_frames": rules.LEAST_FRAMES,
            "note": "A part moves from where its speed reaches onset x noise until it falls below release x noise; "
            "noise is the speed below which landmark errors alone stay in 90 % of cases. Head and limbs are seen "
            "from the trunk.",
        },
        "angles": [_angle_document(movement, column) for column in range(len(movement.angle_list))],
        "parts": [
            {
                "key": part.key,
                "name": part.name,
                "seen_from": "the world" if part.group is None else "the trunk",
                "peak_speed": _peak(movement.speeds[:, column]),
                "periods": movement.periods_of(part.key),
            }
            for column, part in enumerate(movement.part_list)
        ],
        "activity": _activity_document(movement),
        "frames": [
            {
                "frame": number,
                "time": time,
                "found": estimate.found,
                "status": estimate.status,
                "reason": estimate.reason,
                "presence": estimate.detection_score,
                "seconds": {stage: round(seconds, 3) for stage, seconds in estimate.timings.items()},
                "warnings": estimate.warnings,
            }
            for number, (time, estimate) in enumerate(zip(movement.times, estimates, strict=True))
        ],
    }
    values: dict[str, Any] = to_json(document, digits=_DIGITS)
    return values


def _kinds(movement: Movement) -> list[str]:
    """Per frame "rest", the kind of the movement, or nothing where it is not known."""
    known = movement.activity.known
    kinds = ["rest" if seen else "" for seen in known]
    for event in movement.activity.events:
        kinds[event.first : event.last + 1] = [event.kind] * (event.last + 1 - event.first)
    return [kind if seen else "" for kind, seen in zip(kinds, known, strict=True)]


def _activity_document(movement: Movement) -> dict[str, Any]:
    activity = movement.activity
    return {
        "counts": activity.counts,
        "active_share": activity.active_share,
        "longest_rest": activity.longest_rest,
        "events": activity.events,
        "note": SOURCE,
    }


def speed_unit(movement: Movement) -> str:
    """The unit of speeds."""
    return f"mm/{movement.time_unit}"


def _sides_document(estimates: Sequence[Estimate]) -> dict[str, float] | None:
    """How sure left and right are over the sequence; the same in every frame with a fetus."""
    sides = next((estimate.pose.laterality for estimate in estimates if estimate.pose.laterality is not None), None)
    if sides is None:
        return None
    return {"arms_confidence": sides.arms_confidence, "legs_confidence": sides.legs_confidence}


def _angle_document(movement: Movement, column: int) -> dict[str, Any]:
    angle, values = movement.angle_list[column], movement.angles[:, column]
    known = values[np.isfinite(values)]
    return {
        "key": angle.key,
        "name": angle.name,
        "definition": angle.definition,
        "least_deg": known.min() if len(known) else None,
        "most_deg": known.max() if len(known) else None,
    }


def _peak(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.max()) if len(known) else math.nan


def _cell(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else ""
