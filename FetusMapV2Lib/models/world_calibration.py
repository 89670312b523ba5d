"""Calibration on several worlds: groups of cases that are alike, such as those of one device, simulator or distortion.

Each world weighs the same, so that the radii hold on average in a world that was not among them; what is unlike the
model's own world gets wider radii. An earlier calibration holds as long as few cases speak against it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.landmark_shift import LandmarkShift, fit_landmark_shift, lengths_of
from FetusMapV2Lib.core.errors import ModelError
from FetusMapV2Lib.models.calibration import (
    FEWEST_TO_FIT,
    SHARE_IN_DOUBT,
    Calibration,
    conformal_quantile,
    fit_calibration,
)
from FetusMapV2Lib.models.familiarity import FEWEST_CASES, Familiarity, distances_among, fit_familiarity

Array = NDArray[np.float64]
OnRemark = Callable[[str], None]

#: An earlier calibration counts as at most this many cases, its thresholds as this many cases without a fetus.
EARLIER_CASES, EARLIER_EMPTY = 30, 20
#: A fetus is found from this much above the strongest case without one.
_MARGIN = 0.005


@dataclass
class Observations:
    """What the engine observes in the cases of one world.

    Attributes:
        errors_mm, spread_mm, peak_mass: (cases with a fetus, 22); errors are NaN where the truth is missing.
        detection_score: (cases with a fetus,) see `detection.detection_score_of`.
        empty_presence: (cases without a fetus,) likewise.
        features: (cases with a fetus, F) see `Familiarity`; None if they were not measured.
        second_peaks: (cases with a fetus, 22, 3) of the heatmaps with two peaks: distance of the second to the true
            landmark in mm, mass and spread; NaN for the others, None if they were not looked for.
        lengths_mm: (cases with a fetus,) crown-rump lengths of the bodies that were seen; None if not kept.
        misses, second_misses: (cases with a fetus, 22, 3) from what the network sees, and from the second peaks, to the
            truth (`landmark_shift.in_body`), NaN where unknown; None if not kept.
        skin_misses: (cases with a fetus, 22, 3) likewise from where the picture shows the skin near landmarks that lie
            on it (`skin_surface.landmarks_on_skin`), NaN for all others; None if not kept.
    """

    errors_mm: Array
    spread_mm: Array
    peak_mass: Array
    detection_score: Array
    empty_presence: Array
    features: Array | None = None
    second_peaks: Array | None = None
    lengths_mm: Array | None = None
    misses: Array | None = None
    second_misses: Array | None = None
    skin_misses: Array | None = None

    def chosen(self, cases: Sequence[int], empty: Sequence[int]) -> Observations:
        """Some of the cases, in this order.

        Args:
            cases: rows of those with a fetus.
            empty: rows of those without one.
        """
        values: dict[str, Any] = {}
        for name in _fields():
            kept, rows = getattr(self, name), empty if name == "empty_presence" else cases
            values[name] = None if kept is None else kept[list(rows)]
        return Observations(**values)

    def with_shift(self, shift: LandmarkShift | None) -> Observations:
        """The same with landmarks shifted by this much; as they are if it was not kept where they were seen."""
        if self.misses is None or self.lengths_mm is None:
            return self
        by_landmark = lengths_of(shift)
        misses = self.misses - by_landmark
        if shift is not None and shift.on_skin and self.skin_misses is not None:
            misses = np.where(np.isfinite(self.skin_misses), self.skin_misses, misses)
        errors_mm = self.lengths_mm[:, None] * np.linalg.norm(misses, axis=2)
        errors_mm = np.where(np.isfinite(self.lengths_mm)[:, None], errors_mm, self.errors_mm)
        peaks = self.second_peaks
        if peaks is not None and self.second_misses is not None:
            away = self.lengths_mm[:, None] * np.linalg.norm(self.second_misses - by_landmark, axis=2)
            peaks = np.concatenate((away[..., None], peaks[..., 1:]), axis=2)
        return replace(self, errors_mm=errors_mm, second_peaks=peaks)


def joined(parts: Sequence[Observations]) -> Observations:
    """All cases of some parts of a world; what one of them did not keep is unknown of all."""
    values: dict[str, Any] = {}
    for name in _fields():
        each = [getattr(part, name) for part in parts]
        values[name] = None if any(one is None for one in each) else np.concatenate(each)
    return Observations(**values)


def _fields() -> list[str]:
    return [each.name for each in fields(Observations)]


def calibrate(
    worlds: Mapping[str, Observations],
    earlier: Calibration | None = None,
    *,
    own: str | None = None,
    shift: bool = False,
    known_shift: LandmarkShift | None = None,
    safe: Calibration | None = None,
    on_remark: OnRemark | None = None,
) -> Calibration:
    """The calibration of a model on some worlds.

    Args:
        worlds: name of each world, and what the engine observed there.
        earlier: calibration to shrink to: with n cases the new one counts n of n + 30 parts, and radii never shrink
            faster than that. Without cases that show no fetus its presence thresholds stay.
        own: the world whose pictures are familiar; None = the first one. It needs 20 cases; with fewer, what was
            familiar earlier still is.
        shift: fit by how much the landmarks of all bodies lie elsewhere than the network sees them; otherwise that of
            the earlier calibration stays.
        known_shift: the same of a model without an earlier calibration, such as an average of two.
        safe: whose presence thresholds stay if no case shows no fetus; None = those of the earlier calibration.
        on_remark: called with a sentence on whatever could not be fitted.

    Raises:
        ModelError: there is no case with a fetus, or without an earlier calibration fewer than ten.
    """
    say = on_remark or (lambda text: None)
    seen = {name: world for name, world in worlds.items() if len(world.errors_mm)}
    if not seen:
        raise ModelError("there is no case with a fetus to calibrate on", remedy="Give cases with landmarks")
    own = own if own in seen else next(iter(seen))
    place = known_shift if earlier is None else earlier.shift
    if shift:
        place = fitted_shift(list(seen.values()), place)
    seen = {name: world.with_shift(place) for name, world in seen.items()}
    familiarity = _familiarity(seen[own], earlier, say)
    stacked = _stacked(seen, familiarity, own)
    scores = np.concatenate([world.detection_score for world in seen.values()])
    empty = np.concatenate([np.zeros(0), *(world.empty_presence for world in worlds.values())])
    shrunk = None
    if earlier is not None and earlier.cases > 0:
        shrunk = _shrunk(stacked, replace(earlier, familiarity=familiarity), say)
    found, doubtful = presence_thresholds(scores, empty, earlier or (None if len(empty) else safe), say)
    fitted = shrunk or replace(_fitted(stacked, len(seen), scores >= found), familiarity=familiarity)
    return replace(fitted, detection_threshold=found, doubtful_threshold=doubtful, shift=place)


def fitted_shift(worlds: Sequence[Observations], earlier: LandmarkShift | None) -> LandmarkShift | None:
    """`fit_landmark_shift` of those worlds that kept where landmarks were seen; the earlier one if none did."""
    told = [(world.misses, world.skin_misses) for world in worlds if world.misses is not None]
    at_skin = [np.full_like(misses, np.nan) if skin is None else skin for misses, skin in told]
    return fit_landmark_shift([misses for misses, _ in told], earlier, at_skin)


def presence_thresholds(
    scores: Array, empty: Array, earlier: Calibration | None = None, on_remark: OnRemark | None = None
) -> tuple[float, float | None]:
    """Detection scores from which a fetus is found, and from which it is doubtful.

    Found lies halfway between the weakest fetus in a hundred and the strongest case without a fetus, and above the
    latter in any case; doubtful halfway between that case and found, or where fetuses are weaker than it, above nine
    of ten cases without a fetus. An earlier threshold is lowered by few cases only in part, and by none not at all.

    Args:
        scores: of cases with a fetus.
        empty: of cases without one.
        earlier: calibration to shrink to.
        on_remark: called with a sentence on whatever could not be fitted.
    """
    say = on_remark or (lambda text: None)
    weakest = float(np.quantile(scores, 0.01))
    if not len(empty):
        if earlier is None:
            say("No case shows no fetus: the presence threshold is half of what the weakest fetus reaches.")
            return weakest / 2, None
        say("No case shows no fetus: the earlier presence thresholds stay.")
        return earlier.detection_threshold, earlier.doubtful_threshold
    strongest = float(empty.max())
    found = (weakest + strongest) / 2
    if earlier is not None and earlier.detection_threshold > found:
        share = len(empty) / (len(empty) + EARLIER_EMPTY)
        found = share * found + (1 - share) * earlier.detection_threshold
    found = max(found, strongest + _MARGIN)
    below = int((scores < found).sum())
    if below:
        say(f"{below} of {len(scores)} cases with a fetus are weaker than the presence threshold of {found:.2f}.")
    doubtful = (strongest + found) / 2 if weakest > strongest else float(np.quantile(empty, 0.9))
    return found, min(doubtful, found)


@dataclass(frozen=True)
class WorldCoverage:
    """How well radii and confidences hold in a world.

    Attributes:
        name: of the world.
        cases: with a fetus.
        error_mm: mean error of a landmark.
        inside_radius: share of landmarks inside their 90 % radius.
        sure_but_wrong: share of landmarks beyond 5 mm among those with a confidence of at least 0.9.
        confidence_error: expected calibration error of the confidences (`expected_calibration_error`).
        unfamiliarity: median over the pictures, NaN = unknown.
        found, doubtful: shares of the cases with a fetus.
        false_found: share of the cases without a fetus that are found, NaN without any.
        two_peaked, inside_either: number of landmarks whose heatmaps have two peaks, and of those inside either region.
    """

    name: str
    cases: int
    error_mm: float
    inside_radius: float
    sure_but_wrong: float
    confidence_error: float
    unfamiliarity: float
    found: float
    doubtful: float
    false_found: float
    two_peaked: int
    inside_either: int


def coverage(name: str, world: Observations, calibration: Calibration) -> WorldCoverage:
    """How well a calibration holds in a world with at least one fetus."""
    world = world.with_shift(calibration.shift)
    strange = unfamiliarities(world, calibration.familiarity)
    shape = world.spread_mm, world.peak_mass, strange
    score, least = world.detection_score, calibration.least_detection_score
    found = score >= calibration.detection_threshold
    known = np.isfinite(world.errors_mm)
    errors, radii = world.errors_mm[known], calibration.radius90_mm(*shape)[known]
    share = np.where(found, 1.0, SHARE_IN_DOUBT)
    confidence = (share[:, None] * calibration.confidence(*shape))[known]
    sure = confidence >= 0.9
    two_peaked, inside_either = _inside_either(world, calibration, strange)
    return WorldCoverage(
        name=name,
        cases=len(world.errors_mm),
        error_mm=float(errors.mean()),
        inside_radius=float((errors <= radii).mean()),
        sure_but_wrong=float((errors[sure] > 5.0).mean()) if sure.any() else 0.0,
        confidence_error=expected_calibration_error(confidence, errors <= 5.0),
        unfamiliarity=float(np.median(strange)),
        found=float(found.mean()),
        doubtful=float(((score >= least) & ~found).mean()),
        false_found=float((world.empty_presence >= calibration.detection_threshold).mean())
        if len(world.empty_presence)
        else float("nan"),
        two_peaked=two_peaked,
        inside_either=inside_either,
    )


def _inside_either(world: Observations, calibration: Calibration, strange: Array) -> tuple[int, int]:
    """How many landmarks with a known place have two regions, and how many of them lie in one."""
    if world.second_peaks is None:
        return 0, 0
    distance, mass, spread = np.moveaxis(world.second_peaks, -1, 0)
    first, second = calibration.radii_of_two_mm(world.spread_mm, world.peak_mass, spread, mass, strange)
    two = np.isfinite(distance) & np.isfinite(world.errors_mm)
    return int(two.sum()), int(((world.errors_mm <= first) | (distance <= second))[two].sum())


def left_out_coverages(
    worlds: Mapping[str, Observations],
    *,
    own: str | None = None,
    shift: bool = False,
    known_shift: LandmarkShift | None = None,
    safe: Calibration | None = None,
) -> list[WorldCoverage]:
    """How well the calibration on all other worlds holds in each; nothing for fewer than two worlds.

    The own world is familiar in any case: it is not left out. `shift`, `known_shift` and `safe` are those of
    `calibrate`.
    """
    seen = {name: world for name, world in worlds.items() if len(world.errors_mm)}
    own = own if own in seen else next(iter(seen), None)
    rows = []
    for name, world in seen.items():
        others = {other: seen[other] for other in seen if other != name}
        if name != own and sum(len(other.errors_mm) for other in others.values()) >= FEWEST_TO_FIT:
            fitted = calibrate(others, own=own, shift=shift, known_shift=known_shift, safe=safe)
            rows.append(coverage(name, world, fitted))
    return rows


def expected_calibration_error(confidence: Array, right: NDArray[np.bool_], bins: int = 10) -> float:
    """Mean gap between the confidence and the share that is right, over bins of confidence (Naeini et al., 2015)."""
    gaps = [count * abs(sure - share) for count, sure, share in reliability(confidence, right, bins)]
    return float(sum(gaps) / len(confidence)) if len(confidence) else float("nan")


def reliability(confidence: Array, right: NDArray[np.bool_], bins: int = 10) -> list[tuple[int, float, float]]:
    """Of each bin of confidence that holds any: how many, their mean confidence, and the share that is right."""
    place = np.minimum((np.asarray(confidence) * bins).astype(int), bins - 1)
    inside = [place == number for number in range(bins)]
    return [
        (int(one.sum()), float(np.mean(confidence[one])), float(np.mean(right[one]))) for one in inside if one.any()
    ]


def unfamiliarities(world: Observations, familiarity: Familiarity | None) -> Array:
    """(cases,) how unfamiliar each picture of a world is; NaN = unknown."""
    if familiarity is None or world.features is None:
        return np.full(len(world.errors_mm), np.nan)
    return np.array([familiarity.unfamiliarity(one) for one in world.features])


@dataclass(frozen=True, eq=False)
class _Stacked:
    """The cases of all worlds, each world weighing the same."""

    errors_mm: Array
    spread_mm: Array
    peak_mass: Array
    unfamiliarity: Array
    weights: Array


def _familiarity(own: Observations, earlier: Calibration | None, say: OnRemark) -> Familiarity | None:
    if own.features is not None and len(own.features) >= FEWEST_CASES:
        return fit_familiarity(own.features)
    known = None if earlier is None else earlier.familiarity
    if own.features is not None:
        what = "what was familiar earlier still is" if known is not None else "no picture will count as unfamiliar"
        say(f"{len(own.features)} cases are too few to tell what is familiar (it takes {FEWEST_CASES}): {what}.")
    return known


def _stacked(worlds: Mapping[str, Observations], familiarity: Familiarity | None, own: str) -> _Stacked:
    strange = [unfamiliarities(world, familiarity) for world in worlds.values()]
    features = worlds[own].features
    if familiarity is not None and features is not None and len(features) >= FEWEST_CASES:
        strange[list(worlds).index(own)] = distances_among(features) / familiarity.usual  # each from the others
    each = list(worlds.values())
    count = sum(len(world.errors_mm) for world in each)
    return _Stacked(
        np.concatenate([world.errors_mm for world in each]),
        np.concatenate([world.spread_mm for world in each]),
        np.concatenate([world.peak_mass for world in each]),
        np.concatenate(strange),
        np.concatenate([np.full(len(world.errors_mm), count / len(each) / len(world.errors_mm)) for world in each]),
    )


def _fitted(cases: _Stacked, worlds: int, found: NDArray[np.bool_]) -> Calibration:
    """A calibration by these cases alone; one world does not tell how errors grow outside it."""
    return fit_calibration(
        cases.errors_mm,
        cases.spread_mm,
        cases.peak_mass,
        unfamiliarity=cases.unfamiliarity if worlds > 1 else None,
        weights=cases.weights,
        found=found,
    )


def _shrunk(cases: _Stacked, earlier: Calibration, say: OnRemark) -> Calibration:
    """The earlier calibration, moved towards what the cases say: offsets, radii and confidences, not the slopes."""
    count = len(cases.errors_mm)
    share = count / (count + min(earlier.cases, EARLIER_CASES))
    shape = cases.spread_mm, cases.peak_mass, cases.unfamiliarity
    with np.errstate(divide="ignore"):
        ratio = np.log(np.maximum(cases.errors_mm, 0.1) / earlier.typical_error_mm(*shape))
    each = np.broadcast_to(cases.weights[:, None], ratio.shape)
    known = np.isfinite(ratio)
    shift = share * float(np.average(ratio[known], weights=each[known]))
    beyond = ratio - shift - np.log(np.array(earlier.radius_factors))
    wider = conformal_quantile(beyond.ravel(), each.ravel())
    wider = wider if wider > 0 else share * wider
    moved = replace(
        earlier,
        offsets=tuple(np.add(earlier.offsets, shift).tolist()),
        radius_factors=tuple((np.array(earlier.radius_factors) * np.exp(wider)).tolist()),
        cases=count + min(earlier.cases, EARLIER_CASES),
    )
    say(f"{count} cases, against {min(earlier.cases, EARLIER_CASES)} of the earlier calibration: its slopes stay.")
    return moved
