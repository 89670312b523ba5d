"""Annotated cases and their truth, as an evaluation uses them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.core.progress import CaseRunner, run_directly
from FetusMapV2Lib.imaging.training_cases import CaseFiles

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CaseSet:
    """Annotated cases and their truth.

    Attributes:
        cases: those with landmarks, and those that say they show no fetus.
        truths: (C, 22, 3) RAS mm, NaN = missing; all NaN for a case without a fetus.
        present: (C,) whether the case shows a fetus.
        simulated: (C,) whether the volume was made by the phantom.
        left_out: names of cases without any landmark, which are not annotated yet.
        refused: names of cases that could not be used.
    """

    cases: tuple[CaseFiles, ...]
    truths: Array
    present: NDArray[np.bool_]
    simulated: NDArray[np.bool_]
    left_out: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()

    def only(self, names: Collection[str]) -> CaseSet:
        """The cases of these names; the others count as refused.

        Raises:
            InputError: none of them shows a fetus.
        """
        kept = np.array([case.name in names for case in self.cases])
        if not (self.present & kept).any():
            raise InputError("no case with a fetus could be used", remedy="Look at the reasons above")
        refused = tuple(case.name for case in self.cases if case.name not in names)
        return replace(
            self,
            cases=tuple(case for case in self.cases if case.name in names),
            truths=self.truths[kept],
            present=self.present[kept],
            simulated=self.simulated[kept],
            refused=(*self.refused, *refused),
        )

    @property
    def volumes(self) -> str:
        """What the volumes are, for every heading."""
        if self.simulated.all():
            return "simulated volumes"
        return "in part simulated volumes" if self.simulated.any() else "volumes of a site"


def case_set(cases: Sequence[CaseFiles], run_case: CaseRunner = run_directly) -> CaseSet:
    """Read the truth of some cases.

    Args:
        cases: their files.
        run_case: handles a case that cannot be read; such cases are `CaseSet.refused`.

    Raises:
        InputError: no case has landmarks, or one cannot be read.
    """
    kept, truths, present, simulated, left_out, refused = [], [], [], [], [], []
    for case in cases:
        truth = run_case(case.name, case.landmarks_path, partial(_truth_of, case))
        if truth is None:
            refused.append(case.name)
            continue
        there, positions, is_simulated = truth
        if there and not np.isfinite(positions).any():
            left_out.append(case.name)
            continue
        kept.append(case)
        truths.append(positions if there else np.full_like(positions, np.nan))
        present.append(there)
        simulated.append(is_simulated)
    if not any(present):
        remedy = "Annotate landmarks in some cases first"
        raise InputError("no case of this folder has landmarks", where=cases[0].landmarks_path.parent, remedy=remedy)
    facts = (np.array(truths), np.array(present), np.array(simulated))
    return CaseSet(tuple(kept), *facts, tuple(left_out), tuple(refused))


def _truth_of(case: CaseFiles) -> tuple[bool, Array, bool]:
    """Whether a case shows a fetus, its landmarks, and whether it was simulated."""
    return case.fetus_present, np.array(case.pose().positions), "style" in case.truth()
