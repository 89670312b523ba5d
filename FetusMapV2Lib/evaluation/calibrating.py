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

from FetusMapV2Lib.anatomy.landmark_shift import in_body
from FetusMapV2Lib.anatomy.laterality import resolve_sides, row_order
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.errors import InputError, ModelError
from FetusMapV2Lib.core.progress import CaseRunner, OnProgress, Stages, run_directly
from FetusMapV2Lib.estimation.engine import PoseEngine
from FetusMapV2Lib.imaging.case_search import CaseFiles, find_cases, ignore_skipped
from FetusMapV2Lib.imaging.fill_values import without_fill
from FetusMapV2Lib.imaging.skin_surface import landmarks_on_skin
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.models.calibration import FEWEST_TO_FIT, Calibration
from FetusMapV2Lib.models.model_file import load_model, lock_model, save_model
from FetusMapV2Lib.models.world_calibration import (
    Observations,
    WorldCoverage,
    calibrate,
    coverage,
    left_out_coverages,
)

Array = NDArray[np.float64]

#: The fewest cases that may move an earlier calibration.
FEWEST_TO_MOVE = 3
#: A model with half of the landmarks farther off than this (mm) is useless; so is one whose detection score is higher
#: in a volume with a fetus than in one without in less than this share of pairs, if there are some of both.
_USELESS_MM, _USELESS_SHARE, _SOME = 15.0, 0.75, 5


@dataclass(frozen=True, eq=False)
class ObservedCase:
    """What the engine observes in a volume with a fetus: a row of each field of `Observations`.

    Attributes:
        errors_mm, spread_mm, peak_mass: (22,).
        detection_score: of the volume.
        features: (F,) or None.
        second_peaks: (22, 3) or None.
        length_mm: of the body that was seen.
        misses, second_misses, skin_misses: (22, 3); NaN if no body was seen.
    """

    errors_mm: Array
    spread_mm: Array
    peak_mass: Array
    detection_score: float
    features: Array | None
    second_peaks: Array | None
    length_mm: float
    misses: Array
    second_misses: Array
    skin_misses: Array


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
    rows: list[ObservedCase] = []
    empty: list[float] = []
    for number, case in enumerate(cases):
        stages.reach(number / len(cases), case.name)
        row = run_case(case.name, case.volume_path, partial(_observed, engine, case))
        if isinstance(row, float):
            empty.append(row)
        elif row is not None:
            rows.append(row)
    return observations_of(rows, empty)


def observations_of(rows: Sequence[ObservedCase], empty: Sequence[float]) -> Observations:
    """The observations of a world from those of its cases.

    Args:
        rows: of the cases with a fetus.
        empty: detection scores of those without one.
    """
    count = default_schema().count

    def stacked(name: str, *shape: int) -> Array:
        return np.array([getattr(row, name) for row in rows], dtype=np.float64).reshape(-1, *shape)

    features = [row.features for row in rows if row.features is not None]
    second_peaks = [row.second_peaks for row in rows if row.second_peaks is not None]
    return Observations(
        stacked("errors_mm", count),
        stacked("spread_mm", count),
        stacked("peak_mass", count),
        stacked("detection_score"),
        np.array(empty, dtype=np.float64),
        np.array(features) if rows and len(features) == len(rows) else None,
        np.array(second_peaks) if rows and len(second_peaks) == len(rows) else None,
        stacked("length_mm"),
        stacked("misses", count, 3),
        stacked("second_misses", count, 3),
        stacked("skin_misses", count, 3),
    )


def _observed(engine: PoseEngine, case: CaseFiles) -> ObservedCase | float:
    """Errors, spread, peak mass and presence of a case; its presence alone where there is no fetus."""
    return observed(engine, case.volume(), case.pose().positions if case.fetus_present else None)


def observed(engine: PoseEngine, volume: Volume, truth: Array | None) -> ObservedCase | float:
    """What the engine observes in a volume.

    Args:
        engine: with the model.
        volume: of a case.
        truth: (22, 3) RAS mm; None for a volume without a fetus, of which the detection score alone is given.
    """
    estimate = engine.estimate(volume)
    if truth is None:
        return float(estimate.detection_score)
    last = estimate.views[-1]
    positions, laterality = resolve_sides(last.positions, default_schema())
    order = row_order(laterality, default_schema())
    moved = engine.calibration.shift_mm(last.frame)
    there = truth - moved
    skin = landmarks_on_skin(without_fill(volume), positions + moved)
    errors = np.linalg.norm(positions - there, axis=1)
    if engine.calibration.on_skin:
        errors = np.where(np.isfinite(skin).all(axis=1), np.linalg.norm(skin - truth, axis=1), errors)
    second, second_misses = None, np.full_like(positions, np.nan)
    if last.second_peaks is not None:
        peaks = last.second_peaks[order]
        second = np.column_stack((np.linalg.norm(peaks[:, :3] - there, axis=1), peaks[:, 3:]))
        second_misses = truth - peaks[:, :3]
    misses, skin_misses = np.full_like(positions, np.nan), np.full_like(positions, np.nan)
    if last.frame is not None:
        misses, second_misses = in_body(truth - positions, last.frame), in_body(second_misses, last.frame)
        skin_misses = in_body(truth - skin, last.frame)
    return ObservedCase(
        errors_mm=errors,
        spread_mm=last.spread_mm[order],
        peak_mass=last.peak_mass[order],
        detection_score=float(estimate.detection_score),
        features=last.features,
        second_peaks=second,
        length_mm=np.nan if last.frame is None else last.frame.length_mm,
        misses=misses,
        second_misses=second_misses,
        skin_misses=skin_misses,
    )


@dataclass(frozen=True)
class CalibrationResult:
    """A calibration and how it holds.

    Attributes:
        calibration: of the model.
        worlds: how it holds in each world that it was fitted to.
        left_out: how one that was fitted to all other worlds holds in each; nothing for a single world.
        remarks: sentences on what could not be fitted.
    """

    calibration: Calibration
    worlds: tuple[WorldCoverage, ...]
    left_out: tuple[WorldCoverage, ...]
    remarks: tuple[str, ...]


def calibrate_on_worlds(
    path: str | os.PathLike[str],
    data: Sequence[str | os.PathLike[str]],
    *,
    fresh: bool = False,
    force: bool = False,
    shift: bool = False,
    device: str = "auto",
    on_progress: OnProgress | None = None,
    run_case: CaseRunner = run_directly,
) -> CalibrationResult:
    """Calibrate a model on held-out cases and rewrite its file with the result.

    An earlier calibration of the model is moved towards what the cases say (`world_calibration.calibrate`), for which
    three cases are enough.

    Args:
        path: of the model file.
        data: folders of annotated cases, one for each world, the model's own first.
        fresh: forget the earlier calibration, but not its detection thresholds if no case shows no fetus.
        force: calibrate a useless model, too.
        shift: fit also by how much the landmarks of all bodies lie elsewhere than the network sees them.
        device: see `PoseEngine.load`.
        on_progress: called with the fraction done and the case.
        run_case: handles a case that cannot be used; such cases are left out.

    Raises:
        ModelError: the model cannot be read, is useless, or was changed meanwhile, or there are too few cases.
    """
    engine = PoseEngine.load(Path(path), device)
    folders = [Path(one) for one in data]
    known = engine.model.calibration
    earlier = None if fresh or known is None or not known.cases else known
    safe = known if known is not None and known.detection_threshold > 0 else None  # also of an averaged model
    every = [case for folder in folders for case in find_cases(folder, on_skipped=ignore_skipped)]
    check_enough(every, FEWEST_TO_FIT if earlier is None else FEWEST_TO_MOVE)
    worlds = {
        name: observe(engine, folder, _part(on_progress, number, len(folders)), run_case)
        for number, (name, folder) in enumerate(zip(_names(folders), folders, strict=True))
    }
    remarks: list[str] = []
    useless = "" if force else uselessness(list(worlds.values()))
    if useless:
        remedy = "Train it longer or on more cases, and look whether they are right (`fetusmap check`)"
        raise ModelError(f"the model is not worth calibrating: {useless}", where=path, remedy=remedy, option="--force")
    place = None if fresh or known is None else known.shift
    calibration = calibrate(worlds, earlier, shift=shift, known_shift=place, safe=safe, on_remark=remarks.append)
    with lock_model(path):
        model = load_model(Path(path))
        if model.fingerprint != engine.model.fingerprint:
            remedy = "Calibrate it again"
            raise ModelError("the model was changed while it was calibrated", where=path, remedy=remedy)
        save_model(Path(path), replace(model, calibration=calibration))
    rows = [coverage(name, world, calibration) for name, world in worlds.items() if len(world.errors_mm)]
    left_out = left_out_coverages(worlds, shift=shift, known_shift=place, safe=safe)
    return CalibrationResult(calibration, tuple(rows), tuple(left_out), tuple(remarks))


def _names(folders: Sequence[Path]) -> list[str]:
    """The names of worlds: those of their folders, or whole paths where two are the same."""
    names = [folder.absolute().name for folder in folders]
    return [name if names.count(name) == 1 else str(folder) for name, folder in zip(names, folders, strict=True)]


def _part(on_progress: OnProgress | None, number: int, count: int) -> OnProgress | None:
    """Progress of one of several folders as that of all."""
    if on_progress is None:
        return None
    return lambda fraction, stage: on_progress((number + fraction) / count, stage)


def check_enough(cases: Sequence[CaseFiles], fewest: int = FEWEST_TO_FIT) -> None:
    """Refuse too few cases before they are processed for hours.

    Raises:
        ModelError: fewer cases with a fetus than that.
    """
    with_fetus = sum(map(_may_show_fetus, cases))
    if with_fetus < fewest:
        raise ModelError(
            f"{with_fetus} cases with a fetus are too few to calibrate on",
            remedy=f"Give at least {fewest} cases with landmarks",
        )


def uselessness(worlds: Sequence[Observations]) -> str:
    """Why the estimates of a model are worth nothing, a clause; empty if they are."""
    errors = np.concatenate([world.errors_mm.ravel() for world in worlds])
    median = float(np.nanmedian(errors)) if np.isfinite(errors).any() else 0.0
    if median > _USELESS_MM:
        return f"half of its landmarks are more than {_USELESS_MM:g} mm off (median {median:.0f} mm)"
    scores = np.concatenate([world.detection_score for world in worlds])
    empty = np.concatenate([world.empty_presence for world in worlds])
    share = float((scores[:, None] > empty[None]).mean()) if min(len(scores), len(empty)) >= _SOME else 1.0
    return "it does not tell volumes with a fetus from those without" if share < _USELESS_SHARE else ""


def _may_show_fetus(case: CaseFiles) -> bool:
    try:
        return case.fetus_present
    except InputError:  # reported when the case is processed
        return True
