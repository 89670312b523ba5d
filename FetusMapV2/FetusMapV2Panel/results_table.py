"""The measurements of a pose as rows of text, and the table that shows them; quick enough to follow a drag."""

from __future__ import annotations

import math
from dataclasses import dataclass

import qt

from FetusMapV2Lib.anatomy.biometry import Measurement
from FetusMapV2Lib.anatomy.dating import FORMULAS, Dating
from FetusMapV2Lib.anatomy.measurements import Measurements, measurements
from FetusMapV2Lib.anatomy.plausibility import Check
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Panel.translations import translator

_ = translator(__name__)

_NOTHING = "–"
_DOUBTFUL_COLOUR = "#b3261e"


@dataclass(frozen=True)
class Row:
    """One line of the table; `doubtful` marks a value that deserves a look, `strong` the main one of several."""

    name: str
    value: str = _NOTHING
    remark: str = ""
    tip: str = ""
    doubtful: bool = False
    strong: bool = False

    def cells(self) -> tuple[str, str, str]:
        return self.name, self.value, self.remark


def rows(pose: Pose | None, formula: str = FORMULAS[0]) -> list[Row]:
    """What is measured on a pose, with its 90 % intervals; empty without one."""
    return rowsOf(measurements(pose, formula=formula)) if pose is not None else []


def rowsOf(found: Measurements) -> list[Row]:
    """CRL, gestational age by the chosen formula and by the others, bones with their checks, sides, neck."""
    checks = {check.key: check for check in found.checks}
    crl, *bones = found.lengths
    others = [dating for dating in found.datings if dating is not found.dating]
    return [
        _crlRow(crl, checks["neck_posture"]),
        _datingRow(found.dating, strong=True),
        *(_datingRow(dating) for dating in others),
        *(_boneRow(bone, checks[f"{bone.key}_for_crl"]) for bone in bones),
        *(_checkRow(checks[key]) for key in ("femur_difference", "humerus_difference", "neck_posture")),
    ]


def formulaName(key: str) -> str:
    """A dating formula in the user's language."""
    names = {"intergrowth21": _("INTERGROWTH-21st"), "robinson": _("Robinson"), "hadlock": _("Hadlock")}
    return names[key]


def _crlRow(crl: Measurement, neck: Check) -> Row:
    remark = _remark(neck) if neck.doubtful else ""
    return Row(_("Crown-rump length"), _length(crl), remark or _edited(crl), crl.note, bool(remark))


def _boneRow(bone: Measurement, check: Check) -> Row:
    names = {
        "left_femur": _("Left femur*"),
        "right_femur": _("Right femur*"),
        "left_humerus": _("Left humerus*"),
        "right_humerus": _("Right humerus*"),
    }
    tip = "\n".join((bone.note, _limits(check), check.source))
    return Row(names[bone.key], _length(bone), _remark(check), tip, check.doubtful)


def _datingRow(dating: Dating, *, strong: bool = False) -> Row:
    name = _("Age, {0}").format(formulaName(dating.key))
    low, high = dating.valid_range_mm
    tip = _("Gestational age from the crown-rump length, valid for {0:g} to {1:g} mm. {2}").format(
        low, high, dating.source
    )
    if not math.isfinite(dating.days):
        return Row(name, tip=tip, strong=strong)
    if dating.length_days is not None:
        parts = _("± {0:.0f} d from fetus to fetus, ± {1:.0f} d from the uncertainty of the length.")
        tip += "\n" + parts.format(dating.interval_days, dating.length_days)
    value = _("{0} ± {1:.0f} d").format(dating.weeks_text, dating.combined_days)
    valid, invalid = _("valid {0:g}–{1:g} mm"), _("outside {0:g}–{1:g} mm")
    remark = (valid if dating.valid else invalid).format(low, high)
    return Row(name, value, remark, tip, not dating.valid, strong)


def _checkRow(check: Check) -> Row:
    names = {
        "femur_difference": _("Femora, left − right"),
        "humerus_difference": _("Humeri, left − right"),
        "neck_posture": _("Neck flexion"),
    }
    tip = "\n".join((_limits(check), check.source))
    value = _amount(check.value, check.uncertainty, check.unit)
    return Row(names[check.key], value, _remark(check), tip, check.doubtful)


def _length(length: Measurement) -> str:
    return _amount(length.value_mm, length.uncertainty_mm, "mm")


def _edited(length: Measurement) -> str:
    # A landmark that was placed by hand has no radius.
    return _("set by hand") if math.isfinite(length.value_mm) and length.uncertainty_mm is None else ""


def _amount(value: float, uncertainty: float | None, unit: str) -> str:
    if not math.isfinite(value):
        return _NOTHING
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
    """The verdict in the user's language."""
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


def prepare(table) -> None:
    """Columns, headers and behaviour of the results table."""
    table.setColumnCount(3)
    table.setHorizontalHeaderLabels([_("Measurement"), _("Value ± 90 %"), _("Remark")])
    header = table.horizontalHeader()
    for column in range(2):
        header.setSectionResizeMode(column, qt.QHeaderView.ResizeToContents)
    header.setSectionResizeMode(2, qt.QHeaderView.Stretch)
    table.verticalHeader().hide()
    table.setEditTriggers(qt.QAbstractItemView.NoEditTriggers)
    table.setSelectionBehavior(qt.QAbstractItemView.SelectRows)
    table.setAlternatingRowColors(True)


def fill(table, contents: list[Row]) -> None:
    """Show rows; cells are reused, so that a drag changes only texts."""
    if table.rowCount != len(contents):
        table.setRowCount(len(contents))
        _fitHeight(table)
    for index, row in enumerate(contents):
        for column, text in enumerate(row.cells()):
            item = table.item(index, column)
            if item is None:
                item = qt.QTableWidgetItem()
                table.setItem(index, column, item)
            if item.text() != text:
                item.setText(text)
                item.setToolTip(row.tip)
                _style(item, row.doubtful and column > 0, row.strong)


def _style(item, doubtful: bool, strong: bool) -> None:
    item.setData(qt.Qt.ForegroundRole, qt.QBrush(qt.QColor(_DOUBTFUL_COLOUR)) if doubtful else None)
    font = item.font()
    font.setBold(strong)
    item.setFont(font)


def _fitHeight(table) -> None:
    """All rows without a scroll bar of the table's own."""
    table.resizeRowsToContents()
    height = table.horizontalHeader().height + 2 * table.frameWidth + table.verticalHeader().length()
    table.setFixedHeight(max(height, 60))
