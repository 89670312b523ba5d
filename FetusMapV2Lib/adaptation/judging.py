"""Before and after an adaptation: measures with 95 % intervals, and whether the adapted model is worse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.adaptation.observing import LOST_MM, Seen
from FetusMapV2Lib.evaluation.statistics import Interval, mean_interval, row_means, share_interval
from FetusMapV2Lib.models.calibration import Calibration
from FetusMapV2Lib.models.world_calibration import unfamiliarities

Array = NDArray[np.float64]
SITE, SIMULATED = "the site's cases", "simulated cases"
#: By how much the model may become worse on simulated cases, mm.
MOST_FORGOTTEN_MM = 0.6
#: How many of the site's fetuses may become doubtful instead of found, if all landmarks together clearly come closer.
MOST_DOUBTFUL_INSTEAD = 1


@dataclass(frozen=True)
class Measure:
    """One measure before and after.

    Attributes:
        key: e.g. "ed_mm".
        name: in words.
        cases: of which set: `SITE` or `SIMULATED`.
        count: number of cases.
        before, after: with intervals.
        difference: after - before over the same cases; None for shares of cases.
    """

    key: str
    name: str
    cases: str
    count: int
    before: Interval
    after: Interval
    difference: Interval | None = None


@dataclass(frozen=True, eq=False)
class Side:
    """A model's answers for the site's cases and for simulated ones, before or after.

    Attributes:
        site, simulated: what the model saw.
        calibration: that decides what is found.
        inside: (cases of the site with a fetus,) share of the landmarks inside their 90 % radius.
    """

    site: Seen
    simulated: Seen
    calibration: Calibration
    inside: Array


@dataclass(frozen=True)
class Judgement:
    """The measures, and what speaks against the adapted model; nothing if it is kept."""

    measures: tuple[Measure, ...]
    objections: tuple[str, ...]


def inside_radius(seen: Seen, calibration: Calibration) -> Array:
    """(cases with a fetus,) share of the landmarks inside their 90 % radius."""
    values = seen.values.with_shift(calibration.shift)
    strange = unfamiliarities(values, calibration.familiarity)
    radii = calibration.radius90_mm(values.spread_mm, values.peak_mass, strange)
    known = np.isfinite(values.errors_mm)
    return row_means(np.where(known, np.where(known, values.errors_mm, 0.0) <= radii, np.nan))


def judge(before: Side, after: Side) -> Judgement:
    """Compare the sides; their cases are in the same order."""
    measures = [
        *_distances(SITE, before.site, after.site),
        _known(SITE, before.site, after.site),
        _mean("in_radius", "landmarks inside the 90 % radius", SITE, before.inside, after.inside),
        *_presence(SITE, before.site, after.site, before.calibration, after.calibration),
        *_distances(SIMULATED, before.simulated, after.simulated),
        _known(SIMULATED, before.simulated, after.simulated),
        *_presence(SIMULATED, before.simulated, after.simulated, before.calibration, after.calibration),
    ]
    for name, old, new in ((SITE, before.site, after.site), (SIMULATED, before.simulated, after.simulated)):
        if len(old.empty_names):
            measures.append(_false_alarms(name, old, new, before.calibration, after.calibration))
    return Judgement(tuple(measures), tuple(_objections(measures)))


def _objections(measures: Sequence[Measure]) -> list[str]:
    by_key = {(one.key, one.cases): one for one in measures}
    found = []
    for one in measures:
        change = 0.0 if one.difference is None else one.difference.value
        if (one.key, one.cases) == ("known_mm", SITE) and not change < 0:
            found.append(f"the mean distance on {SITE} did not fall ({change:+.2f} mm)")
        if (one.key, one.cases) == ("known_mm", SIMULATED) and change > MOST_FORGOTTEN_MM:
            found.append(f"it has forgotten {SIMULATED} ({change:+.2f} mm; at most {MOST_FORGOTTEN_MM:g} mm)")
        must_not_fall = (one.key, one.cases) in (("found", SITE), ("shown", SITE), ("shown", SIMULATED))
        if must_not_fall and one.after.value < one.before.value and not _is_made_up_for(one, by_key):
            found.append(f"fewer fetuses are found in {one.cases} ({one.name})")
        if one.key == "false_alarms" and one.after.value > one.before.value:
            found.append(f"more fetuses are found where there is none ({one.cases})")
    return found


def _is_made_up_for(fallen: Measure, by_key: Mapping[tuple[str, str], Measure]) -> bool:
    """Whether one case of the site that is doubtful instead of found is worth it: all are clearly closer.

    A score just below the threshold instead of just above it asks a person to look; a distance is what he then sees.
    """
    if (fallen.key, fallen.cases) != ("found", SITE):
        return False
    lost = round((fallen.before.value - fallen.after.value) * fallen.count)
    difference = by_key["known_mm", SITE].difference
    return lost <= MOST_DOUBTFUL_INSTEAD and difference is not None and difference.high < 0


def _distances(cases: str, before: Seen, after: Seen) -> list[Measure]:
    old, new = before.case_errors_mm, after.case_errors_mm
    medians = [row_means(np.nanmedian(seen.values.errors_mm, axis=1)[:, None]) for seen in (before, after)]
    return [
        _mean("ed_mm", "mean distance (mm)", cases, old, new),
        _mean("median_mm", "median distance of a case (mm)", cases, *medians),
    ]


def _known(cases: str, before: Seen, after: Seen) -> Measure:
    name = f"mean distance (mm), a tenth of what is beyond {LOST_MM:g}"
    return _mean("known_mm", name, cases, before.known_errors_mm, after.known_errors_mm)


def _mean(key: str, name: str, cases: str, old: Array, new: Array) -> Measure:
    return Measure(key, name, cases, len(old), mean_interval(old), mean_interval(new), mean_interval(new - old))


def _presence(cases: str, before: Seen, after: Seen, old: Calibration, new: Calibration) -> list[Measure]:
    measures = []
    for key, name, attribute in (
        ("found", "fetus found", "detection_threshold"),
        ("shown", "found or doubtful", "least_detection_score"),
    ):
        shares = [
            _share(seen.values.detection_score, getattr(calibration, attribute))
            for seen, calibration in ((before, old), (after, new))
        ]
        measures.append(Measure(key, name, cases, len(before.names), *shares))
    return measures


def _false_alarms(cases: str, before: Seen, after: Seen, old: Calibration, new: Calibration) -> Measure:
    shares = [
        _share(seen.values.empty_presence, calibration.detection_threshold)
        for seen, calibration in ((before, old), (after, new))
    ]
    return Measure("false_alarms", "found where there is none", cases, len(before.empty_names), *shares)


def _share(scores: Array, threshold: float) -> Interval:
    return share_interval(int((scores >= threshold).sum()), len(scores))
