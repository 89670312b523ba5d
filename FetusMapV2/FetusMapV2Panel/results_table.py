"""The measurements of a pose as rows of text, and the table that shows them; quick enough to follow a drag."""

from __future__ import annotations

import math
from dataclasses import dataclass

import qt
from slicer.i18n import tr as _

from FetusMapV2Lib.anatomy.biometry import NEUTRAL_NECK_DEG, Measurement
from FetusMapV2Lib.anatomy.dating import Dating
from FetusMapV2Lib.anatomy.findings import findings
from FetusMapV2Lib.anatomy.pose import Pose

_NOTHING = "–"
_DOUBTFUL_COLOUR = "#b3261e"


@dataclass(frozen=True)
class Row:
    """One line of the table; `doubtful` marks a value outside its valid range."""

    name: str
    value: str = _NOTHING
    remark: str = ""
    tip: str = ""
    doubtful: bool = False

    def cells(self) -> tuple[str, str, str]:
        return self.name, self.value, self.remark


def rows(pose: Pose | None) -> list[Row]:
    """Lengths with 90 % intervals, neck angle, and gestational age by each formula; empty without a pose."""
    if pose is None:
        return []
    found = findings(pose)
    hasRadii = pose.radius90_mm is not None
    lengths = [_lengthRow(measurement, hasRadii) for measurement in found.measurements]
    dates = [_datingRow(dating) for dating in found.datings]
    return [lengths[0], *dates, *lengths[1:], _neckRow(found.neck_flexion_deg)]


def _lengthRow(measurement: Measurement, hasRadii: bool) -> Row:
    names = {
        "crl": _("Crown-rump length"),
        "left_femur": _("Left femur*"),
        "right_femur": _("Right femur*"),
        "left_humerus": _("Left humerus*"),
        "right_humerus": _("Right humerus*"),
    }
    name = names.get(measurement.key, measurement.name)
    if not math.isfinite(measurement.value_mm):
        return Row(name, remark=_("landmark missing"), tip=measurement.note)
    value = f"{measurement.value_mm:.1f}"
    if measurement.uncertainty_mm is not None:
        return Row(name, f"{value} ± {measurement.uncertainty_mm:.1f} mm", tip=measurement.note)
    # A landmark that was placed by hand has no radius.
    return Row(name, f"{value} mm", _("edited") if hasRadii else "", measurement.note)


def _datingRow(dating: Dating) -> Row:
    names = {"intergrowth21": _("Age, INTERGROWTH-21st"), "robinson": _("Age, Robinson"), "hadlock": _("Age, Hadlock")}
    name = names.get(dating.key, dating.name)
    low, high = dating.valid_range_mm
    tip = _("Gestational age from the crown-rump length, valid for {0:g} to {1:g} mm. {2}").format(
        low, high, dating.source
    )
    if not math.isfinite(dating.days):
        return Row(name, tip=tip)
    value = _("{0} ± {1:.0f} d").format(dating.weeks_text, dating.interval_days)
    valid, invalid = _("valid {0:g}–{1:g} mm"), _("outside {0:g}–{1:g} mm")
    return Row(name, value, (valid if dating.valid else invalid).format(low, high), tip, not dating.valid)


def _neckRow(angle: float) -> Row:
    name = _("Neck flexion")
    tip = _("Crown-rump length is meant for a neutral neck.")
    if not math.isfinite(angle):
        return Row(name, tip=tip)
    low, high = NEUTRAL_NECK_DEG
    remark = _("neutral")
    if angle > high:
        remark = _("flexed: CRL may be short")
    elif angle < low:
        remark = _("extended: CRL may be long")
    return Row(name, f"{angle:.0f}°", remark, tip, not low <= angle <= high)


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
                _colour(item, row.doubtful and column > 0)


def _colour(item, doubtful: bool) -> None:
    item.setData(qt.Qt.ForegroundRole, qt.QBrush(qt.QColor(_DOUBTFUL_COLOUR)) if doubtful else None)


def _fitHeight(table) -> None:
    """All rows without a scroll bar of the table's own."""
    table.resizeRowsToContents()
    height = table.horizontalHeader().height + 2 * table.frameWidth + table.verticalHeader().length()
    table.setFixedHeight(max(height, 60))
