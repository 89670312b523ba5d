"""The calibration of an adapted model: the earlier one, moved by what the site's cases say, and no less safe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.adaptation.judging import inside_radius
from FetusMapV2Lib.adaptation.observing import LOST_MM, Seen, joined
from FetusMapV2Lib.anatomy.landmark_shift import FEWEST_CASES, LandmarkShift, bodies_seen
from FetusMapV2Lib.models import world_calibration
from FetusMapV2Lib.models.calibration import Calibration
from FetusMapV2Lib.models.world_calibration import Observations, calibrate

Array = NDArray[np.float64]
#: A fetus is found from this much above the strongest simulated volume without one.
_MARGIN = 0.005
#: By how much the score from which a fetus is doubtful falls at most: fine-tuned networks give all volumes lower ones,
#: those without a fetus by 0.04 on average.
_MOST_LOWERED = 0.05


def recalibrated(
    site: Seen, simulated: Seen, earlier: Calibration, say: Callable[[str], None] | None = None
) -> Calibration:
    """The earlier calibration after the site's cases.

    Landmarks are moved as the site's cases say if there are enough to try that on one by the others. The score from
    which a fetus is found falls only where the site has volumes without a fetus
    (`world_calibration.presence_thresholds`), and lies above all simulated volumes without one in any case; that from
    which it is doubtful falls by a little where bodies that are not lost would not be shown, but not below these.

    Args:
        site: what models that did not learn from them saw in the site's cases.
        simulated: what the adapted model saw in simulated ones that it did not learn from.
        earlier: of the model before.
        say: called with sentences on what could not be fitted.
    """
    fitted = calibrate({"site": site.values}, earlier, shift=_tells_shift(site), on_remark=say)
    least = float(simulated.values.empty_presence.max(initial=-np.inf)) + _MARGIN
    raised = replace(fitted, detection_threshold=max(fitted.detection_threshold, least))
    return replace(raised, doubtful_threshold=_doubtful_threshold(site, simulated, raised))


def _doubtful_threshold(site: Seen, simulated: Seen, fitted: Calibration) -> float:
    """Low enough to show the site's bodies that are not lost, as far as no volume without a fetus speaks against it."""
    earlier = fitted.least_detection_score
    empty = np.concatenate((site.values.empty_presence, simulated.values.empty_presence))
    right = site.values.detection_score[site.case_errors_mm <= LOST_MM]
    if not len(empty) or not len(right):
        return earlier
    return min(earlier, max(float(right.min()), float(empty.max()) + _MARGIN, earlier - _MOST_LOWERED))


def site_shift(cases: Observations, earlier: Calibration) -> LandmarkShift | None:
    """By how much landmarks lie elsewhere than the network sees them, as a site's cases say, or as before if few do."""
    return world_calibration.fitted_shift([cases], earlier.shift)


def cross_shifted(site: Seen, earlier: Calibration) -> Seen:
    """The same with the landmarks of each case moved as the other cases say; as it is if they are too few."""
    if not _tells_shift(site):
        return site
    values, rows = site.values, range(len(site.names))
    moved = [values.chosen([], range(len(site.empty_names)))]
    for row in rows:
        others = values.chosen([other for other in rows if other != row], [])
        moved.append(values.chosen([row], []).with_shift(site_shift(others, earlier)))
    return replace(site, values=world_calibration.joined(moved))


def _tells_shift(site: Seen) -> bool:
    """Whether a shift can be tried on each of its cases by the others."""
    misses = site.values.misses
    return misses is not None and len(bodies_seen(misses)) > FEWEST_CASES


def cross_calibrated_inside(parts: Sequence[Seen], simulated: Seen, earlier: Calibration) -> Array:
    """(cases with a fetus,) share inside the 90 % radius, each by a calibration on the other parts alone."""
    shares = []
    for number, part in enumerate(parts):
        others = [other for place, other in enumerate(parts) if place != number]
        shares.append(inside_radius(part, recalibrated(joined(others), simulated, earlier)))
    return np.concatenate(shares)
