"""How well estimated poses agree with the truth: distances, PCK, sides, lengths and planes.

All arrays are stacks of poses (C, N, 3) in RAS mm, C cases and N landmarks, NaN = missing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from FetusMapV2Lib.anatomy.biometry import measure
from FetusMapV2Lib.anatomy.planes import midsagittal_plane
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import Schema
from FetusMapV2Lib.evaluation.statistics import finite_mean

#: Upper end of the PCK curve under which the area is taken; the paper's tables 2 and 3 agree with it.
AUC_LIMIT_MM = 20.0
#: Distances within which a landmark counts as found.
SUCCESS_MM = (2.5, 5.0, 10.0)


def distances_mm(predictions: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """Euclidean distances (ED) in mm, (C, N).

    NaN where the truth is missing (not scored), infinite where the truth is there and the estimate is missing: the
    mean distance leaves such a miss out, every rate counts it as a failure.

    Raises:
        ValueError: shapes other than two equal (C, N, 3).
    """
    predictions, truths = _stack(predictions), _stack(truths)
    if predictions.shape != truths.shape:
        raise ValueError(f"predictions and truths differ in shape: {predictions.shape}, {truths.shape}")
    distances: np.ndarray = np.linalg.norm(predictions - truths, axis=-1)
    missed = np.isnan(predictions).any(axis=-1) & ~np.isnan(truths).any(axis=-1)
    distances[missed] = np.inf
    return distances


def mean_distance_mm(distances: np.ndarray) -> float:
    """Mean of the finite distances, NaN if there is none."""
    finite = _finite(distances)
    return float(finite.mean()) if finite.size else math.nan


def pck(distances: np.ndarray, thresholds_mm: Sequence[float] | np.ndarray) -> np.ndarray:
    """Percentage of correct keypoints as fractions (0..1) at each threshold: the share of distances <= threshold."""
    scored = _scored(distances)
    if not scored.size:
        return np.full(len(thresholds_mm), np.nan)
    ranked = np.sort(scored)
    shares: np.ndarray = np.searchsorted(ranked, np.asarray(thresholds_mm), side="right") / scored.size
    return shares


def auc(distances: np.ndarray, limit_mm: float = AUC_LIMIT_MM) -> float:
    """Area under the PCK curve from 0 to `limit_mm`, as a fraction (0..1) of the full area.

    Exact for the empirical curve, which is a step function: a landmark at distance d adds the width limit - d.
    """
    scored = _scored(distances)
    return float(np.clip(1 - scored / limit_mm, 0, None).mean()) if scored.size else math.nan


def success_rate(distances: np.ndarray, within_mm: float) -> float:
    """Share (0..1) of scored landmarks at most `within_mm` from the truth."""
    return float(pck(distances, [within_mm])[0])


def radius_coverage(distances: np.ndarray, radii_mm: np.ndarray) -> float:
    """Share (0..1) of landmarks whose truth lies inside their radius; those without distance or radius are left out.

    Raises:
        ValueError: shapes differ.
    """
    distances, radii = np.asarray(distances, dtype=np.float64), np.asarray(radii_mm, dtype=np.float64)
    if distances.shape != radii.shape:
        raise ValueError(f"distances and radii differ in shape: {distances.shape}, {radii.shape}")
    known = np.isfinite(distances) & np.isfinite(radii)
    return float((distances[known] <= radii[known]).mean()) if known.any() else math.nan


def limb_sides_right(predictions: np.ndarray, truths: np.ndarray, schema: Schema) -> np.ndarray:
    """Whether each limb is on its own side, (C, 4) for ``la, ra, ll, rl``: 1 yes, 0 no, NaN unknown.

    A limb is right if its estimated joints lie nearer, summed, to the true limb of their own name than to the
    same joints of the other side. Joints missing in the estimate or on either true side are left out.
    """
    predictions, truths = _stack(predictions), _stack(truths)
    own = np.linalg.norm(predictions - truths, axis=-1)
    other = np.linalg.norm(predictions - truths[:, schema.mirror_rows], axis=-1)
    known = np.isfinite(own) & np.isfinite(other)
    gain = np.where(known, other - own, 0.0)
    right = np.full((len(truths), len(LIMBS)), np.nan)
    for column, group in enumerate(LIMBS):
        rows = list(schema.rows(group))
        answered = known[:, rows].any(axis=1)
        right[answered, column] = gain[answered][:, rows].sum(axis=1) > 0
    return right


#: Groups of limbs in the order of `limb_sides_right`.
LIMBS = ("la", "ra", "ll", "rl")


def side_rates(predictions: np.ndarray, truths: np.ndarray, schema: Schema) -> dict[str, float]:
    """Shares (0..1) of cases with the right side: per limb (``la`` ...), ``arms``, ``legs`` and ``all`` four.

    A pair is right if both its limbs are. Cases with an unknown limb are left out where that limb counts.
    """
    right = limb_sides_right(predictions, truths, schema)
    columns = {group: [column] for column, group in enumerate(LIMBS)}
    columns |= {"arms": [0, 1], "legs": [2, 3], "all": [0, 1, 2, 3]}
    rates = {}
    for key, chosen in columns.items():
        together = right[:, chosen].min(axis=1, initial=1.0)
        rates[key] = finite_mean(together)
    return rates


def swaps_by_case(predictions: np.ndarray, truths: np.ndarray, schema: Schema) -> dict[str, np.ndarray]:
    """Which cases have limbs on the wrong side: (C,) 1 yes, 0 no, NaN unknown.

    ``arms``, ``legs``: both limbs of the pair lie where the other one is. ``any``: at least one limb of the four does.
    """
    wrong = 1 - limb_sides_right(predictions, truths, schema)
    any_wrong = np.where(np.isnan(wrong).all(axis=1), np.nan, (wrong == 1).any(axis=1))
    return {"arms": wrong[:, :2].min(axis=1), "legs": wrong[:, 2:].min(axis=1), "any": any_wrong}


def application_errors(predictions: np.ndarray, truths: np.ndarray, schema: Schema) -> dict[str, float]:
    """Means over the cases of `application_errors_by_case`, NaN where no case gives a value."""
    return {key: finite_mean(errors) for key, errors in application_errors_by_case(predictions, truths, schema).items()}


def application_errors_by_case(predictions: np.ndarray, truths: np.ndarray, schema: Schema) -> dict[str, np.ndarray]:
    """Absolute errors of what is read off a pose (table 8 of the paper), (C,) each, NaN where there is no value.

    Lengths in mm (``crl``, ``left_femur``, ...); ``plane_angle_deg`` between the midsagittal normals (a plane whose
    left and right are exchanged is 180 degrees off); ``plane_distance_mm`` of the true plane's middle from the
    estimated plane.
    """
    errors: dict[str, list[float]] = {key: [] for key in ("crl", *schema.bones, "plane_angle_deg", "plane_distance_mm")}
    for estimate, truth in zip(_stack(predictions), _stack(truths), strict=True):
        lengths, true_lengths = (measure(Pose(positions, schema=schema)) for positions in (estimate, truth))
        for found, wanted in zip(lengths, true_lengths, strict=True):
            errors[found.key].append(abs(found.value_mm - wanted.value_mm))
        angle, distance = _plane_errors(estimate, truth, schema)
        errors["plane_angle_deg"].append(angle)
        errors["plane_distance_mm"].append(distance)
    return {key: np.array(values) for key, values in errors.items()}


def lengths_by_case(poses: np.ndarray, schema: Schema) -> dict[str, np.ndarray]:
    """Crown-rump length, femora and humeri of each pose, mm: key -> (C,), NaN where a landmark is missing."""
    measured = [measure(Pose(positions, schema=schema)) for positions in _stack(poses)]
    keys = ("crl", *schema.bones)
    return {key: np.array([one[place].value_mm for one in measured]) for place, key in enumerate(keys)}


def _plane_errors(estimate: np.ndarray, truth: np.ndarray, schema: Schema) -> tuple[float, float]:
    found, wanted = midsagittal_plane(estimate, schema), midsagittal_plane(truth, schema)
    if found is None or wanted is None:
        return math.nan, math.nan
    angle = math.degrees(math.acos(float(np.clip(found.normal @ wanted.normal, -1, 1))))
    return angle, abs(float(found.distances_mm(wanted.origin[None])[0]))


def _stack(poses: np.ndarray) -> np.ndarray:
    stacked = np.asarray(poses, dtype=np.float64)
    if stacked.ndim != 3 or stacked.shape[-1] != 3:
        raise ValueError(f"poses must have the shape (C, N, 3), found {stacked.shape}")
    return stacked


def _scored(distances: np.ndarray) -> np.ndarray:
    """The distances that count for a rate: all but NaN, misses (infinite) included."""
    flat = np.ravel(np.asarray(distances, dtype=np.float64))
    return flat[~np.isnan(flat)]


def _finite(distances: np.ndarray) -> np.ndarray:
    flat = np.ravel(np.asarray(distances, dtype=np.float64))
    return flat[np.isfinite(flat)]
