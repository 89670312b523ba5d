"""Everything that is derived from one pose: lengths, gestational ages, the midsagittal plane, posture, checks.

Files, tables, reports and pictures all show these.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from FetusMapV2Lib.anatomy.biometry import Measurement, measure, neck_flexion_deg, neck_uncertainty_deg
from FetusMapV2Lib.anatomy.dating import FORMULAS, Dating, check_formula, gestational_age
from FetusMapV2Lib.anatomy.planes import Plane
from FetusMapV2Lib.anatomy.plausibility import Check, check_pose
from FetusMapV2Lib.anatomy.pose import Pose


@dataclass(frozen=True)
class Measurements:
    """Everything derived from one pose.

    Attributes:
        lengths: CRL first, then left and right femur, left and right humerus, mm.
        datings: gestational age by each formula; NaN days if the CRL is missing.
        formula: key of the formula that was chosen.
        plane: midsagittal plane, None with too few landmarks.
        neck_flexion_deg: 0 when neutral, positive with the chin to the chest, NaN if unknown.
        checks: unequal sides, bones against the CRL, posture; see `plausibility.check_pose`.
    """

    lengths: tuple[Measurement, ...]
    datings: tuple[Dating, ...]
    formula: str
    plane: Plane | None
    neck_flexion_deg: float
    checks: tuple[Check, ...]

    @property
    def crl(self) -> Measurement:
        """The crown-rump length."""
        return next(length for length in self.lengths if length.key == "crl")

    @property
    def known_datings(self) -> tuple[Dating, ...]:
        """The datings that give an age."""
        return tuple(dating for dating in self.datings if math.isfinite(dating.days))

    @property
    def dating(self) -> Dating:
        """The dating by the chosen formula."""
        return next(dating for dating in self.datings if dating.key == self.formula)

    @property
    def doubts(self) -> tuple[Check, ...]:
        """The checks that deserve a look."""
        return tuple(check for check in self.checks if check.doubtful)


def measurements(pose: Pose, formula: str = FORMULAS[0]) -> Measurements:
    """Lengths, gestational ages, the midsagittal plane and the checks of a pose.

    Args:
        pose: of one fetus; what needs a missing landmark is NaN or None.
        formula: key of the dating formula that `Measurements.dating` gives, one of `dating.FORMULAS`.

    Raises:
        InputError: an unknown dating formula.

    Examples:
        >>> found = fm.measurements(case.pose)
        >>> [length.key for length in found.lengths]
        ['crl', 'left_femur', 'right_femur', 'left_humerus', 'right_humerus']
        >>> round(found.crl.value_mm, 1), found.dating.weeks_text
        (67.2, '13w0d')
    """
    check_formula(formula)
    lengths = measure(pose)
    crl = next(length for length in lengths if length.key == "crl")
    neck = neck_flexion_deg(pose.positions, pose.schema)
    return Measurements(
        lengths=lengths,
        datings=tuple(gestational_age(crl.value_mm, name, crl.uncertainty_mm) for name in FORMULAS),
        formula=formula,
        plane=pose.midsagittal_plane,
        neck_flexion_deg=neck,
        checks=check_pose(lengths, neck, neck_uncertainty_deg(pose)),
    )
