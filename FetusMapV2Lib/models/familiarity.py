"""How like the calibration's own volumes a picture is, by statistics of the network's feature maps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.core.errors import ModelError

Array = NDArray[np.float64]

#: Fewer cases do not tell what is usual.
FEWEST_CASES = 20
#: Share of the own cases that are as far from the others as `Familiarity.usual` at most.
_USUAL_SHARE = 0.95
#: Deviations are at least this share of their median: a channel that hardly varied proves nothing.
_LEAST_DEVIATION = 0.1
#: A single channel counts as at most so many deviations.
_MOST_DEVIATIONS = 10.0


@dataclass(frozen=True)
class Familiarity:
    """What feature maps are like in pictures that the model knows.

    The features of a picture are mean and logarithm of the standard deviation of each channel. Its distance is the
    root mean square of their deviations from `mean` in units of `deviation`, divided by `usual`: 1 is as far as 95 %
    of the known pictures are at most.

    Attributes:
        mean, deviation: (F,) over the known pictures.
        usual: distance that 95 % of the known pictures have at most, each from the others.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    usual: float

    def unfamiliarity(self, features: Array | None) -> float:
        """The distance of a picture; NaN if its features are not known or of another network.

        Args:
            features: (F,).
        """
        if features is None or features.shape != (len(self.mean),) or not np.isfinite(features).all():
            return math.nan
        return float(_distances(features[None], np.array(self.mean), np.array(self.deviation))[0]) / self.usual

    def problem(self) -> str:
        """What is out of range, empty if nothing is."""
        if len(self.mean) != len(self.deviation):
            return "the familiarity has another number of means than of deviations"
        return "" if min(self.deviation, default=1.0) > 0 and self.usual > 0 else "a deviation is not positive"


def fit_familiarity(features: Array) -> Familiarity:
    """What feature maps are like in known pictures.

    Args:
        features: (cases, F).

    Raises:
        ModelError: fewer than 20 cases.
    """
    count = len(features)
    if count < FEWEST_CASES:
        raise ModelError(
            f"{count} cases are too few to tell what is unfamiliar", remedy=f"Give at least {FEWEST_CASES} cases"
        )
    mean, deviation = _moments(features)
    usual = float(np.quantile(distances_among(features), _USUAL_SHARE))
    return Familiarity(tuple(mean.tolist()), tuple(deviation.tolist()), usual)


def distances_among(features: Array) -> Array:
    """(cases,) distance of each case from all others, not divided by what is usual."""
    rows = np.arange(len(features))
    return np.array([_distances(features[[row]], *_moments(features[rows != row]))[0] for row in rows])


def _moments(features: Array) -> tuple[Array, Array]:
    deviation = features.std(axis=0, ddof=1)
    return features.mean(axis=0), np.maximum(deviation, max(_LEAST_DEVIATION * float(np.median(deviation)), 1e-6))


def _distances(features: Array, mean: Array, deviation: Array) -> Array:
    scaled = np.clip((features - mean) / deviation, -_MOST_DEVIATIONS, _MOST_DEVIATIONS)
    return np.asarray(np.sqrt((scaled**2).mean(axis=1)))
