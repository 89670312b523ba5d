"""The control points of a landmarks node: positions, locks, and whether they still are the landmarks of a schema.

Points may be added, deleted or renamed elsewhere in Slicer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray
from vtkmodules.util import numpy_support
from vtkmodules.vtkCommonCore import vtkPoints
from vtkmodules.vtkCommonTransforms import vtkGeneralTransform

from FetusMapV2Lib.anatomy.schema import Schema

Array = NDArray[np.float64]


def list_problem(node: Any, schema: Schema) -> str:
    """Why the points of a list are not the landmarks of the schema in their order; empty if they are."""
    labels = [node.GetNthControlPointLabel(row) for row in range(node.GetNumberOfControlPoints())]
    wanted = [landmark.name for landmark in schema.landmarks]
    if labels == wanted:
        return ""
    if len(labels) != len(wanted):
        return f"it has {len(labels)} points, not {len(wanted)}"
    row = next(row for row, pair in enumerate(zip(labels, wanted, strict=True)) if pair[0] != pair[1])
    return f"its point {row + 1} is named {labels[row]!r}, not {wanted[row]!r}"


def recreate_points(node: Any, schema: Schema) -> None:
    """Replace all points of a list by the landmarks of the schema, all missing."""
    before = node.StartModify()
    node.SetFixedNumberOfControlPoints(False)
    node.RemoveAllControlPoints()
    for landmark in schema.landmarks:
        row = node.AddControlPoint(0.0, 0.0, 0.0, landmark.name)
        node.SetNthControlPointPositionMissing(row)
    node.SetFixedNumberOfControlPoints(True)
    node.EndModify(before)


def world_positions(node: Any) -> Array:
    """(N, 3) world coordinates of a markups node's points in mm, NaN where the position is not defined."""
    points = vtkPoints()
    points.SetDataTypeToDouble()
    node.GetControlPointPositionsWorld(points)
    positions: Array = numpy_support.vtk_to_numpy(points.GetData()).copy()
    positions[~_defined(node)] = np.nan
    return positions


def local_positions(node: Any) -> Array:
    """(N, 3) coordinates in the node's own frame (before its parent transform), NaN where not defined."""
    count = node.GetNumberOfControlPoints()
    positions = np.array([node.GetNthControlPointPosition(row) for row in range(count)]).reshape(count, 3)
    positions[~_defined(node)] = np.nan
    return positions


def _defined(node: Any) -> NDArray[np.bool_]:
    status = (node.GetNthControlPointPositionStatus(row) for row in range(node.GetNumberOfControlPoints()))
    return np.fromiter((value == node.PositionDefined for value in status), dtype=bool)


def set_world_position(node: Any, row: int, world: Sequence[float] | Array) -> None:
    """Move point `row` to `world` (RAS mm), or mark it missing where that is NaN."""
    x, y, z = (float(value) for value in world)
    if math.isfinite(x + y + z):
        node.SetNthControlPointPositionWorld(row, x, y, z)
    elif node.GetNthControlPointPositionStatus(row) != node.PositionMissing:
        node.SetNthControlPointPositionMissing(row)


def set_local_position(node: Any, row: int, place: Array) -> None:
    """`set_world_position` in the node's own coordinates, not rounded by a parent transform."""
    if np.isfinite(place).all():
        node.SetNthControlPointPosition(row, *place.tolist())
    else:
        set_world_position(node, row, place)


def locks(node: Any) -> NDArray[np.bool_]:
    """(N,) which points are locked."""
    rows = range(node.GetNumberOfControlPoints())
    return np.fromiter((bool(node.GetNthControlPointLocked(row)) for row in rows), dtype=bool)


def grabbed_row(node: Any) -> int | None:
    """The point grabbed by the mouse, as Slicer stores it at PointStartInteractionEvent; None without one."""
    index = node.GetAttribute("Markups.MovingMarkupIndex") or ""
    return int(index) if index.isdecimal() and int(index) < node.GetNumberOfControlPoints() else None


def world_to_local(node: Any, world: Array) -> Array:
    """World points (N, 3) in the coordinates of a node under a parent transform; NaN rows stay."""
    return _transformed(world, None, node.GetParentTransformNode())


def local_to_world(node: Any, local: Array) -> Array:
    """Points (N, 3) in the coordinates of a node under a parent transform as world points; NaN rows stay."""
    return _transformed(local, node.GetParentTransformNode(), None)


def _transformed(points: Array, source: Any, target: Any) -> Array:
    """Points from the coordinates below one transform node to those below another; None is the world."""
    if source is target:
        return points
    transform = vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(source, target, transform)
    return np.array([transform.TransformPoint(point) if np.isfinite(point).all() else point for point in points])
