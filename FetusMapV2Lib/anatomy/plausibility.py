"""Checks of a pose: unequal sides, bones that do not fit the CRL, a flexed or extended neck.

Each check has its value, the limits, its uncertainty from the landmark radii, and where the limits come from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from FetusMapV2Lib.anatomy.biometry import NEUTRAL_NECK_DEG, Z90, Measurement
from FetusMapV2Lib.anatomy.shafts import CHART_SOURCE, expected_shaft

Verdict = Literal["fine", "borderline", "flagged", "unknown"]

#: Half-width of a two-sided 95 % interval of a normal distribution, in standard deviations.
_Z95 = 1.9599640
#: Coefficient of variation of one limb bone measured again by the same observer at 10-14 weeks: 7.9 to 10.0 %.
_REPEAT_CV = 0.10
_REPEAT_SOURCE = (
    "Repeatability of limb bones at 10-14 weeks: coefficient of variation up to 10.0 % "
    "(De Biasio et al., Ultrasound Obstet Gynecol 2002;20:588-591)"
)
#: Largest plausible joint-to-joint distance as a multiple of the longest usual shaft. Our own limit: no published ratio
#: of the two was found for this age.
LONGEST_JOINT_TO_SHAFT = 1.4
_NECK_SOURCE = (
    "CRL is meant for a neutral neck (ISUOG, Ultrasound Obstet Gynecol 2013;41:102-113); the limits are our own"
)


@dataclass(frozen=True)
class Check:
    """One comparison of a value with limits.

    Attributes:
        key: ``femur_difference``, ``left_femur_for_crl``, ..., ``neck_posture``.
        value: in `unit`, NaN if a landmark is missing.
        uncertainty: half-width of the 90 % interval of value and limits together, or None without landmark radii.
        limits: lowest and highest usual value, NaN if unknown.
        verdict: "fine" within the limits; "borderline" beyond them by no more than the uncertainty; "flagged" beyond
            that; "unknown" without a value or limits.
        remark: the verdict in words.
        source: where the limits come from.
    """

    key: str
    name: str
    value: float
    unit: str
    uncertainty: float | None
    limits: tuple[float, float]
    verdict: Verdict
    remark: str
    source: str

    @property
    def doubtful(self) -> bool:
        """Whether the value should be reviewed."""
        return self.verdict in ("borderline", "flagged")

    @property
    def beyond(self) -> Literal["low", "high", ""]:
        """Which limit the value lies beyond."""
        return _beyond(self.value, *self.limits)


def check_pose(
    measurements: Sequence[Measurement], neck_deg: float, neck_uncertainty_deg: float | None
) -> tuple[Check, ...]:
    """All checks: differences of the sides, each bone against the CRL, the neck's posture.

    Args:
        measurements: CRL, femora and humeri as `measure` gives them.
        neck_deg: neck flexion, NaN if unknown.
        neck_uncertainty_deg: half-width of its 90 % interval, or None.
    """
    lengths = {measurement.key: measurement for measurement in measurements}
    pairs = [(bone, lengths[f"left_{bone}"], lengths[f"right_{bone}"]) for bone in ("femur", "humerus")]
    differences = [_difference(bone, left, right) for bone, left, right in pairs]
    bones = [_bone_for_crl(bone, one, lengths["crl"]) for bone, *both in pairs for one in both]
    return (*differences, *bones, _neck(neck_deg, neck_uncertainty_deg))


def _difference(bone: str, left: Measurement, right: Measurement) -> Check:
    """Left minus right.

    The limit is the 95 % repeatability of a single bone, 1.96 sqrt(2) CV of the mean: a smaller difference
    cannot be distinguished from measuring one bone twice. It does not state how unequal healthy limbs may be.
    """
    names = {"femur": "Femora, left minus right", "humerus": "Humeri, left minus right"}
    value = left.value_mm - right.value_mm
    limit = _Z95 * math.sqrt(2) * _REPEAT_CV * (left.value_mm + right.value_mm) / 2
    uncertainty = _combined(left.uncertainty_mm, right.uncertainty_mm)
    verdict = _verdict(value, uncertainty, -limit, limit)
    words = {"low": "left shorter than right", "high": "right shorter than left", "": "sides agree"}
    return Check(
        key=f"{bone}_difference",
        name=names[bone],
        value=value,
        unit="mm",
        uncertainty=uncertainty,
        limits=(-limit, limit),
        verdict=verdict,
        remark=_remark(verdict, words[_beyond(value, -limit, limit)], "a side is missing"),
        source=_REPEAT_SOURCE,
    )


def _bone_for_crl(bone: str, length: Measurement, crl: Measurement) -> Check:
    """A joint-to-joint length against the shaft that the chart expects at this CRL.

    It is longer than the shaft, so below the shaft's 5th centile it is certainly short; the upper
    limit allows `LONGEST_JOINT_TO_SHAFT` times the 95th centile.
    """
    shaft = expected_shaft(bone, crl.value_mm)
    low = high = math.nan
    uncertainty = length.uncertainty_mm
    missing = "a landmark is missing"
    if shaft is not None:
        low = shaft.mean_mm - Z90 * shaft.sd_mm
        high = (shaft.mean_mm + Z90 * shaft.sd_mm) * LONGEST_JOINT_TO_SHAFT
        uncertainty = _combined(uncertainty, _chart_uncertainty(bone, crl))
    elif math.isfinite(crl.value_mm) and math.isfinite(length.value_mm):
        missing = "the chart does not cover this CRL"
    verdict = _verdict(length.value_mm, uncertainty, low, high)
    words = {"low": "short for the CRL", "high": "long for the CRL", "": "fits the CRL"}
    return Check(
        key=f"{length.key}_for_crl",
        name=f"{length.name} for the CRL",
        value=length.value_mm,
        unit="mm",
        uncertainty=uncertainty,
        limits=(low, high),
        verdict=verdict,
        remark=_remark(verdict, words[_beyond(length.value_mm, low, high)], missing),
        source=f"{CHART_SOURCE}; upper limit {LONGEST_JOINT_TO_SHAFT:g} times its 95th centile, our own",
    )


def _chart_uncertainty(bone: str, crl: Measurement) -> float | None:
    """How far the expected shaft moves with the CRL's own uncertainty, mm; None without one."""
    if crl.uncertainty_mm is None:
        return None
    ends = [expected_shaft(bone, crl.value_mm + step * crl.uncertainty_mm) for step in (-1, 1)]
    middle = expected_shaft(bone, crl.value_mm)
    moved = [abs(end.mean_mm - middle.mean_mm) for end in ends if end is not None and middle is not None]
    return max(moved, default=0.0)


def _neck(angle: float, uncertainty: float | None) -> Check:
    low, high = NEUTRAL_NECK_DEG
    verdict = _verdict(angle, uncertainty, low, high)
    words = {"low": "extended: the CRL may be long", "high": "flexed: the CRL may be short", "": "neutral"}
    return Check(
        key="neck_posture",
        name="Neck flexion",
        value=angle,
        unit="deg",
        uncertainty=uncertainty,
        limits=NEUTRAL_NECK_DEG,
        verdict=verdict,
        remark=_remark(verdict, words[_beyond(angle, low, high)], "a landmark is missing"),
        source=_NECK_SOURCE,
    )


def _combined(*uncertainties: float | None) -> float | None:
    """Combined independent uncertainties; None if one is unknown."""
    known = [one for one in uncertainties if one is not None]
    return math.hypot(*known) if len(known) == len(uncertainties) else None


def _beyond(value: float, low: float, high: float) -> Literal["low", "high", ""]:
    return "low" if value < low else "high" if value > high else ""


def _verdict(value: float, uncertainty: float | None, low: float, high: float) -> Verdict:
    if not (math.isfinite(value) and math.isfinite(low) and math.isfinite(high)):
        return "unknown"
    excess = max(low - value, value - high)
    if excess <= 0:
        return "fine"
    return "borderline" if uncertainty is not None and excess <= uncertainty else "flagged"


def _remark(verdict: Verdict, words: str, missing: str) -> str:
    if verdict == "unknown":
        return f"not checked: {missing}"
    return f"possibly {words}" if verdict == "borderline" else words
