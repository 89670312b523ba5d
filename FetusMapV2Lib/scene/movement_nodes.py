"""Table and plots of a movement as MRML nodes: created once, found by reference, filled on every change.

The landmarks sequence refers to all of them. Plots use hidden tables of their own, whose angles are smoothed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray
from vtkmodules.util import numpy_support
from vtkmodules.vtkCommonDataModel import vtkTable

from FetusMapV2Lib.anatomy.movement import Movement
from FetusMapV2Lib.anatomy.trajectories import smoothed
from FetusMapV2Lib.core.notices import RESEARCH_USE
from FetusMapV2Lib.scene.node_lookup import nodes_by_class

Array = NDArray[np.float64]
Colour = tuple[float, float, float]

TABLE_REFERENCE = "FetusMapV2.MovementTable"
CURVES_REFERENCE = "FetusMapV2.MovementCurves"
MARKS_REFERENCE = "FetusMapV2.MovementMarks"
CHART_REFERENCE = "FetusMapV2.MovementChart."
#: Key and title of each chart, and the groups whose angles it shows.
_CHARTS = {
    "arms": ("arm angles", ("la", "ra")),
    "legs": ("leg and neck angles", ("ht", "ll", "rl")),
    "speeds": ("speeds", ()),
}

# Okabe and Ito's palette, distinguishable with any colour vision: left blue, right vermilion.
_LEFT: Colour = (0.0, 0.447, 0.698)
_RIGHT: Colour = (0.835, 0.369, 0.0)
_HEAD: Colour = (0.35, 0.35, 0.35)
_BODY: Colour = (0.0, 0.62, 0.451)
_MARK: Colour = (0.15, 0.15, 0.15)
_COLOURS: dict[str | None, Colour] = {"la": _LEFT, "ll": _LEFT, "ra": _RIGHT, "rl": _RIGHT, "ht": _HEAD, None: _BODY}
_MOVES, _TIME = "moves", "Time"


class MovementNodes:
    """The nodes of one movement.

    Attributes:
        table: vtkMRMLTableNode with one row per frame, as estimated.
        charts: vtkMRMLPlotChartNodes by key: arms, legs, speeds.
    """

    def __init__(self, sequence: Any, name: str) -> None:
        """Use `for_sequence`."""
        self._sequence, self._scene, self._name = sequence, sequence.GetScene(), name

    @classmethod
    def for_sequence(cls, sequence: Any, name: str, movement: Movement) -> MovementNodes:
        """The nodes of a landmarks sequence, created where they are missing, showing `movement`."""
        result = cls(sequence, name)
        result.update(movement)
        return result

    @property
    def table(self) -> Any:
        """The vtkMRMLTableNode with one row per frame."""
        return self._sequence.GetNodeReference(TABLE_REFERENCE)

    @property
    def charts(self) -> dict[str, Any]:
        """The vtkMRMLPlotChartNodes by key: arms, legs, speeds."""
        found = {key: self._sequence.GetNodeReference(CHART_REFERENCE + key) for key in _CHARTS}
        return {key: chart for key, chart in found.items() if chart is not None}

    def update(self, movement: Movement) -> None:
        """Show another movement of the same fetus in the same nodes."""
        curves = _curves(movement)
        _fill(self._table(TABLE_REFERENCE, "movement"), _readable_columns(movement))
        _fill(self._table(CURVES_REFERENCE, "movement curves", hidden=True), _curve_columns(movement, curves))
        _fill(self._table(MARKS_REFERENCE, "movement marks", hidden=True), _mark_columns(movement, curves))
        for key in [key for key in _CHARTS if key not in self.charts]:
            self._add_chart(key, curves)
        for key, chart in self.charts.items():
            _name_axes(chart, key, movement)

    def _table(self, reference: str, name: str, *, hidden: bool = False) -> Any:
        """The table that the sequence refers to, created if there is none."""
        table = self._sequence.GetNodeReference(reference)
        if table is None:
            table = self._scene.AddNewNodeByClass("vtkMRMLTableNode", f"{self._name} {name}")
            table.SetUseColumnTitleAsColumnHeader(True)
            table.SetLocked(True)
            table.SetHideFromEditors(hidden)
            table.SetDescription(RESEARCH_USE)
            self._sequence.SetNodeReferenceID(reference, table.GetID())
        return table

    def _add_chart(self, key: str, curves: list[_Curve]) -> None:
        title = _CHARTS[key][0]
        chart = self._scene.AddNewNodeByClass("vtkMRMLPlotChartNode", f"{self._name} {title}")
        chart.SetTitle(f"{self._name}: {title}")
        chart.SetLegendVisibility(True)
        self._sequence.SetNodeReferenceID(CHART_REFERENCE + key, chart.GetID())
        for curve in curves:
            if curve.chart == key:
                self._add_curve(chart, curve)
        self._add_marks(chart, key)

    def _add_curve(self, chart: Any, curve: _Curve) -> None:
        series = self._add_series(chart, curve.name, CURVES_REFERENCE, _TIME, curve.name)
        series.SetColor(*_COLOURS[curve.group])
        series.SetLineWidth(2.0)
        series.SetLineStyle(series.LineStyleDash if curve.dashed else series.LineStyleSolid)
        series.SetMarkerStyle(series.MarkerStyleNone)

    def _add_marks(self, chart: Any, key: str) -> None:
        """Dots on the curves of a chart while their part moves."""
        series = self._add_series(chart, _MOVES, MARKS_REFERENCE, f"{key} {_TIME}", f"{key} {_MOVES}")
        series.SetColor(*_MARK)
        series.SetLineStyle(series.LineStyleNone)
        series.SetMarkerStyle(series.MarkerStyleCircle)
        series.SetMarkerSize(9.0)

    def _add_series(self, chart: Any, name: str, table: str, x: str, y: str) -> Any:
        series = self._scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", name)
        series.SetAndObserveTableNodeID(self._sequence.GetNodeReferenceID(table))
        series.SetXColumnName(x)
        series.SetYColumnName(y)
        series.SetPlotType(series.PlotTypeScatter)
        chart.AddAndObservePlotSeriesNodeID(series.GetID())
        return series


def show_only(scene: slicer.vtkMRMLScene, movement: MovementNodes | None) -> None:
    """Remove the charts and tables of all other movements from plot and table views."""
    kept = [] if movement is None else [movement.table, *movement.charts.values()]
    others = _shown_by_movements(scene) - {node.GetID() for node in kept if node is not None}
    for view in nodes_by_class(scene, "vtkMRMLPlotViewNode"):
        if view.GetPlotChartNodeID() in others:
            view.SetPlotChartNodeID(None)
    for view in nodes_by_class(scene, "vtkMRMLTableViewNode"):
        if view.GetTableNodeID() in others:
            view.SetTableNodeID(None)
    for selection in nodes_by_class(scene, "vtkMRMLSelectionNode"):  # would put them into views that are opened later
        if selection.GetActivePlotChartID() in others:
            selection.SetActivePlotChartID(None)
        if selection.GetActiveTableID() in others:
            selection.SetActiveTableID(None)


def _shown_by_movements(scene: slicer.vtkMRMLScene) -> set[str]:
    """IDs of the tables and charts of all movements."""
    roles = (TABLE_REFERENCE, CURVES_REFERENCE, MARKS_REFERENCE, *(CHART_REFERENCE + key for key in _CHARTS))
    sequences = nodes_by_class(scene, "vtkMRMLSequenceNode")
    return {one.GetNodeReferenceID(role) for one in sequences for role in roles if one.GetNodeReferenceID(role)}


@dataclass(frozen=True, eq=False)
class _Curve:
    """One line of a chart: its values over time, and when its part moves."""

    chart: str
    name: str
    group: str | None
    dashed: bool
    values: Array
    moving: NDArray[np.bool_]


def _curves(movement: Movement) -> list[_Curve]:
    """Smoothed angles and speeds; of each limb the distal joint is dashed, and so are the speeds of the legs."""
    curves = []
    angles = smoothed(movement.angles)
    part_of_group = {part.group: number for number, part in enumerate(movement.part_list)}
    before: str | None = None
    for number, angle in enumerate(movement.angle_list):
        chart = next(key for key, (_, groups) in _CHARTS.items() if angle.group in groups)
        moving = movement.moving[:, part_of_group[angle.group]]
        curves.append(_Curve(chart, angle.name, angle.group, angle.group == before, angles[:, number], moving))
        before = angle.group
    for number, part in enumerate(movement.part_list):
        dashed = part.group in ("ll", "rl")
        values, moving = movement.speeds[:, number], movement.moving[:, number]
        curves.append(_Curve("speeds", part.name, part.group, dashed, values, moving))
    return curves


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


def _curve_columns(movement: Movement, curves: list[_Curve]) -> dict[str, Array]:
    return {_TIME: movement.times, **{curve.name: curve.values for curve in curves}}


def _mark_columns(movement: Movement, curves: list[_Curve]) -> dict[str, Array]:
    """Per chart the points of all its curves one after another, NaN where nothing moves."""
    columns: dict[str, Array] = {}
    longest = max(sum(curve.chart == key for curve in curves) for key in _CHARTS)
    for key in _CHARTS:
        marks = [np.where(curve.moving, curve.values, np.nan) for curve in curves if curve.chart == key]
        marks += [np.full(len(movement.times), np.nan)] * (longest - len(marks))  # columns are equally long
        columns |= {f"{key} {_TIME}": np.tile(movement.times, longest), f"{key} {_MOVES}": np.concatenate(marks)}
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
    fresh = vtkTable()
    for name, values in columns.items():
        array = numpy_support.numpy_to_vtk(np.ascontiguousarray(values, dtype=np.float64), deep=True)
        array.SetName(name)
        fresh.AddColumn(array)
    node.SetAndObserveTable(fresh)
