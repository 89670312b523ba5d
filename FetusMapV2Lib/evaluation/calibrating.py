"""Fitting a model's radii, confidences and presence threshold to held-out cases.

The engine itself estimates every case, so that exactly its results are calibrated.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.laterality import resolve_sides, row_order
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.errors import InputError, ModelError
from FetusMapV2Lib.core.progress import CaseRunner, OnProgress, Stages, run_directly
from FetusMapV2Lib.estimation.engine import PoseEngine
from FetusMapV2Lib.imaging.case_search import CaseFiles, find_cases, ignore_skipped
from FetusMapV2Lib.models.calibration import Calibration, fit_calibration
from FetusMapV2Lib.models.model_file import load_model, lock_model, save_model

Array = NDArray[np.float64]
_Row = tuple[Array, Array, Array, float]

#: With fewer, a 90 % radius would be a guess (`fit_calibration` refuses them).
FEWEST_CASES = 10


@dataclass
class Observations:
    """What the engine observes in held-out cases.

    Attributes:
        errors_mm, spread_mm, peak_mass: (cases with a fetus, 22).
        presence: (cases with a fetus,) scores of `detection_score_of`.
        empty_presence: (cases without a fetus,) likewise.
    """

    errors_mm: Array
    spread_mm: Array
    peak_mass: Array
    detection_score: Array
    empty_presence: Array


def observe(
    engine: PoseEngine,
    data: str | os.PathLike[str],
    on_progress: OnProgress | None = None,
    run_case: CaseRunner = run_directly,
) -> Observations:
    """Run the engine on a folder of cases and collect what a calibration needs.

    Args:
        engine: with the model to calibrate.
        data: folder of annotated cases.
        on_progress: called with the fraction done and the case.
        run_case: handles a case that cannot be used; such cases are left out.

    Raises:
        InputError: the folder holds no case, or a case cannot be read.
    """
    stages = Stages(on_progress)
    cases = find_cases(data)
    rows: list[_Row] = []
    empty: list[float] = []
    for number, case in enumerate(cases):
        stages.reach(number / len(cases), case.name)
        row = run_case(case.name, case.volume_path, partial(_observed, engine, case))
        if isinstance(row, float):
            empty.append(row)
        elif row is not None:
            rows.append(row)
    columns = default_schema().count
    errors_mm, spread_mm, peak_mass = (np.array([row[n] for row in rows]).reshape(-1, columns) for n in range(3))
    return Observations(errors_mm, spread_mm, peak_mass, np.array([row[3] for row in rows]), np.array(empty))


def _observed(engine: PoseEngine, case: CaseFiles) -> _Row | float:
    """Errors, spread, peak mass and presence of a case; its presence alone where there is no fetus."""
    present, truth = case.fetus_present, case.pose().positions
    estimate = engine.estimate(case.volume())
    if not present:
        return float(estimate.detection_score)
    last = estimate.views[-1]
    positions, laterality = resolve_sides(last.positions, default_schema())
    order = row_order(laterality, default_schema())
    errors = np.linalg.norm(positions - truth, axis=1)
    return errors, last.spread_mm[order], last.peak_mass[order], float(estimate.detection_score)


def calibrate_model(
    path: str | os.PathLike[str],
    data: str | os.PathLike[str],
    *,
    device: str = "auto",
    on_progress: OnProgress | None = None,
    run_case: CaseRunner = run_directly,
) -> Calibration:
    """Calibrate a model on held-out cases and rewrite its file with the result.

    Args:
        path: of the model file.
        data: folder of annotated cases.
        device: see `PoseEngine.load`.
        on_progress: called with the fraction done and the case.
        run_case: handles a case that cannot be used; such cases are left out.

    Raises:
        ModelError: the model cannot be read or was changed meanwhile, or there are too few cases.
    """
    engine = PoseEngine.load(Path(path), device)
    check_enough(find_cases(data, on_skipped=ignore_skipped))
    calibration = calibration_from(observe(engine, data, on_progress, run_case))
    with lock_model(path):
        model = load_model(Path(path))
        if model.fingerprint != engine.model.fingerprint:
            remedy = "Calibrate it again"
            raise ModelError("the model was changed while it was calibrated", where=path, remedy=remedy)
        save_model(Path(path), replace(model, calibration=calibration))
    return calibration


def check_enough(cases: Sequence[CaseFiles]) -> None:
    """Refuse too few cases before they are processed for hours.

    Raises:
        ModelError: fewer than ten cases with a fetus.
    """
    with_fetus = sum(map(_may_show_fetus, cases))
    if with_fetus < FEWEST_CASES:
        raise ModelError(
            f"{with_fetus} cases with a fetus are too few to calibrate on",
            remedy=f"Give at least {FEWEST_CASES} cases with landmarks",
        )


def _may_show_fetus(case: CaseFiles) -> bool:
    try:
        return case.fetus_present
    except InputError:  # reported when the case is processed
        return True


def calibration_from(seen: Observations) -> Calibration:
    """The calibration of some observations; the presence threshold lies between cases with and without a fetus.

    Without empty cases the threshold is half of what the weakest fetus in a hundred reaches.
    """
    calibration = fit_calibration(seen.errors_mm, seen.spread_mm, seen.peak_mass)
    weakest = float(np.quantile(seen.detection_score, 0.01))
    if not len(seen.empty_presence):
        return replace(calibration, detection_threshold=weakest / 2)
    strongest_empty = float(seen.empty_presence.max())
    return replace(calibration, detection_threshold=(weakest + strongest_empty) / 2)
