"""The pose: where the landmarks of one fetus are, in RAS millimetres, and how sure that is.

A pose never changes; moving a landmark makes a new one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from FetusMapV2Lib.anatomy.laterality import Laterality
from FetusMapV2Lib.anatomy.planes import Plane, midsagittal_plane
from FetusMapV2Lib.anatomy.schema import Schema, default_schema

#: A landmark with a lower confidence counts as doubtful.
DOUBTFUL_CONFIDENCE = 0.5
#: 90 % radius of a landmark that a person set, mm. Two observers of a crown-rump length agree within 2.35 mm in 95 % of
#: cases: with independent errors of both ends and both observers, a standard deviation of 0.60 mm along the line. 90 %
#: of an isotropic Gaussian in space lie within 2.50 of them.
HAND_RADIUS90_MM = 1.5
HAND_RADIUS_SOURCE = (
    "limits of agreement of two observers of a crown-rump length, ± 2.35 mm (BMC Pregnancy Childbirth 2018, "
    "doi 10.1186/s12884-018-1769-2)"
)
_MOST_SHOWN = 0.99


@dataclass(frozen=True, eq=False)
class Pose:
    """Landmark positions of one fetus.

    Attributes:
        positions: (N, 3) float64, RAS mm, row = landmark number - 1; a missing landmark is a
            row of NaN. Stored as a read-only copy.
        confidence: (N,) in 0..1, or None if unknown.
        radius90_mm: (N,) radius in mm of the sphere that holds the true landmark in 90 % of cases, or None.
        laterality: how left and right were distinguished, or None if they were not.
        schema: what each row is; the bundled landmarks by default.
        doubt: why it is doubtful whether this is a fetus at all, one sentence; empty if it is not. Every landmark of
            a doubtful pose counts as doubtful.

    Raises:
        ValueError: an array of the wrong shape, another number of rows than the schema has landmarks, or a coordinate
            that is infinite.

    Examples:
        >>> pose = fm.Pose([[0.0, 10.0, float(row)] for row in range(21)] + [[math.nan, math.nan, math.nan]])
        >>> bool(pose.present[0]), bool(pose.present[21])
        (True, False)
        >>> pose.with_positions(pose.positions + [1.0, 0.0, 0.0]).positions[0]
        array([ 1., 10.,  0.])
    """

    positions: np.ndarray
    confidence: np.ndarray | None = None
    radius90_mm: np.ndarray | None = None
    laterality: Laterality | None = None
    schema: Schema = field(default_factory=default_schema, repr=False)
    doubt: str = ""

    def __post_init__(self) -> None:
        positions = np.array(self.positions, dtype=np.float64)
        if positions.ndim != 2 or positions.shape[1] != 3:
            raise ValueError(f"positions must have the shape (N, 3), found {positions.shape}")
        if len(positions) != self.schema.count:
            raise ValueError(f"the pose has {len(positions)} landmarks, the schema {self.schema.count}")
        if np.isinf(positions).any():
            raise ValueError("positions must not be infinite; a missing landmark is NaN")
        positions[np.isnan(positions).any(axis=1)] = np.nan
        object.__setattr__(self, "positions", _frozen(positions))
        for name in ("confidence", "radius90_mm"):
            value = getattr(self, name)
            if value is None:
                continue
            array = np.array(value, dtype=np.float64)
            if array.shape != positions.shape[:1]:
                raise ValueError(f"{name} must have the shape ({len(positions)},), found {array.shape}")
            object.__setattr__(self, name, _frozen(array))

    @classmethod
    def missing(cls, schema: Schema | None = None) -> Pose:
        """A pose of which every landmark is missing."""
        schema = schema or default_schema()
        return cls(np.full((schema.count, 3), np.nan), schema=schema)

    @property
    def present(self) -> np.ndarray:
        """(N,) bool: which landmarks have a position."""
        return np.asarray(np.isfinite(self.positions).all(axis=1))

    @property
    def placed_by_hand(self) -> np.ndarray:
        """(N,) bool: which landmarks are present without a radius, though others have one or had one."""
        if self.radius90_mm is None:
            return np.zeros(len(self.positions), dtype=bool)
        return np.asarray(self.present & np.isnan(self.radius90_mm))

    @property
    def assumed_radius90_mm(self) -> np.ndarray | None:
        """(N,) the radii, with `HAND_RADIUS90_MM` where a person set the landmark; None if radii are unknown."""
        if self.radius90_mm is None:
            return None
        return np.where(self.placed_by_hand, HAND_RADIUS90_MM, self.radius90_mm)

    @property
    def doubtful(self) -> np.ndarray:
        """(N,) bool: which landmarks count as doubtful; all that are present where the whole pose is doubtful."""
        if self.doubt:
            return self.present
        if self.confidence is None:
            return np.zeros(len(self.positions), dtype=bool)
        return np.asarray(self.present & (self.confidence < DOUBTFUL_CONFIDENCE))

    @cached_property
    def midsagittal_plane(self) -> Plane | None:
        """The least-squares plane through the midline landmarks, see `planes.midsagittal_plane`; None without one."""
        return midsagittal_plane(self.positions, self.schema)

    def transformed(self, matrix: np.ndarray) -> Pose:
        """The pose after an affine 4x4 `matrix` (RAS to RAS); radii scale by the cube root of |det|.

        A mirroring matrix drops the laterality, as left and right no longer hold.
        """
        matrix = np.asarray(matrix, dtype=np.float64)
        if matrix.shape != (4, 4):
            raise ValueError(f"matrix must have the shape (4, 4), found {matrix.shape}")
        determinant = float(np.linalg.det(matrix[:3, :3]))
        radius = None if self.radius90_mm is None else self.radius90_mm * abs(determinant) ** (1 / 3)
        return replace(
            self,
            positions=self.positions @ matrix[:3, :3].T + matrix[:3, 3],
            radius90_mm=radius,
            laterality=self.laterality if determinant > 0 else None,
        )

    def with_positions(self, positions: np.ndarray) -> Pose:
        """The same pose with other positions (N, 3); confidence, radius and laterality stay."""
        return replace(self, positions=positions)


def shown_confidence(confidence: float) -> str:
    """A confidence between 0 and 1 in per cent for display; never 100 %, as no model is ever certain."""
    return ">99%" if confidence > _MOST_SHOWN else f"{confidence:.0%}"


def _frozen(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array
