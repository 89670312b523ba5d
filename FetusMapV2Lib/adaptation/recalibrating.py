"""The calibration of an adapted model: the earlier one, moved by what the site's cases say, and no less safe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.adaptation.judging import inside_radius
from FetusMapV2Lib.adaptation.observing import Seen, joined
from FetusMapV2Lib.models.calibration import Calibration
from FetusMapV2Lib.models.world_calibration import calibrate

Array = NDArray[np.float64]
#: A fetus is found from this much above the strongest simulated volume without one.
_MARGIN = 0.005


def recalibrated(
    site: Seen, simulated: Seen, earlier: Calibration, say: Callable[[str], None] | None = None
) -> Calibration:
    """The earlier calibration after the site's cases.

    The threshold falls only where the site has volumes without a fetus (`world_calibration.presence_thresholds`), and
    lies above all simulated volumes without one in any case.

    Args:
        site: what models that did not learn from them saw in the site's cases.
        simulated: what the adapted model saw in simulated ones that it did not learn from.
        earlier: of the model before.
        say: called with sentences on what could not be fitted.
    """
    fitted = calibrate({"site": site.values}, earlier, on_remark=say)
    least = float(simulated.values.empty_presence.max(initial=-np.inf)) + _MARGIN
    if fitted.detection_threshold >= least:
        return fitted
    return replace(fitted, detection_threshold=least)


def cross_calibrated_inside(parts: Sequence[Seen], simulated: Seen, earlier: Calibration) -> Array:
    """(cases with a fetus,) share inside the 90 % radius, each by a calibration on the other parts alone."""
    shares = []
    for number, part in enumerate(parts):
        others = [other for place, other in enumerate(parts) if place != number]
        shares.append(inside_radius(part, recalibrated(joined(others), simulated, earlier)))
    return np.concatenate(shares)
