"""The measurements of a pose as rows of text."""

from __future__ import annotations

import math
from dataclasses import dataclass

from FetusMapV2Lib.anatomy.biometry import Measurement
from FetusMapV2Lib.anatomy.dating import Dating
from FetusMapV2Lib.anatomy.measurements import Measurements
from FetusMapV2Lib.anatomy.plausibility import Check
from FetusMapV2Lib.presenting.translation import translator

_ = translator(__name__)

_NO_VALUE = "–"


@dataclass(frozen=True)
class MeasurementRow:
    """One row of the table.

    Attributes:
        name: what is measured.
        value: the value with its 90 % interval and unit.
        remark: the verdict on the value.
        tip: definition, usual range and source.
        doubtful: whether the value needs a check.
        strong: whether it is the main one of several values.
    """

    name: str
    value: str = _NO_VALUE
    remark: str = ""
    tip: str = ""
    doubtful: bool = False
    strong: bool = False

    def cells(self) -> tuple[str, str, str]:
        """The texts of the columns."""
        return self.name, self.value, self.remark


def measurement_rows(measured: Measurements) -> list[MeasurementRow]:
    """CRL, gestational age by the chosen formula and by the others, bones with their checks, sides, neck."""
    checks = {check.key: check for check in measured.checks}
    crl, *bones = measured.lengths
    others = [dating for dating in measured.datings if dating is not measured.dating]
    return [
        _crl_row(crl, checks["neck_posture"]),
        _dating_row(measured.dating, strong=True),
        *(_dating_row(dating) for dating in others),
        *(_bone_row(bone, checks[f"{bone.key}_for_crl"]) for bone in bones),
        *(_check_row(checks[key]) for key in ("femur_difference", "humerus_difference", "neck_posture")),
    ]


def formula_name(key: str) -> str:
    """The name of a dating formula in the user's language."""
    names = {
        "intergrowth21": _("INTERGROWTH-21st"),
        "robinson": _("Robinson"),
        "fmf": _("FMF"),
        "hadlock": _("Hadlock"),
    }
    return names[key]


def _crl_row(crl: Measurement, neck: Check) -> MeasurementRow:
    remark = _remark(neck) if neck.doubtful else ""
    return MeasurementRow(_("Crown-rump length"), _length(crl), remark or _edited(crl), crl.note, bool(remark))


def _bone_row(bone: Measurement, check: Check) -> MeasurementRow:
    names = {
        "left_femur": _("Left femur*"),
        "right_femur": _("Right femur*"),
        "left_humerus": _("Left humerus*"),
        "right_humerus": _("Right humerus*"),
    }
    tip = "\n".join((bone.note, _limits(check), check.source))
    return MeasurementRow(names[bone.key], _length(bone), _remark(check), tip, check.doubtful)


def _dating_row(dating: Dating, *, strong: bool = False) -> MeasurementRow:
    name = _("Age, {0}").format(formula_name(dating.key))
    low, high = dating.valid_range_mm
    tip = _("Gestational age from the crown-rump length, valid for {0:g} to {1:g} mm. {2}").format(
        low, high, dating.source
    )
    if not math.isfinite(dating.days):
        return MeasurementRow(name, tip=tip, strong=strong)
    if dating.length_days is not None:
        parts = _("± {0:.0f} d from fetus to fetus, ± {1:.0f} d from the uncertainty of the length.")
        tip += "\n" + parts.format(dating.interval_days, dating.length_days)
    value = _("{0} ± {1:.0f} d").format(dating.weeks_text, dating.combined_days)
    valid, invalid = _("valid {0:g}–{1:g} mm"), _("outside {0:g}–{1:g} mm")
    remark = (valid if dating.valid else invalid).format(low, high)
    return MeasurementRow(name, value, remark, tip, not dating.valid, strong)


def _check_row(check: Check) -> MeasurementRow:
    names = {
        "femur_difference": _("Femora, left − right"),
        "humerus_difference": _("Humeri, left − right"),
        "neck_posture": _("Neck flexion"),
    }
    tip = "\n".join((_limits(check), check.source))
    value = _amount(check.value, check.uncertainty, check.unit)
    return MeasurementRow(names[check.key], value, _remark(check), tip, check.doubtful)


def _length(length: Measurement) -> str:
    return _amount(length.value_mm, length.uncertainty_mm, "mm")


def _edited(length: Measurement) -> str:
    return _("set by hand") if length.placed_by_hand and math.isfinite(length.value_mm) else ""


def _amount(value: float, uncertainty: float | None, unit: str) -> str:
    if not math.isfinite(value):
        return _NO_VALUE
    digits, sign = (0, "°") if unit == "deg" else (1, " mm")
    value = round(value, digits) + 0.0  # no "-0.0"
    if uncertainty is None:
        return f"{value:.{digits}f}{sign}"
    return f"{value:.{digits}f} ± {uncertainty:.{digits}f}{sign}"


def _limits(check: Check) -> str:
    low, high = check.limits
    if not math.isfinite(low):
        return _("No usual range is known here.")
    digits, sign = (0, "°") if check.unit == "deg" else (1, " mm")
    return _("Usual: {0} to {1}.").format(f"{low:.{digits}f}{sign}", f"{high:.{digits}f}{sign}")


def _remark(check: Check) -> str:
    """The verdict of a check in the user's language."""
    if check.verdict == "unknown":
        missing = not math.isfinite(check.value) or check.key.endswith("_difference")
        return _("landmark missing") if missing else _("no chart for this CRL")
    words = {
        "femur_difference": (_("left shorter"), _("right shorter"), _("sides agree")),
        "humerus_difference": (_("left shorter"), _("right shorter"), _("sides agree")),
        "neck_posture": (_("extended: CRL may be long"), _("flexed: CRL may be short"), _("neutral")),
    }
    low, high, inside = words.get(check.key, (_("short for CRL"), _("long for CRL"), _("fits CRL")))
    text = {"low": low, "high": high, "": inside}[check.beyond]
    return _("perhaps {0}").format(text) if check.verdict == "borderline" else text
