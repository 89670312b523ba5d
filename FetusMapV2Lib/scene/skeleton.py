"""The surface of the skeleton: a tapered tube per edge and a small ball per landmark, coloured by group.

One polydata per fetus; moving a point replaces coordinates, only a change of missing points rebuilds cells.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from vtkmodules.util import numpy_support
from vtkmodules.vtkCommonCore import vtkPoints
from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData
from vtkmodules.vtkFiltersSources import vtkSphereSource

from FetusMapV2Lib.anatomy.schema import Schema

Array = NDArray[np.float64]

TUBE_RADIUS_MM = 0.55
BALL_RADIUS_MM = 1.15
COLOUR_ARRAY = "Landmark"

_SIDES = 12
_BALL_RINGS = 8


class SkeletonMesh:
    """Keeps one vtkPolyData in step with 22 positions.

    Attributes:
        polydata: the surface; point normals and per point the row of the landmark whose colour
            it takes (array "Landmark").
    """

    def __init__(self, schema: Schema) -> None:
        self._starts = np.array([edge.start for edge in schema.edges])
        self._ends = np.array([edge.end for edge in schema.edges])
        self._ball, ball_cells = _unit_sphere()
        self._circle = _unit_circle()
        self._cells = _edge_and_ball_cells(len(self._starts), schema.count, len(self._ball), ball_cells)
        self._owners = _cell_owners(len(self._starts), schema.count, len(ball_cells))
        self._shown: NDArray[np.bool_] | None = None
        count = len(self._starts) * 2 * _SIDES + schema.count * len(self._ball)
        self._points = np.zeros((count, 3), dtype=np.float32)
        self._normals = np.zeros((count, 3), dtype=np.float32)
        self._rows = _vertex_rows(schema, len(self._ball))
        self.polydata = vtkPolyData()
        self.polydata.SetPoints(vtkPoints())

    def update(self, positions: Array, *, force: bool = False) -> None:
        """Move the surface to `positions` (22, 3) mm; NaN rows and the edges that touch them disappear.

        Args:
            positions: (N, 3) mm, NaN = missing.
            force: do not rely on what the polydata held before; an undo or a loaded scene may have changed it.
        """
        present = finite_rows(positions)
        safe = np.where(present[:, None], positions, _centre(positions, present))
        self._fill(safe)
        self._copy_to_vtk()
        if force or self._shown is None or not np.array_equal(present, self._shown):
            self._show(present)
        self.polydata.Modified()

    def _copy_to_vtk(self) -> None:
        """Fresh copies: VTK's own memory may be exchanged under a view by undo, which copies into the polydata."""
        points = self.polydata.GetPoints()
        points.SetData(numpy_support.numpy_to_vtk(self._points, deep=True))
        points.Modified()
        normals = numpy_support.numpy_to_vtk(self._normals, deep=True)
        normals.SetName("Normals")
        self.polydata.GetPointData().SetNormals(normals)

    def _fill(self, positions: Array) -> None:
        start, end = positions[self._starts], positions[self._ends]
        across, along = _frames(end - start)
        ring = self._circle[:, 0, None] * across[:, None] + self._circle[:, 1, None] * along[:, None]
        tubes = len(ring) * 2 * _SIDES
        both = self._points[:tubes].reshape(len(ring), 2, _SIDES, 3)
        both[:, 0] = start[:, None] + TUBE_RADIUS_MM * ring
        both[:, 1] = end[:, None] + TUBE_RADIUS_MM * ring
        self._normals[:tubes].reshape(len(ring), 2, _SIDES, 3)[:] = ring[:, None]
        balls = (len(positions), len(self._ball), 3)
        self._points[tubes:].reshape(balls)[:] = positions[:, None] + BALL_RADIUS_MM * self._ball
        self._normals[tubes:].reshape(balls)[:] = self._ball

    def _show(self, present: NDArray[np.bool_]) -> None:
        """Build the cells of what is present."""
        edges = present[self._starts] & present[self._ends]
        keep = np.concatenate([edges, present])[self._owners]
        cells = self._cells[keep]
        offsets = np.arange(0, cells.size + 1, cells.shape[1], dtype=np.int64)
        array = vtkCellArray()
        array.SetData(
            numpy_support.numpy_to_vtkIdTypeArray(offsets, deep=True),
            numpy_support.numpy_to_vtkIdTypeArray(np.ascontiguousarray(cells.ravel()), deep=True),
        )
        rows = numpy_support.numpy_to_vtk(self._rows, deep=True)
        rows.SetName(COLOUR_ARRAY)
        self.polydata.GetPointData().SetScalars(rows)
        self.polydata.SetPolys(array)
        self._shown = present


def finite_rows(positions: Array) -> NDArray[np.bool_]:
    """(N,) which rows of (N, 3) positions are present."""
    present: NDArray[np.bool_] = np.asarray(np.isfinite(positions).all(axis=1))
    return present


def _centre(positions: Array, present: NDArray[np.bool_]) -> Array:
    """A finite place for the unused vertices of missing points, inside the bounds of the others."""
    return positions[present].mean(axis=0) if present.any() else np.zeros(3)


def _frames(directions: Array) -> tuple[Array, Array]:
    """Two unit vectors perpendicular to each direction (E, 3); any pair for a zero direction."""
    length = np.linalg.norm(directions, axis=1, keepdims=True)
    unit = np.where(length > 0, directions / np.maximum(length, 1e-12), [0.0, 0.0, 1.0])
    helper = np.eye(3)[np.abs(unit).argmin(axis=1)]
    across = np.cross(unit, helper)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    return across, np.cross(unit, across)


def _unit_circle() -> Array:
    angles = np.arange(_SIDES) * 2 * math.pi / _SIDES
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def _unit_sphere() -> tuple[Array, NDArray[np.int64]]:
    source = vtkSphereSource()
    source.SetRadius(1.0)
    source.SetThetaResolution(_SIDES)
    source.SetPhiResolution(_BALL_RINGS)
    source.Update()
    sphere = source.GetOutput()
    points = numpy_support.vtk_to_numpy(sphere.GetPoints().GetData()).astype(float)
    cells = numpy_support.vtk_to_numpy(sphere.GetPolys().GetConnectivityArray()).reshape(-1, 3)
    return points, cells.astype(np.int64)


def _edge_and_ball_cells(
    edges: int, landmarks: int, ball_points: int, ball_cells: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Triangles (T, 3) of all tubes, then of all balls."""
    side = np.arange(_SIDES)
    after = (side + 1) % _SIDES
    quads = np.stack([side, after, after + _SIDES, side, after + _SIDES, side + _SIDES], axis=1).reshape(-1, 3)
    tubes = quads[None] + (np.arange(edges) * 2 * _SIDES)[:, None, None]
    balls = ball_cells[None] + (edges * 2 * _SIDES + np.arange(landmarks) * ball_points)[:, None, None]
    return np.concatenate([tubes.reshape(-1, 3), balls.reshape(-1, 3)])


def _cell_owners(edges: int, landmarks: int, ball_cells: int) -> NDArray[np.int64]:
    """For each triangle, the edge (0..E-1) or landmark (E..E+N-1) that it belongs to."""
    return np.concatenate(
        [np.repeat(np.arange(edges), 2 * _SIDES), np.repeat(edges + np.arange(landmarks), ball_cells)]
    )


def _vertex_rows(schema: Schema, ball_points: int) -> NDArray[np.float32]:
    """Per vertex the row of the landmark whose colour it takes: an edge that of its group, a ball its own."""
    edges = np.array([schema.rows(edge.group)[0] for edge in schema.edges])
    return np.concatenate(
        [np.repeat(edges, 2 * _SIDES), np.repeat(np.arange(schema.count), ball_points)], dtype=np.float32
    )
