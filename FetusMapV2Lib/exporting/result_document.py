"""What is written of one estimate: notes on its landmarks, the table of measurements, and all of it as JSON.

All numbers have their unit, their validity and their uncertainty; everything says "research use only".
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from FetusMapV2Lib.anatomy.biometry import JOINT_CENTRES, Measurement
from FetusMapV2Lib.anatomy.body_sections import HeadAndAbdomen, SectionSize
from FetusMapV2Lib.anatomy.crl_quality import CrlView, crl_quality
from FetusMapV2Lib.anatomy.dating import Dating
from FetusMapV2Lib.anatomy.head_dating import age_by_head
from FetusMapV2Lib.anatomy.known_dates import KnownDates, decide_dates
from FetusMapV2Lib.anatomy.measurements import Measurements, measurements
from FetusMapV2Lib.anatomy.nuchal import CRITERIA_SOURCE, CUT_OFF_MM, Nuchal
from FetusMapV2Lib.anatomy.planes import Plane
from FetusMapV2Lib.anatomy.plausibility import Check
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import Schema
from FetusMapV2Lib.core.notices import HANDEDNESS, RESEARCH_USE
from FetusMapV2Lib.core.serialisation import to_json
from FetusMapV2Lib.core.version import SOFTWARE
from FetusMapV2Lib.estimation.estimate import Estimate, TwoRegions
from FetusMapV2Lib.imaging.markups import pose_note
from FetusMapV2Lib.imaging.point_notes import PointState
from FetusMapV2Lib.imaging.training_cases import VOUCHED_STATES

#: Decimals of lengths, angles and shares in the JSON, and of unit vectors.
_DIGITS, _UNIT_DIGITS = 4, 6


def landmark_notes(pose: Pose, model: str = "", states: Sequence[PointState] = ()) -> list[str]:
    """What each point of a landmark file says of itself: state, confidence, radius, model, assumed definition.

    Args:
        pose: the landmarks.
        model: name of the model that estimated them.
        states: per landmark, where somebody edited the pose.
    """
    notes = []
    for landmark in pose.schema.landmarks:
        note = pose_note(pose, landmark.row, model=model, assumed=landmark.assumed)
        if states:
            note = replace(note, state=states[landmark.row])
        if note.state in VOUCHED_STATES:  # a model's confidence is not that of a person
            note = replace(note, confidence=math.nan, radius90_mm=math.nan, doubt="")
        notes.append(note.text())
    return notes


def measurements_csv(
    found: Measurements, doubt: str = "", quality: Sequence[Check] = (), sizes: Sequence[SectionSize] = ()
) -> str:
    """The measurement table as CSV: name, value, unit, 90 % uncertainty, validity, remark and grade of presence.

    Args:
        found: the measurements.
        doubt: why the pose that they are of is doubtful (`Pose.doubt`).
        quality: the criteria of the image of the crown-rump length.
        sizes: of head and abdomen, and what else was measured in the volume.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["name", "value", "unit", "plus_minus", "interval", "valid", "remark", "fetus"])
    grade = "doubtful" if doubt else "found"
    if doubt:
        writer.writerow(["Fetus", "", "", "", "", False, doubt, grade])
    for m in found.lengths:
        writer.writerow([m.name, _cell(m.value_mm, 1), "mm", _cell(m.uncertainty_mm, 1), "90 %", "", m.note, grade])
    for size in sizes:
        value, plus_minus = _cell(size.value_mm, 1), _cell(size.uncertainty_mm, 1)
        writer.writerow([size.name, value, "mm", plus_minus, "90 %", "", size.note, grade])
    for d in found.known_datings:
        low, high = d.valid_range_mm
        remark = f"{d.weeks_text}; valid for CRL {low:g}-{high:g} mm; {d.source}"
        name, interval = f"Gestational age ({d.name})", _cell(d.combined_days, 1)
        writer.writerow([name, _cell(d.days, 1), "d", interval, "90 %", d.valid, remark, grade])
    for c in (*found.checks, *quality):
        fits = "" if c.verdict == "unknown" else not c.doubtful
        remark = f"{c.remark}; {_usual(c)}{c.source}"
        writer.writerow([c.name, _cell(c.value, 1), c.unit, _cell(c.uncertainty, 1), "90 %", fits, remark, grade])
    writer.writerow(["Note", "", "", "", "", "", f"{RESEARCH_USE} {JOINT_CENTRES}", ""])
    return out.getvalue()


def results_document(
    estimate: Estimate,
    dates: KnownDates | None = None,
    view: CrlView | None = None,
    sections: HeadAndAbdomen | None = None,
    nuchal: Nuchal | None = None,
) -> dict[str, Any]:
    """The JSON of an estimate: landmarks (RAS mm), measurements, plane, ages, model and device.

    Args:
        estimate: the estimate.
        dates: of the pregnancy; with them, what they decide.
        view: what the volume tells of the image of the crown-rump length.
        sections: head and abdomen measured in the volume.
        nuchal: the nuchal translucency, if somebody measured it.
    """
    document = {
        "software": SOFTWARE,
        "notice": RESEARCH_USE,
        "found": estimate.found,
        "status": estimate.status,
        "reason": estimate.reason,
        "presence": estimate.detection_score,
        "unfamiliarity": estimate.unfamiliarity,
        "model": estimate.model,
        "device": estimate.device,
        "device_reason": estimate.device_reason,
        "seconds": {stage: round(seconds, 3) for stage, seconds in estimate.timings.items()},
        "warnings": estimate.warnings,
        "refinement": estimate.refinement,
    }
    values: dict[str, Any] = to_json(document, digits=_DIGITS)
    if not estimate.has_pose:
        return values
    quality = [_check_document(check) for check in crl_quality(estimate.pose, view)]
    found = measurements(estimate.pose)
    values |= _pose_document(estimate.pose, found, estimate.regions) | {"crl_quality": to_json(quality, digits=_DIGITS)}
    if nuchal is not None:
        tries = {"tries_mm": nuchal.tries_mm, "cut_off_mm": CUT_OFF_MM, "criteria": CRITERIA_SOURCE}
        values["nuchal_translucency"] = to_json(_size_document(nuchal.size) | tries, digits=_DIGITS)
    head = None
    if sections is not None:
        values["head_and_abdomen"] = to_json([_size_document(size) for size in sections.sizes], digits=_DIGITS)
        hc = sections.head.sizes[0]
        head = age_by_head(hc.value_mm, hc.uncertainty_mm) if hc.measured else None
        values["gestational_age"] += [] if head is None else [to_json(_dating_document(head), digits=_DIGITS)]
    return values | ({} if dates is None else _dates_document(found, dates, head))


def _size_document(size: SectionSize | Measurement) -> dict[str, Any]:
    return {
        "key": size.key,
        "name": size.name,
        "value_mm": size.value_mm,
        "uncertainty_mm": size.uncertainty_mm,
        "note": size.note,
    }


def _dates_document(found: Measurements, dates: KnownDates, head: Dating | None) -> dict[str, Any]:
    decision = decide_dates(dates, found.dating, found.crl.value_mm, head)
    document = {
        "examined": dates.examined.isoformat(),
        "ages": decision.ages,
        "decides": decision.decides,
        "reason": decision.reason,
        "days": decision.days,
        "due": None if decision.due is None else decision.due.isoformat(),
        "crl_z": decision.z,
        "crl_centile": decision.centile,
        "remarks": decision.remarks,
    }
    return {"dates": to_json(document, digits=_DIGITS)}


def _pose_document(pose: Pose, found: Measurements, regions: Mapping[int, TwoRegions]) -> dict[str, Any]:
    schema = pose.schema
    sides = pose.laterality
    document = {
        "coordinate_system": "RAS",
        "unit": "mm",
        "landmarks": [_landmark_document(pose, schema, row, regions.get(row)) for row in range(schema.count)],
        "handedness_note": HANDEDNESS,
        "laterality": None
        if sides is None
        else {
            "arms_confidence": sides.arms_confidence,
            "legs_confidence": sides.legs_confidence,
            "consistent": sides.consistent,
        },
        "measurements": [_size_document(length) for length in found.lengths],
        "bone_length_note": JOINT_CENTRES,
        "gestational_age": [_dating_document(dating) for dating in found.known_datings],
        "neck_flexion_deg": found.neck_flexion_deg,
        "checks": [_check_document(check) for check in found.checks],
        "midsagittal_plane": _plane_document(found.plane),
    }
    values: dict[str, Any] = to_json(document, digits=_DIGITS)
    if found.plane is not None:
        values["midsagittal_plane"]["normal_to_left"] = to_json(found.plane.normal, digits=_UNIT_DIGITS)
    return values


def _dating_document(dating: Dating) -> dict[str, Any]:
    return {
        "key": dating.key,
        "formula": dating.name,
        "days": dating.days,
        "weeks": dating.weeks_text,
        "interval_days": dating.combined_days,
        "interval_of_a_fetus_days": dating.interval_days,
        "interval_of_the_length_days": dating.length_days,
        "valid": dating.valid,
        "valid_range_mm": dating.valid_range_mm,
        "source": dating.source,
    }


def _check_document(check: Check) -> dict[str, Any]:
    """A check, with the keys of the JSON."""
    return {
        "key": check.key,
        "name": check.name,
        "value": check.value,
        "unit": check.unit,
        "uncertainty": check.uncertainty,
        "usual_range": check.limits,
        "verdict": check.verdict,
        "remark": check.remark,
        "source": check.source,
    }


def _landmark_document(pose: Pose, schema: Schema, row: int, two: TwoRegions | None) -> dict[str, Any]:
    landmark = schema.landmarks[row]
    return {
        "number": landmark.number,
        "key": landmark.key,
        "name": landmark.name,
        "position": pose.positions[row] if pose.present[row] else None,
        "confidence": None if pose.confidence is None else pose.confidence[row],
        "radius90_mm": None if pose.radius90_mm is None else pose.radius90_mm[row],
        "doubtful": bool(pose.doubtful[row]),
        "two_regions": None if two is None else [two.first, two.second],
    }


def _plane_document(plane: Plane | None) -> dict[str, Any] | None:
    if plane is None:
        return None
    return {
        "origin": plane.origin,
        "normal_to_left": plane.normal,
        "residual_mm": plane.residual_mm,
    }


def _cell(value: float | None, digits: int) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def _usual(check: Check) -> str:
    """The limits of a check in words; empty if there are none."""
    low, high = (_cell(limit, 1) for limit in check.limits)
    if low and high:
        return f"usual {low} to {high} {check.unit}; "
    return f"at least {low} {check.unit}; " if low else f"up to {high} {check.unit}; " if high else ""
