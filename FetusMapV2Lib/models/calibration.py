"""Expected error of a landmark: from the shape of its heatmap to a 90 % radius and a probability.

Fitted on held-out cases with known landmarks, kept as plain numbers in the model file.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.body_frame import BodyFrame, body_frame
from FetusMapV2Lib.anatomy.landmark_shift import LandmarkShift
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.errors import ModelError
from FetusMapV2Lib.core.serialisation import ReadingRules, from_json, json_name, to_json
from FetusMapV2Lib.models.familiarity import Familiarity

Array = NDArray[np.float64]

#: The confidence of a landmark is the probability that its error is at most this.
CLOSE_ENOUGH_MM = 5.0
#: Share of the detection threshold from which a fetus is doubtful, for models whose file states no such threshold:
#: below it lay all volumes without a fetus.
DOUBTFUL_SHARE = 0.93
#: Of a body that is not found beyond doubt, confidences are this share of what the heatmaps say: they tell how clearly
#: a landmark stands out, not whether the body is another one (docs/accuracy.md, Sure landmarks of doubtful bodies).
SHARE_IN_DOUBT = 0.85
#: With fewer cases a 90 % radius would be a guess.
FEWEST_TO_FIT = 10
_MASS_FLOOR = 0.02
_SPREAD_FLOOR_MM = 0.1
_ERROR_FLOOR_MM = 0.1
_COVERAGE = 0.9
#: Of the logarithm of a radius, per unit of unfamiliarity beyond the usual.
_MOST_WIDENING = 2.0


@dataclass(frozen=True)
class Calibration:
    """Expected error of each landmark as a log-linear function of its heatmap, with radius and confidence.

    ``log u_l = offset_l + spread_weight log(spread_mm) + mass_weight log(1 - peak_mass + 0.02) + widening excess`` is
    the typical error, where `excess` is by how much a picture is less familiar than known ones (`excess_of`); the 90 %
    radius is ``radius_factor_l * u_l`` (split-conformal quantile), the confidence
    ``sigmoid(confidence_offset - confidence_slope log u_l)``, of a body in doubt `SHARE_IN_DOUBT` of it. A fetus is
    found if the detection score (`detection.detection_score_of`) reaches `detection_threshold`, and doubtful if it
    reaches `least_detection_score`.

    Attributes:
        doubtful_threshold: score from which a fetus is doubtful; None in older files, see `least_detection_score`.
        cases: number of cases it was fitted to.
        familiarity: what is familiar; None = unknown, as in older files.
        shift: from where the network sees the landmarks to where they are; None = no shift.
    """

    offsets: tuple[float, ...]
    spread_weight: float
    mass_weight: float
    radius_factors: tuple[float, ...]
    confidence_offset: float
    confidence_slope: float
    detection_threshold: float = field(metadata=json_name("presence_threshold"))
    cases: int
    doubtful_threshold: float | None = None
    familiarity: Familiarity | None = None
    widening: float = 0.0
    shift: LandmarkShift | None = None

    @property
    def least_detection_score(self) -> float:
        """Score from which a fetus is doubtful: `DOUBTFUL_SHARE` of the threshold where the file does not say."""
        if self.doubtful_threshold is not None:
            return self.doubtful_threshold
        return DOUBTFUL_SHARE * self.detection_threshold

    def unfamiliarity(self, features: Array | None) -> float:
        """How unfamiliar a picture with these features is, 1 = as much as known pictures at most; NaN = unknown."""
        return math.nan if self.familiarity is None else self.familiarity.unfamiliarity(features)

    @property
    def on_skin(self) -> bool:
        """Whether landmarks of the skin are put at its edge (`LandmarkShift`)."""
        return self.shift is not None and self.shift.on_skin

    def shift_mm(self, frame: BodyFrame | None) -> Array:
        """From where the network sees the landmarks of a body to where they are, (22, 3) RAS mm; 0 without a shift."""
        if frame is None or self.shift is None:
            return np.zeros((len(self.offsets), 3))
        return self.shift.in_world(frame)

    def shift_of(self, positions: Array, template: Array) -> Array:
        """`shift_mm` of the body with landmarks (22, 3) RAS mm, NaN = missing, for a model with this template."""
        return self.shift_mm(body_frame(positions, None, template, default_schema()))

    def as_seen(self, positions: Array, template: Array) -> Array:
        """Where the network sees landmarks that lie at (22, 3) RAS mm; see `shift_of`."""
        return positions - self.shift_of(positions, template)

    def typical_error_mm(self, spread_mm: Array, peak_mass: Array, unfamiliarity: Array | float = math.nan) -> Array:
        """Typical error u of each landmark; arrays of shape (..., 22), `unfamiliarity` of each picture (...)."""
        wider = self.widening * excess_of(unfamiliarity)
        return np.asarray(np.exp(np.asarray(self.offsets) + self._slope(spread_mm, peak_mass) + wider[..., None]))

    def radius90_mm(self, spread_mm: Array, peak_mass: Array, unfamiliarity: Array | float = math.nan) -> Array:
        """Radius within which the true landmark lies in 90 % of cases like the calibration's."""
        return np.asarray(self.radius_factors) * self.typical_error_mm(spread_mm, peak_mass, unfamiliarity)

    def radii_of_two_mm(
        self,
        spread_mm: Array,
        peak_mass: Array,
        second_spread_mm: Array,
        second_mass: Array,
        unfamiliarity: Array | float = math.nan,
    ) -> tuple[Array, Array]:
        """90 % radii around both peaks of each heatmap, which together hold the landmark.

        Each is as large as if its heatmap had one peak of that spread with the mass of both: that the landmark lies at
        the other one is no error of either.

        Args:
            spread_mm: (..., 22) of the first peaks.
            peak_mass: (..., 22) likewise.
            second_spread_mm: (..., 22) of the second peaks; NaN for a heatmap with one.
            second_mass: (..., 22) likewise.
            unfamiliarity: of each picture (...).

        Returns:
            Two (..., 22) in mm, NaN for a heatmap with one peak.
        """
        both = np.minimum(np.asarray(peak_mass) + second_mass, 1.0)
        first, second = (self.radius90_mm(one, both, unfamiliarity) for one in (spread_mm, second_spread_mm))
        return first, second

    def confidence(self, spread_mm: Array, peak_mass: Array, unfamiliarity: Array | float = math.nan) -> Array:
        """Probability that each landmark of a body that is found lies within `CLOSE_ENOUGH_MM` of the truth."""
        log_error = np.log(self.typical_error_mm(spread_mm, peak_mass, unfamiliarity))
        return np.asarray(_sigmoid(self.confidence_offset - self.confidence_slope * log_error))

    def _slope(self, spread_mm: Array, peak_mass: Array) -> Array:
        spread, mass = _features(spread_mm, peak_mass)
        return np.asarray(self.spread_weight * spread + self.mass_weight * mass)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values for the model file; what is not known is left out, as in older files."""
        plain: dict[str, Any] = to_json(self)
        if self.widening == 0.0:
            del plain["widening"]
        if self.shift is not None and not self.shift.on_skin:
            del plain["shift"]["on_skin"]
        return {key: value for key, value in plain.items() if value is not None}

    @classmethod
    def from_dict(
        cls, data: Any, *, landmarks: int | None = None, where: str | os.PathLike[str] | None = None
    ) -> Calibration:
        """The calibration kept in a model file.

        Args:
            data: plain JSON values.
            landmarks: how many it must be for; None = as many as it has.
            where: the file, for messages.

        Raises:
            ModelError: a field is missing, not a number, or out of range; or it is for another number of landmarks.
        """
        calibration = from_json(
            cls,
            data,
            _CALIBRATION,
            where=where,
            remedy=_REMEDY,
            error=ModelError,
            rules=ReadingRules(unknown_keys=True),
        )
        problem = calibration._problem(landmarks)
        if problem:
            raise ModelError(f"{_CALIBRATION}: {problem}", where=where, remedy=_REMEDY)
        return calibration

    def _problem(self, landmarks: int | None) -> str:
        """What is out of range, empty if nothing is."""
        count = len(self.offsets) if landmarks is None else landmarks
        if {len(self.offsets), len(self.radius_factors)} != {count}:
            return f"offsets or radius_factors are not {count} numbers"
        if min(self.radius_factors, default=1.0) <= 0:
            return "a radius factor is not positive"
        if self.cases < 0:
            return "cases is negative"
        if self.familiarity is not None and self.familiarity.problem():
            return self.familiarity.problem()
        if self.shift is not None and self.shift.problem():
            return self.shift.problem()
        if self.widening < 0:
            return "widening is negative"
        if self.doubtful_threshold is not None and self.doubtful_threshold > self.detection_threshold:
            return "doubtful_threshold is above presence_threshold"
        scalars = [self.spread_weight, self.mass_weight, self.confidence_offset, self.confidence_slope]
        scalars += [self.detection_threshold, self.doubtful_threshold or 0.0, self.widening]
        largest = max(map(abs, (*self.offsets, *self.radius_factors, *scalars)))
        return f"a number is beyond {_LARGEST:g}" if largest > _LARGEST else ""


_CALIBRATION, _REMEDY = "the model's calibration", "Calibrate the model again"
#: No logarithm, slope or score of a calibration is larger.
_LARGEST = 1e3


def uncalibrated(landmarks: int = 22) -> Calibration:
    """The calibration of a model without one: radii follow the spread of the heatmap."""
    return Calibration(
        offsets=(0.0,) * landmarks,
        spread_weight=1.0,
        mass_weight=0.0,
        radius_factors=(2.5,) * landmarks,  # 90 % of an isotropic 3D Gaussian lies within 2.5 standard deviations
        confidence_offset=float(np.log(CLOSE_ENOUGH_MM)) * 2,
        confidence_slope=2.0,
        detection_threshold=0.0,
        cases=0,
    )


def excess_of(unfamiliarity: Array | float) -> Array:
    """By how much pictures are less familiar than known ones are; 0 where that is not known."""
    return np.nan_to_num(np.maximum(np.asarray(unfamiliarity, dtype=np.float64) - 1.0, 0.0))


def fit_calibration(
    errors_mm: Array,
    spread_mm: Array,
    peak_mass: Array,
    detection_threshold: float = 0.0,
    *,
    unfamiliarity: Array | None = None,
    weights: Array | None = None,
    found: NDArray[np.bool_] | None = None,
) -> Calibration:
    """Fit a calibration to held-out cases.

    Args:
        errors_mm: (cases, 22) distance to the true landmark, NaN where that is missing.
        spread_mm: (cases, 22) spread of each heatmap around its decoded point.
        peak_mass: (cases, 22) probability mass around the decoded point, 0-1.
        detection_threshold: see `Calibration`; from cases with and without a fetus.
        unfamiliarity: (cases,) how unfamiliar each picture is; None = unknown, so that radii are not widened.
        weights: (cases,) how much each case counts; None = all the same.
        found: (cases,) whose bodies are seen beyond doubt: confidences are fitted to these alone, as those of the
            others are lowered (`SHARE_IN_DOUBT`), unless they are fewer than ten; None = all.

    Raises:
        ModelError: fewer than ten cases.
    """
    cases, landmarks = errors_mm.shape
    if cases < FEWEST_TO_FIT:
        raise ModelError(f"{cases} cases are too few to calibrate on", remedy="Give at least ten cases with landmarks")
    spread, mass = _features(spread_mm, peak_mass)
    log_error = np.log(np.maximum(errors_mm, _ERROR_FLOOR_MM))
    known = np.isfinite(log_error)
    counts = np.ones(cases) if weights is None else np.asarray(weights, dtype=np.float64)
    spread_weight, mass_weight = _slopes(log_error, spread, mass, known, counts)
    slope = spread_weight * spread + mass_weight * mass
    excess = np.zeros(cases) if unfamiliarity is None else excess_of(unfamiliarity)
    widening = _widening(np.where(known, log_error - slope, np.nan), excess, counts)
    slope = slope + widening * excess[:, None]
    residual = np.where(known, log_error - slope, np.nan)
    offsets = np.nan_to_num(_means(residual, counts))
    factors = np.array(
        [np.exp(conformal_quantile(residual[:, row] - offsets[row], counts)) for row in range(landmarks)]
    )
    clear = np.ones(cases, dtype=bool) if found is None or found.sum() < FEWEST_TO_FIT else found
    sure = known & clear[:, None]
    each = np.broadcast_to(counts[:, None], known.shape)[sure]
    confidence = _logistic((offsets + slope)[sure], errors_mm[sure] <= CLOSE_ENOUGH_MM, each)
    return Calibration(
        offsets=tuple(offsets.tolist()),
        spread_weight=spread_weight,
        mass_weight=mass_weight,
        radius_factors=tuple(factors.tolist()),
        confidence_offset=confidence[0],
        confidence_slope=confidence[1],
        detection_threshold=detection_threshold,
        cases=cases,
        widening=widening,
    )


def _features(spread_mm: Array, peak_mass: Array) -> tuple[Array, Array]:
    spread = np.log(np.maximum(np.asarray(spread_mm, float), _SPREAD_FLOOR_MM))
    mass = np.log(np.clip(1.0 - np.asarray(peak_mass, float), 0.0, 1.0) + _MASS_FLOOR)
    return spread, mass


def _means(values: Array, weights: Array) -> Array:
    """Weighted means of the known values of each landmark; NaN for a landmark without any."""
    shares = np.where(np.isfinite(values), weights[:, None], 0.0)
    total = shares.sum(axis=0)
    return np.where(total > 0, np.nansum(values * shares, axis=0) / np.where(total > 0, total, 1.0), np.nan)


def _slopes(
    log_error: Array, spread: Array, mass: Array, known: NDArray[np.bool_], weights: Array
) -> tuple[float, float]:
    """Weighted least squares after subtracting each landmark's own mean."""

    def centred(values: Array) -> Array:
        kept = np.where(known, values, np.nan)
        return np.asarray((kept - _means(kept, weights))[known])

    shares = np.broadcast_to((weights / weights.mean())[:, None], known.shape)[known]
    design = np.column_stack([centred(spread), centred(mass)])
    ridge = 1e-3 * len(design) * np.eye(2)
    weighted = design * shares[:, None]
    slopes = np.linalg.solve(weighted.T @ design + ridge, weighted.T @ centred(log_error))
    return float(max(slopes[0], 0.0)), float(max(slopes[1], 0.0))


def _widening(log_ratios: Array, excess: Array, weights: Array) -> float:
    """How much wider radii of unfamiliar pictures are: regression of the 90 % quantile on the excess."""
    from scipy.optimize import minimize_scalar  # an estimate need not wait until it is loaded

    if not (excess > 0).any():
        return 0.0
    each = np.broadcast_to(weights[:, None], log_ratios.shape)
    centred = log_ratios - _means(log_ratios, weights)

    def loss(widening: float) -> float:
        left = (centred - widening * excess[:, None]).ravel()
        known = np.isfinite(left)
        above = left[known] - conformal_quantile(left, each.ravel())
        return float((each.ravel()[known] * np.maximum(_COVERAGE * above, (_COVERAGE - 1) * above)).sum())

    best = minimize_scalar(loss, bounds=(0.0, _MOST_WIDENING), method="bounded").x
    return float(best) if loss(best) < loss(0.0) else 0.0


def conformal_quantile(values: Array, weights: Array | None = None) -> float:
    """Weighted split-conformal quantile: the smallest of some values that is not exceeded in 90 % of new cases.

    A new case weighs as much as the known ones on average (Tibshirani et al., 2019); 0 without any value.

    Args:
        values: (n,) NaN = unknown.
        weights: (n,) how much each counts; None = all the same.
    """
    finite = np.isfinite(values)
    if not finite.any():
        return 0.0
    known = values[finite]
    shares = np.ones(len(known)) if weights is None else np.asarray(weights)[finite]
    order = np.argsort(known, kind="stable")
    reached = np.cumsum(shares[order]) / (shares.sum() + shares.mean())
    rank = min(int(np.searchsorted(reached, _COVERAGE - 1e-12)), len(known) - 1)
    return float(known[order[rank]])


def _logistic(log_error: Array, close: NDArray[np.bool_], weights: Array) -> tuple[float, float]:
    """Offset and slope of P(close) = sigmoid(offset - slope log u), slope kept positive, lightly regularised."""
    from scipy.optimize import minimize  # see `_widening`

    def loss(parameters: Array) -> float:
        score = parameters[0] - np.exp(parameters[1]) * log_error
        lost = np.average(np.logaddexp(0.0, np.where(close, -score, score)), weights=weights)
        return float(lost + 1e-4 * np.sum(parameters**2))

    best = minimize(loss, np.array([2.0, 0.5]), method="Nelder-Mead").x
    return float(best[0]), float(np.exp(best[1]))


def _sigmoid(score: Array) -> Array:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(score, -50, 50))))
