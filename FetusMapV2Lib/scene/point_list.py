"""A point list and the landmarks that it should hold: points may be added, deleted or renamed elsewhere in Slicer."""

from __future__ import annotations

from typing import Any

from FetusMapV2Lib.anatomy.schema import Schema


def problem_of_list(node: Any, schema: Schema) -> str:
    """Why the points of a list are not the landmarks of the schema in their order; empty if they are."""
    labels = [node.GetNthControlPointLabel(row) for row in range(node.GetNumberOfControlPoints())]
    wanted = [landmark.name for landmark in schema.landmarks]
    if labels == wanted:
        return ""
    if len(labels) != len(wanted):
        return f"it has {len(labels)} points, not {len(wanted)}"
    row = next(row for row, pair in enumerate(zip(labels, wanted, strict=True)) if pair[0] != pair[1])
    return f"its point {row + 1} is named {labels[row]!r}, not {wanted[row]!r}"


def fill_list(node: Any, schema: Schema) -> None:
    """Give a point list the landmarks of the schema, all missing, in place of the points that it had."""
    before = node.StartModify()
    node.SetFixedNumberOfControlPoints(False)
    node.RemoveAllControlPoints()
    for landmark in schema.landmarks:
        row = node.AddControlPoint(0.0, 0.0, 0.0, landmark.name)
        node.SetNthControlPointPositionMissing(row)
    node.SetFixedNumberOfControlPoints(True)
    node.EndModify(before)
