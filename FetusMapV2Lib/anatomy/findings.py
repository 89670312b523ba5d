"""Everything that is derived from one pose: lengths, gestational ages, the midsagittal plane, the neck's posture.

Files, tables and pictures all show these same findings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from FetusMapV2Lib.anatomy.biometry import Measurement, measure, neck_flexion_deg
from FetusMapV2Lib.anatomy.dating import FORMULAS, Dating, gestational_age
from FetusMapV2Lib.anatomy.planes import Plane, midsagittal_plane
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import Schema, default_schema


@dataclass(frozen=True)
class Findings:
    """Everything derived from one pose.

    Attributes:
        measurements: CRL first, then femora and humeri, mm.
        datings: gestational age by each formula; NaN days if the CRL is missing.
        plane: midsagittal plane, None with too few landmarks.
        neck_flexion_deg: 0 when neutral, positive with the chin to the chest, NaN if unknown.
    """

    measurements: tuple[Measurement, ...]
    datings: tuple[Dating, ...]
    plane: Plane | None
    neck_flexion_deg: float

    @property
    def known_datings(self) -> tuple[Dating, ...]:
        """The datings that give an age."""
        return tuple(dating for dating in self.datings if math.isfinite(dating.days))


def findings(pose: Pose, schema: Schema | None = None) -> Findings:
    """Measurements, gestational ages and the midsagittal plane of a pose."""
    schema = schema or default_schema()
    measurements = measure(pose, schema)
    crl = next(m.value_mm for m in measurements if m.key == "crl")
    return Findings(
        measurements=measurements,
        datings=tuple(gestational_age(crl, name) for name in FORMULAS),
        plane=midsagittal_plane(pose.positions, schema),
        neck_flexion_deg=neck_flexion_deg(pose.positions, schema),
    )
