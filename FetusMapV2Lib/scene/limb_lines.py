"""The skeleton as lines for one slice view, in the colours of the limbs, fainter the farther they lie from the slice.

Slicer projects a model onto a slice with one opacity. So the distance is a part of the scalars, and the colour table
has each colour in several opacities.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from vtkmodules.util import numpy_support
from vtkmodules.vtkCommonCore import vtkPoints
from vtkmodules.vtkCommonDataModel import vtkCellArray, vtkPolyData

from FetusMapV2Lib.anatomy.schema import Schema
from FetusMapV2Lib.scene.skeleton import finite_rows

Array = NDArray[np.float64]
Colour = tuple[float, float, float, float]

SHADE_ARRAY = "Shade"
#: Steps from opaque to faint, and the distances from the slice in mm at which they begin and end.
_STEPS, _NEAR_MM, _FAR_MM = 12, 2.0, 16.0
_FAINTEST = 0.2
#: Pieces of an edge: the opacity changes along it.
_PIECES = 8


def shades(schema: Schema) -> list[Colour]:
    """The colour table: for each group of landmarks its colour, from opaque to faint."""
    opacities = np.linspace(1.0, _FAINTEST, _STEPS).tolist()
    groups = [schema.landmarks[schema.rows(group)[0]].colour for group in schema.groups]
    return [(*colour, opacity) for colour in groups for opacity in opacities]


class LimbLines:
    """Keeps one vtkPolyData in step with 22 positions and a slice.

    Attributes:
        polydata: the lines; per point the row in the table of `shades` (array "Shade").
    """

    def __init__(self, schema: Schema) -> None:
        self._starts = np.array([edge.start for edge in schema.edges])
        self._ends = np.array([edge.end for edge in schema.edges])
        groups = [schema.groups.index(edge.group) for edge in schema.edges]
        self._first_shades = np.repeat(np.array(groups) * _STEPS, _PIECES + 1)
        self._shown: NDArray[np.bool_] | None = None
        self._points = np.zeros((len(groups) * (_PIECES + 1), 3))
        self.polydata = vtkPolyData()
        self.polydata.SetPoints(vtkPoints())

    def move(self, positions: Array, local: Array, *, force: bool = False) -> None:
        """Draw the lines between other positions; call `fade` afterwards.

        Args:
            positions: (N, 3) RAS mm, NaN = missing; edges that touch these disappear.
            local: (N, 3) the same in the coordinates of the model.
            force: do not rely on what the polydata held before; an undo or a loaded scene may have changed it.
        """
        self._points = self._along(positions)
        points = numpy_support.numpy_to_vtk(self._along(local).astype(np.float32), deep=True)
        self.polydata.GetPoints().SetData(points)
        self.polydata.GetPoints().Modified()
        present = finite_rows(positions)
        if force or self._shown is None or not np.array_equal(present, self._shown):
            self.polydata.SetLines(_lines(present[self._starts] & present[self._ends]))
            self._shown = present

    def fade(self, origin: Array, normal: Array) -> None:
        """Give every point the opacity of its distance from a slice.

        Args:
            origin: (3,) a point of the slice, RAS mm.
            normal: (3,) its unit normal.
        """
        distance = np.abs((self._points - origin) @ normal)
        step = np.clip((distance - _NEAR_MM) / (_FAR_MM - _NEAR_MM), 0, 1) * (_STEPS - 1)
        values = (self._first_shades + step.round()).astype(np.float32)
        array = numpy_support.numpy_to_vtk(values, deep=True)
        array.SetName(SHADE_ARRAY)
        self.polydata.GetPointData().SetScalars(array)
        self.polydata.Modified()

    def _along(self, positions: Array) -> Array:
        """Points along each edge, (edges * (pieces + 1), 3); those of missing landmarks are somewhere finite."""
        safe = np.where(np.isfinite(positions), positions, 0.0)
        share = np.linspace(0.0, 1.0, _PIECES + 1)[:, None]
        start, end = safe[self._starts][:, None], safe[self._ends][:, None]
        return np.asarray((start + share * (end - start)).reshape(-1, 3))


def _lines(shown: NDArray[np.bool_]) -> vtkCellArray:
    """One cell of points for each shown edge."""
    edges = np.flatnonzero(shown)
    length = _PIECES + 1
    cells = vtkCellArray()
    cells.SetData(
        numpy_support.numpy_to_vtkIdTypeArray(np.arange(0, len(edges) * length + 1, length, dtype=np.int64), deep=True),
        numpy_support.numpy_to_vtkIdTypeArray(
            (edges[:, None] * length + np.arange(length)).ravel().astype(np.int64), deep=True
        ),
    )
    return cells
