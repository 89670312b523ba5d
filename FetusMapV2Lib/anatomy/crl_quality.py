"""The quality of the crown-rump image after ISUOG: plane, posture, field of view, beam, size, fluid at the chin.

A criterion is judged only where there is a ground for a limit; the others show their value and say why not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from FetusMapV2Lib.anatomy.biometry import Z90
from FetusMapV2Lib.anatomy.laterality import RADIUS90_IN_SD
from FetusMapV2Lib.anatomy.plausibility import Check, Verdict
from FetusMapV2Lib.anatomy.pose import DOUBTFUL_CONFIDENCE, Pose

_GUIDELINE = "ISUOG, Ultrasound Obstet Gynecol 2013;41:102-113"
#: Neutral range of the angle crown - most dorsal point of the skin - hip, degrees (doi 10.1055/a-2337-0078).
_NEUTRAL_CDH = "118.3° to 137.8°"
#: "Most of the width" is at least half of it.
_LEAST_SHARE = 50.0
#: Step of the numeric derivatives of the angle.
_STEP_MM = 1e-4


@dataclass(frozen=True)
class CrlView:
    """What the volume tells of the image of the crown-rump length; NaN = unknown.

    Attributes:
        crown_inside_mm: distance of the crown from the border of the field of view, negative outside.
        rump_inside_mm: the same for the rump.
        field_mm: length of the line through crown and rump inside the field of view.
        chin_chest_mm: distance from the chin to the line from the upper thoracic spine to the cord insertion.
        chin_chest_grey: darkest stretch on that way, as a share of the median grey of the trunk.
    """

    crown_inside_mm: float = math.nan
    rump_inside_mm: float = math.nan
    field_mm: float = math.nan
    chin_chest_mm: float = math.nan
    chin_chest_grey: float = math.nan


def crl_quality(pose: Pose, view: CrlView | None = None) -> tuple[Check, ...]:
    """The criteria of a crown-rump image, each with value, limit, verdict and source.

    Args:
        pose: of one fetus.
        view: what its volume tells; None = no volume at hand.

    Returns:
        One check per criterion; its verdict is "unknown" without a value or without a ground for a limit. A limit that
        is NaN is open.
    """
    view = view or CrlView()
    crown, rump = pose.schema.crl_rows
    return (
        _plane(pose),
        _cranial_dorsal_hip(pose),
        _inside(pose, "crown", crown, view.crown_inside_mm),
        _inside(pose, "rump", rump, view.rump_inside_mm),
        _seen(pose),
        _beam(),
        _size(pose, view.field_mm),
        _fluid(view),
    )


def cranial_dorsal_hip_deg(positions: np.ndarray, rows: tuple[int, int, int]) -> float:
    """Angle in degrees at the second of three landmarks (crown, upper thoracic spine, rump); NaN if one is missing."""
    crown, dorsal, rump = np.asarray(positions, dtype=np.float64)[list(rows)]
    up, down = crown - dorsal, rump - dorsal
    lengths = float(np.linalg.norm(up) * np.linalg.norm(down))
    return math.degrees(math.acos(np.clip(up @ down / lengths, -1.0, 1.0))) if lengths > 0 else math.nan


def _plane(pose: Pose) -> Check:
    """The distance of the midline landmarks from their plane, against what their own radii explain.

    With independent isotropic errors of standard deviation s, n times the mean squared distance from the fitted plane
    is s^2 chi^2 with n - 3 degrees of freedom; the limit is its 95th centile (Wilson and Hilferty 1931).
    """
    plane, limit = pose.midsagittal_plane, math.nan
    rows = [row for row in pose.schema.midsagittal_rows if pose.present[row]]
    freedom = len(rows) - 3
    radii = pose.assumed_radius90_mm
    if plane is not None and radii is not None and freedom > 0:
        variance = float(np.mean((radii[rows] / RADIUS90_IN_SD) ** 2))
        largest = freedom * (1 - 2 / (9 * freedom) + Z90 * math.sqrt(2 / (9 * freedom))) ** 3
        limit = math.sqrt(variance * largest / len(rows))
    value = math.nan if plane is None else plane.residual_mm
    verdict = _verdict(value, None, (math.nan, limit))
    words = {
        "fine": "the midline landmarks lie in one plane within their radii",
        "flagged": "the midline landmarks do not lie in one plane: bent, turned, or a wrong landmark",
    }
    missing = "too few midline landmarks" if plane is None else "the landmarks have no radius to judge it by"
    return Check(
        key="crl_midsagittal",
        name="Distance from the midplane",
        value=value,
        unit="mm",
        uncertainty=None,
        limits=(math.nan, limit),
        verdict=verdict,
        remark=words.get(verdict, f"not judged: {missing}"),
        source=f"Midsagittal plane: {_GUIDELINE}, without a number; the limit is the 95th centile of what the radii of "
        "the landmarks explain",
    )


def _cranial_dorsal_hip(pose: Pose) -> Check:
    rows = (pose.schema.crl_rows[0], pose.schema.trunk_frame_rows[0], pose.schema.crl_rows[1])
    value = cranial_dorsal_hip_deg(pose.positions, rows)
    known = math.isfinite(value)
    reason = f"neutral is {_NEUTRAL_CDH} at the most dorsal point of the skin, not at the spine"
    return Check(
        key="crl_cranial_dorsal_hip",
        name="Angle crown - upper spine - rump",
        value=value,
        unit="deg",
        uncertainty=_angle_uncertainty(pose, rows) if known else None,
        limits=(math.nan, math.nan),
        verdict="unknown",
        remark=f"not judged: {reason if known else 'a landmark is missing'}",
        source="Cranial-dorsal-hip angle: doi 10.1055/a-2337-0078",
    )


def _angle_uncertainty(pose: Pose, rows: tuple[int, int, int]) -> float | None:
    """Half-width of the 90 % interval of the angle from the landmark radii, to first order; None without radii."""
    radii = pose.assumed_radius90_mm
    if radii is None:
        return None
    before, points = cranial_dorsal_hip_deg(pose.positions, rows), pose.positions[list(rows)]
    moves = np.eye(points.size).reshape(-1, *points.shape) * _STEP_MM
    turned = np.array([cranial_dorsal_hip_deg(points + move, (0, 1, 2)) - before for move in moves])
    spread = float(np.linalg.norm(turned / _STEP_MM * np.repeat(radii[list(rows)] / RADIUS90_IN_SD, 3)))
    return Z90 * spread if math.isfinite(spread) else None


def _inside(pose: Pose, end: str, row: int, value: float) -> Check:
    """An end of the length is certainly inside the field if its whole 90 % sphere is."""
    radii = pose.assumed_radius90_mm
    radius = 0.0 if radii is None else float(np.nan_to_num(radii[row]))
    verdict = _verdict(value, radius, (radius, math.nan))
    words = {
        "fine": "inside the field of view",
        "borderline": "closer to the border of the field of view than it is certain",
        "flagged": "outside the field of view",
    }
    return Check(
        key=f"crl_{end}_in_field",
        name=f"{end.capitalize()} to border of the field",
        value=value,
        unit="mm",
        uncertainty=radius or None,
        limits=(radius, math.nan),
        verdict=verdict,
        remark=words.get(verdict, "not judged: the volume or the landmark is missing"),
        source=f"Crown and rump clearly seen: {_GUIDELINE}; the limit is the 90 % radius of the landmark",
    )


def _seen(pose: Pose) -> Check:
    rows = list(pose.schema.crl_rows)
    value = math.nan if pose.confidence is None else 100 * float(pose.confidence[rows].min())
    limits = (100 * DOUBTFUL_CONFIDENCE, math.nan)
    verdict = _verdict(value, None, limits)
    words = {"fine": "crown and rump are seen", "flagged": "crown or rump is doubtful"}
    return Check(
        key="crl_ends_seen",
        name="Crown and rump, confidence",
        value=value,
        unit="%",
        uncertainty=None,
        limits=limits,
        verdict=verdict,
        remark=words.get(verdict, "not judged: the confidence in an end is unknown"),
        source=f"Crown and rump clearly seen: {_GUIDELINE}; a landmark with less is to be reviewed",
    )


def _beam() -> Check:
    return Check(
        key="crl_beam_angle",
        name="Beam to the crown-rump line",
        value=math.nan,
        unit="deg",
        uncertainty=None,
        limits=(math.nan, math.nan),
        verdict="unknown",
        remark="not judged: the volume does not tell where the beam came from",
        source=f"Fetus horizontal, near 90° to the beam: {_GUIDELINE}",
    )


def _size(pose: Pose, field_mm: float) -> Check:
    crown, rump = (pose.positions[row] for row in pose.schema.crl_rows)
    value = 100 * float(np.linalg.norm(crown - rump)) / field_mm if field_mm > 0 else math.nan
    verdict = _verdict(value, None, (_LEAST_SHARE, math.nan))
    words = {"fine": "fills most of the field", "flagged": "small in the field of view: magnify"}
    return Check(
        key="crl_size",
        name="Share of the field",
        value=value,
        unit="%",
        uncertainty=None,
        limits=(_LEAST_SHARE, math.nan),
        verdict=verdict,
        remark=words.get(verdict, "not judged: the volume or a landmark is missing"),
        source=f"Magnified to fill most of the width: {_GUIDELINE}; most is at least half",
    )


def _fluid(view: CrlView) -> Check:
    value = 100 * view.chin_chest_grey
    reason = "the guideline gives no limit for grey"
    if math.isfinite(value):
        reason += f"; chin to chest line {view.chin_chest_mm:.1f} mm"
    else:
        reason = "the volume or a landmark is missing"
    return Check(
        key="crl_chin_fluid",
        name="Darkest grey, chin to chest",
        value=value,
        unit="%",
        uncertainty=None,
        limits=(math.nan, math.nan),
        verdict="unknown",
        remark=f"not judged: {reason}",
        source=f"Fluid between chin and chest: {_GUIDELINE}; grey in % of the trunk's median",
    )


def _verdict(value: float, uncertainty: float | None, limits: tuple[float, float]) -> Verdict:
    """As for other checks, but a limit that is NaN is open; unknown without any."""
    if not math.isfinite(value) or all(map(math.isnan, limits)):
        return "unknown"
    low, high = limits
    excess = max(0.0 if math.isnan(low) else low - value, 0.0 if math.isnan(high) else value - high)
    if excess <= 0:
        return "fine"
    return "borderline" if uncertainty is not None and excess <= uncertainty else "flagged"
