"""Table and plots of a movement as MRML nodes: made once, found again by reference, filled on every change.

Everything hangs on the landmarks sequence. Plots draw from a hidden table of their own, whose angles are smoothed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import vtk
from numpy.typing import NDArray
from vtk.util import numpy_support

from FetusMapV2Lib.anatomy.movement import Movement
from FetusMapV2Lib.anatomy.trajectories import smoothed
from FetusMapV2Lib.foundation.notices import RESEARCH_USE

Array = NDArray[np.float64]
Colour = tuple[float, float, float]

TABLE_REFERENCE = "FetusMapV2.MovementTable"
CURVES_REFERENCE = "FetusMapV2.MovementCurves"
CHART_REFERENCE = "FetusMapV2.MovementChart."
#: Key and title of each chart, and the groups whose angles it shows.
_CHARTS = {
    "arms": ("arm angles", ("la", "ra")),
    "legs": ("leg and neck angles", ("ht", "ll", "rl")),
    "speeds": ("speeds", ()),
}

# Okabe and Ito's palette, told apart with any colour vision: left blue, right vermilion.
_LEFT: Colour = (0.0, 0.447, 0.698)
_RIGHT: Colour = (0.835, 0.369, 0.0)
_HEAD: Colour = (0.35, 0.35, 0.35)
_BODY: Colour = (0.0, 0.62, 0.451)
_COLOURS: dict[str | None, Colour] = {"la": _LEFT, "ll": _LEFT, "ra": _RIGHT, "rl": _RIGHT, "ht": _HEAD, None: _BODY}
_MOVES, _TIME = "moves", "Time"


class MovementNodes:
    """The nodes of one movement.

    Attributes:
        table: vtkMRMLTableNode with one row per frame, as estimated.
        charts: vtkMRMLPlotChartNodes by key: arms, legs, speeds.
    """

    def __init__(self, sequence: Any, name: str) -> None:
        """Use `around`."""
        self._sequence, self._scene, self._name = sequence, sequence.GetScene(), name

    @classmethod
    def around(cls, sequence: Any, name: str, movement: Movement) -> MovementNodes:
        """The nodes of a landmarks sequence, made where they are missing, showing `movement`."""
        result = cls(sequence, name)
        result.update(movement)
        return result

    @property
    def table(self) -> Any:
        return self._sequence.GetNodeReference(TABLE_REFERENCE)

    @property
    def charts(self) -> dict[str, Any]:
        found = {key: self._sequence.GetNodeReference(CHART_REFERENCE + key) for key in _CHARTS}
        return {key: chart for key, chart in found.items() if chart is not None}

    def update(self, movement: Movement) -> None:
        """Show another movement of the same body in the same nodes."""
        if self._sequence.GetNodeReference(TABLE_REFERENCE) is None:
            self._add_table(TABLE_REFERENCE, f"{self._name} movement").SetDescription(RESEARCH_USE)
        if self._sequence.GetNodeReference(CURVES_REFERENCE) is None:
            self._add_table(CURVES_REFERENCE, f"{self._name} movement curves").SetHideFromEditors(True)
        _fill(self.table, _readable_columns(movement))
        curves = self._sequence.GetNodeReference(CURVES_REFERENCE)
        _fill(curves, _curve_columns(movement))
        for key in _CHARTS.keys() - self.charts.keys():
            self._add_chart(key, curves, movement)
        for key, chart in self.charts.items():
            _name_axes(chart, key, movement)

    def _add_table(self, reference: str, name: str) -> Any:
        table = self._scene.AddNewNodeByClass("vtkMRMLTableNode", name)
        table.SetUseColumnTitleAsColumnHeader(True)
        table.SetLocked(True)
        self._sequence.SetNodeReferenceID(reference, table.GetID())
        return table

    def _add_chart(self, key: str, curves: Any, movement: Movement) -> None:
        title, groups = _CHARTS[key]
        chart = self._scene.AddNewNodeByClass("vtkMRMLPlotChartNode", f"{self._name} {title}")
        chart.SetTitle(f"{self._name}: {title}")
        chart.SetLegendVisibility(True)
        self._sequence.SetNodeReferenceID(CHART_REFERENCE + key, chart.GetID())
        if key == "speeds":
            for part in movement.part_list:
                dashed = part.group in ("ll", "rl")
                self._add_series(chart, curves, part.name, _COLOURS[part.group], dashed=dashed)
        for number, angle in enumerate(movement.angle_list):
            if angle.group in groups:
                # of a limb, the joint farther out is dashed
                dashed = number > 0 and movement.angle_list[number - 1].group == angle.group
                self._add_series(chart, curves, angle.name, _COLOURS[angle.group], dashed=dashed)

    def _add_series(self, chart: Any, curves: Any, column: str, colour: Colour, *, dashed: bool) -> None:
        """A curve, and dots on it while the part moves."""
        for suffix in ("", f" {_MOVES}"):
            series = self._scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", f"{column}{suffix}")
            series.SetAndObserveTableNodeID(curves.GetID())
            series.SetXColumnName(_TIME)
            series.SetYColumnName(f"{column}{suffix}")
            series.SetPlotType(series.PlotTypeScatter)
            series.SetColor(*colour)
            series.SetLineWidth(2.0)
            series.SetLineStyle(series.LineStyleDash if dashed else series.LineStyleSolid)
            series.SetMarkerStyle(series.MarkerStyleNone)
            if suffix:
                series.SetLineStyle(series.LineStyleNone)
                series.SetMarkerStyle(series.MarkerStyleCircle)
                series.SetMarkerSize(9.0)
            chart.AddAndObservePlotSeriesNodeID(series.GetID())


def _name_axes(chart: Any, key: str, movement: Movement) -> None:
    known = movement.time_unit == "s"
    chart.SetXAxisTitle("Time (s)" if known else "Frame")
    chart.SetYAxisTitle(f"Speed (mm/{movement.time_unit})" if key == "speeds" else "Angle (degrees)")


def _readable_columns(movement: Movement) -> dict[str, Array]:
    """Name -> values of the table for people."""
    unit = movement.time_unit
    columns: dict[str, Array] = {"Frame": np.arange(1.0, len(movement.times) + 1)}
    if unit == "s":
        columns["Time (s)"] = movement.times
    for number, angle in enumerate(movement.angle_list):
        columns[f"{angle.name} (deg)"] = np.round(movement.angles[:, number], 1)
        columns[f"{angle.name} +- (deg)"] = np.round(movement.angle_intervals[:, number], 1)
    for number, part in enumerate(movement.part_list):
        columns[f"{part.name} speed (mm/{unit})"] = np.round(movement.speeds[:, number], 2)
        columns[f"{part.name} noise (mm/{unit})"] = np.round(movement.noise[:, number], 2)
        known = np.isfinite(movement.speeds[:, number])
        columns[f"{part.name} {_MOVES}"] = np.where(known, movement.moving[:, number].astype(float), np.nan)
    columns[f"Body turning (deg/{unit})"] = np.round(movement.turning, 2)
    return columns


def _curve_columns(movement: Movement) -> dict[str, Array]:
    """Name -> values of the plots: smoothed angles, speeds, and both where their part moves."""
    columns: dict[str, Array] = {_TIME: movement.times}
    part_of_group = {part.group: number for number, part in enumerate(movement.part_list)}
    angles = smoothed(movement.angles)
    for number, angle in enumerate(movement.angle_list):
        moving = movement.moving[:, part_of_group[angle.group]]
        columns |= {
            angle.name: angles[:, number],
            f"{angle.name} {_MOVES}": np.where(moving, angles[:, number], np.nan),
        }
    for number, part in enumerate(movement.part_list):
        speed, moving = movement.speeds[:, number], movement.moving[:, number]
        columns |= {part.name: speed, f"{part.name} {_MOVES}": np.where(moving, speed, np.nan)}
    return columns


def _fill(node: Any, columns: dict[str, Array]) -> None:
    """Put columns into a table node: into its own arrays where they fit, else into new ones."""
    table = node.GetTable()
    names = [table.GetColumnName(index) for index in range(table.GetNumberOfColumns())]
    rows = len(next(iter(columns.values())))
    if names == list(columns) and table.GetNumberOfRows() == rows:
        for index, values in enumerate(columns.values()):
            numpy_support.vtk_to_numpy(table.GetColumn(index))[:] = values
            table.GetColumn(index).Modified()
        table.Modified()
        node.Modified()
        return
    fresh = vtk.vtkTable()
    for name, values in columns.items():
        array = numpy_support.numpy_to_vtk(np.ascontiguousarray(values, dtype=np.float64), deep=True)
        array.SetName(name)
        fresh.AddColumn(array)
    node.SetAndObserveTable(fresh)
