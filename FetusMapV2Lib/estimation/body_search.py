"""The search for the body in a volume: which views the network is shown, until one shows the body well."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TypeVar

import numpy as np

from FetusMapV2Lib.anatomy.body_frame import BodyFrame, body_frame
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.progress import Stages
from FetusMapV2Lib.estimation.detection import detection_score_of, torso_mass
from FetusMapV2Lib.estimation.device_volume import DeviceVolume
from FetusMapV2Lib.estimation.estimate import Estimate, ViewPrediction
from FetusMapV2Lib.estimation.limb_decoding import limb_pairs
from FetusMapV2Lib.estimation.network_runner import NetworkRunner
from FetusMapV2Lib.estimation.network_views import surroundings_view, turned_views
from FetusMapV2Lib.estimation.second_body import LEAST_CLEARNESS, is_second_body
from FetusMapV2Lib.estimation.view_reader import ViewReader
from FetusMapV2Lib.imaging.grid import Grid
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.models.model_file import Model

#: Greatest number of hypotheses of the body frame that are followed.
MAXIMUM_HYPOTHESES = 6
#: Greatest number of close views per hypothesis; fewer once the body frame has settled.
MAXIMUM_CLOSE_VIEWS = 5
#: A mean peak mass from which a view is trusted: the search ends.
CONFIDENT_PEAK_MASS = 0.85
#: With a smaller mean peak mass, or a detection score too low for a fetus to be found, the whole volume is looked at
#: turned; what is found then takes the place of the body if its mean peak mass is greater by so much.
UNCLEAR_PEAK_MASS, _CLEARER = 0.8, 0.03
#: Greatest number of hypotheses of each turned view that are looked at, and of all of them that are followed: those
#: whose first close views are clearest.
TURNED_HYPOTHESES, MAXIMUM_TURNED = 4, 4
#: Hypotheses that differ by less than this turn (degrees), shift (lengths) and change of size lead to the same body.
_SAME_START = (25.0, 0.2, 0.15)
#: Greatest number of close views near the pose of the frame before.
MAXIMUM_VIEWS_NEAR_PREVIOUS = 3
#: The mean peak mass there must be this share of the previous one, and no less than the second number.
_SHARE_OF_PREVIOUS, _LEAST_PEAK_MASS = 0.9, 0.75
#: A hypothesis is abandoned after two views with a mean peak mass below this share of the detection threshold: of 76
#: simulated volumes with a fetus no view was so weak, of 12 without one most were.
_ABANDON_SHARE = 0.75
#: A volume is large if the surroundings of the body, on the same number of voxels, have voxels at most this much of its
#: own. Two views show the same body if their heads and trunks are at most this far apart (median, crown-rump lengths):
#: 0.06 in simulated volumes with a fetus, 0.23 and more in those without.
_LARGE_VOLUME, _SAME_BODY = 0.9, 0.15
#: Below this probability mass around head and trunk the whole volume does not show a body even faintly.
_FAINT_MASS = 0.2


#: What a view is aimed at.
_Aim = TypeVar("_Aim", Grid, BodyFrame)


@dataclass(frozen=True, eq=False)
class SearchResult:
    """What a search has found.

    Attributes:
        views: what the network saw in each view, the last one the best; whether there is a body is told by these.
        timings: seconds by stage.
        warnings: sentences for the user.
        second: what the network saw of a second body, the last view the best; empty without one.
        turned: whether the body was seen clearly in the turned volume only.
        tight: a tight view of the same body, which tells its landmarks better; None without one.
        second_tight: likewise of the second body.
        one_grey: whether there was nothing to see (`Volume.has_one_grey`): the whole volume is the only view then.
    """

    views: tuple[ViewPrediction, ...]
    timings: dict[str, float]
    warnings: tuple[str, ...]
    second: tuple[ViewPrediction, ...] = ()
    turned: bool = False
    tight: ViewPrediction | None = None
    second_tight: ViewPrediction | None = None
    one_grey: bool = False


class BodySearch:
    """Searches volumes for the body, from the whole volume to close views, or by patches if the model is of patches.

    Args:
        model: whose network is shown the views.
        runner: of that network.
        detection_threshold: score from which there is a fetus (`Calibration.detection_threshold`).
    """

    def __init__(self, model: Model, runner: NetworkRunner, detection_threshold: float) -> None:
        self._model = model
        self._runner = runner
        self._schema = default_schema()
        self._limbs = limb_pairs(model.poses, model.template, self._schema) if model.decodes_limbs else ()
        self._detection_threshold = detection_threshold
        self._hopeless_peak_mass = _ABANDON_SHARE * detection_threshold

    def run(
        self,
        volume: DeviceVolume,
        stages: Stages,
        previous: Estimate | None = None,
        second_from: float = math.inf,
    ) -> SearchResult:
        """Search one volume.

        Args:
            volume: of any size and orientation, where the network runs.
            stages: notified of each view.
            previous: estimate of the frame before; the body is searched near its pose first.
            second_from: detection score of the body from which a second one is looked for, if it is not `turned`.

        Raises:
            Cancelled: see `Stages`.
        """
        reader = self._reader(volume)
        if volume.volume.has_one_grey:  # every view is alike: a search would follow all of them to their end
            return SearchResult((reader.whole(),), reader.timings, tuple(reader.warnings), one_grey=True)
        turned = False
        if self._model.patch_spacing_mm is not None:
            views = [reader.patches(self._model.patch_spacing_mm, stages)]
        elif not (views := self._near_previous(reader, stages, previous)):
            views, turned = self._in_whole_volume(reader, stages)
        # where it is not sure how the first one lies, what lies beside it is not either
        beside = detection_score_of(views) >= second_from and not turned
        second = self._second_body(reader, views, stages) if beside else []
        tight, second_tight = (self._tight(reader, shown, stages) for shown in (views, second))
        return SearchResult(
            tuple(views), reader.timings, tuple(reader.warnings), tuple(second), turned, tight, second_tight
        )

    def _tight(self, reader: ViewReader, views: Sequence[ViewPrediction], stages: Stages) -> ViewPrediction | None:
        """A tight view of the body of the last view; None if the model knows none, or it shows another body."""
        last = views[-1] if views else None
        if not self._model.has_tight_view or last is None or last.view != "close" or last.frame is None:
            return None
        stages.reach(0.92, "tight view")
        tight = reader.tight(last)
        return tight if self._show_same_body(tight, last) else None

    def _second_body(self, reader: ViewReader, views: list[ViewPrediction], stages: Stages) -> list[ViewPrediction]:
        """Close views of a second body; empty if the whole volume shows none, or they show the first one again."""
        first = views[-1]
        beside = reader.frame_beside(first)
        if beside is None or beside[1] < LEAST_CLEARNESS:
            return []
        stages.reach(0.9, "looking for a second fetus")
        (close,) = _followed(reader, [beside[0]], MAXIMUM_CLOSE_VIEWS, hopeless_peak_mass=self._hopeless_peak_mass)
        return close if is_second_body(close[-1], first) else []

    def warm_up(self) -> tuple[str, ...]:
        """Look at an empty volume once in each way; what was done because the memory of the GPU was too small."""
        empty = Volume(np.zeros((8, 8, 8), dtype=np.uint8), np.eye(4))
        reader = self._reader(DeviceVolume(empty, self._runner.device))
        if self._model.has_close_view:
            whole = reader.whole_with_hypotheses(MAXIMUM_HYPOTHESES)
            reader.close_views(whole.hypotheses[:1])
        else:
            reader.whole()
        return tuple(reader.warnings)

    def _reader(self, volume: DeviceVolume) -> ViewReader:
        return ViewReader(self._model, self._runner, self._limbs, volume)

    def _near_previous(self, reader: ViewReader, stages: Stages, previous: Estimate | None) -> list[ViewPrediction]:
        """Close views from the previous pose on; empty if the body is not seen there about as well as before.

        Not from a doubtful pose: the close views alone would soon be sure of it.
        """
        if previous is None or not previous.found or not self._model.has_close_view:
            return []
        frame = body_frame(previous.pose.positions, None, self._model.template, self._schema)
        if frame is None:
            return []
        stages.reach(0.0, "searching near the previous pose")
        (views,) = _followed(reader, [frame], MAXIMUM_VIEWS_NEAR_PREVIOUS)
        last = views[-1]
        seen = last.mean_peak_mass >= _enough_after(previous.mean_peak_mass) and frame.is_near(last.frame)
        return views if seen else []

    def _in_whole_volume(self, reader: ViewReader, stages: Stages) -> tuple[list[ViewPrediction], bool]:
        """The whole volume, then close views along the best of its hypotheses; whether they are turned."""
        stages.reach(0.0, "searching the whole volume")
        if not self._model.has_close_view:
            return [reader.whole()], False
        whole = reader.whole_with_hypotheses(MAXIMUM_HYPOTHESES)
        close = self._close_views(reader, whole.hypotheses, stages)
        clearer = self._in_turned_volume(reader, whole, close, stages)
        turned = bool(clearer) and not self._show_same_body(clearer[-1], close[-1])
        close = clearer or close
        return [whole, *self._surroundings(reader, [whole, *close]), *close], turned

    def _surroundings(self, reader: ViewReader, views: list[ViewPrediction]) -> list[ViewPrediction]:
        """The surroundings of the body where the whole volume is too large to show it clearly; else nothing.

        They count only if the network sees the same body in them: without a fetus each view shows another one.
        """
        whole, last = views[0], views[-1]
        clear = detection_score_of(views) >= CONFIDENT_PEAK_MASS
        if whole.grid is None or last.frame is None or clear or torso_mass(whole) < _FAINT_MASS:
            return []
        grid = surroundings_view(last.frame, whole.grid)
        if grid.spacing_mm > _LARGE_VOLUME * whole.grid.spacing_mm:
            return []
        view = reader.surroundings(grid)
        return [view] if self._show_same_body(view, last) else []

    def _show_same_body(self, view: ViewPrediction, last: ViewPrediction) -> bool:
        """Whether a view shows head and trunk where the last one, which has a frame, does."""
        torso = list(self._schema.rows("ht"))
        apart = np.linalg.norm(view.positions[torso] - last.positions[torso], axis=1)
        return last.frame is not None and float(np.median(apart)) <= _SAME_BODY * last.frame.length_mm

    def _in_turned_volume(
        self, reader: ViewReader, whole: ViewPrediction, close: list[ViewPrediction], stages: Stages
    ) -> list[ViewPrediction]:
        """Close views of a body that the whole volume, turned, shows more clearly than an unclear one; else nothing.

        A network may take head for rump in one orientation of the volume and not in another; no hypothesis of the
        first look is near the truth then.
        """
        last = close[-1] if close else None
        if last is None or last.frame is None or whole.grid is None or not self._is_unclear(whole, last):
            return []

        def look(grids: Sequence[Grid]) -> list[ViewPrediction]:
            return reader.turned_with_hypotheses(grids, TURNED_HYPOTHESES)

        turned = self._seen(turned_views(whole.grid), look, stages, "turned volume", (0.75, 0.03))
        starts = new_starts([view.hypotheses for view in turned], whole.hypotheses)
        first = self._seen(starts, reader.close_views, stages, "close view", (0.78, 0.04))
        clearest = sorted(first, key=lambda view: view.mean_peak_mass, reverse=True)[:MAXIMUM_TURNED]
        hopeful = (view for view in clearest if view.mean_peak_mass >= self._hopeless_peak_mass)
        frames = tuple(view.frame for view in hopeful if view.frame is not None)
        views = self._close_views(reader, frames, stages, (0.82, 0.08))
        clearer = bool(views) and views[-1].mean_peak_mass >= last.mean_peak_mass + _CLEARER
        return views if clearer else []

    def _seen(
        self,
        views: Sequence[_Aim],
        look: Callable[[Sequence[_Aim]], list[ViewPrediction]],
        stages: Stages,
        stage: str,
        progress: tuple[float, float],
    ) -> list[ViewPrediction]:
        """What is seen in some views: on a GPU all at once, on a CPU one after the other, with progress in between.

        The progress begins with the first number and grows by the second.
        """
        together = 1 if self._runner.device.type == "cpu" else len(views)
        seen: list[ViewPrediction] = []
        while len(seen) < len(views):
            stages.reach(progress[0] + progress[1] * len(seen) / len(views), stage)
            seen += look(views[len(seen) : len(seen) + together])
        return seen

    def _is_unclear(self, whole: ViewPrediction, last: ViewPrediction) -> bool:
        """Whether there may be a body, but not clearly so."""
        mass = last.mean_peak_mass
        faint = mass < UNCLEAR_PEAK_MASS or detection_score_of([whole, last]) < self._detection_threshold
        return faint and mass >= self._hopeless_peak_mass

    def _close_views(
        self,
        reader: ViewReader,
        hypotheses: tuple[BodyFrame, ...],
        stages: Stages,
        progress: tuple[float, float] = (0.3, 0.45),
    ) -> list[ViewPrediction]:
        """Close views along the hypothesis with the greatest peak mass; the first that is confident ends the search.

        A GPU follows all but the first hypothesis side by side; of what it has seen, the same is kept. The progress
        begins with the first number and grows by the second.
        """
        best: list[ViewPrediction] = []
        count = len(hypotheses)
        done = 0
        while done < count and not _is_confident(best):
            side_by_side = count - done if done and self._runner.device.type != "cpu" else 1

            def report(views: int, done: int = done, side_by_side: int = side_by_side) -> None:
                share = (done * MAXIMUM_CLOSE_VIEWS + views * side_by_side) / (count * MAXIMUM_CLOSE_VIEWS)
                stages.reach(progress[0] + progress[1] * share, "close view")

            frames = hypotheses[done : done + side_by_side]
            for views in _followed(reader, frames, MAXIMUM_CLOSE_VIEWS, report, self._hopeless_peak_mass):
                if not _is_confident(best) and (not best or views[-1].mean_peak_mass > best[-1].mean_peak_mass):
                    best = views
            done += side_by_side
        return best


def new_starts(hypotheses: Sequence[Sequence[BodyFrame]], followed: Sequence[BodyFrame]) -> list[BodyFrame]:
    """Of several looks the hypotheses that differ from one another and from those followed, the likeliest first."""
    new: list[BodyFrame] = []
    by_rank = (one for rank in zip_longest(*hypotheses) for one in rank if one is not None)
    for frame in by_rank:
        if not any(frame.is_near(other, *_SAME_START) for other in (*followed, *new)):
            new.append(frame)
    return new


def _is_confident(views: Sequence[ViewPrediction]) -> bool:
    return bool(views) and views[-1].mean_peak_mass >= CONFIDENT_PEAK_MASS


def _followed(
    reader: ViewReader,
    frames: Sequence[BodyFrame],
    most: int,
    report: Callable[[int], None] = lambda views: None,
    hopeless_peak_mass: float = 0.0,
) -> list[list[ViewPrediction]]:
    """Close views from each of some body frames on, each along the one that the view before has shown.

    They are followed side by side, each until its frame has settled, or until two views and all are hopeless.

    Args:
        reader: of the volume.
        frames: where to begin.
        most: views along each.
        report: called with the number of views along each, from 0.
        hopeless_peak_mass: a view with a smaller mean peak mass is hopeless.
    """
    followed: list[list[ViewPrediction]] = [[] for _ in frames]
    aims = dict(enumerate(frames))
    for number in range(most):
        report(number)
        for (row, frame), view in zip(list(aims.items()), reader.close_views(list(aims.values())), strict=True):
            views = followed[row]
            views.append(view)
            hopeless = len(views) > 1 and all(one.mean_peak_mass < hopeless_peak_mass for one in views)
            if hopeless or view.frame is None or frame.gives_same_view_as(view.frame):
                del aims[row]
            else:
                aims[row] = view.frame
        if not aims:
            break
    report(number + 1)
    return followed


def _enough_after(previous_peak_mass: float) -> float:
    """Mean peak mass that shows the body near its previous pose, as it had `previous_peak_mass` (NaN = unknown)."""
    if not math.isfinite(previous_peak_mass):
        return CONFIDENT_PEAK_MASS
    return max(_LEAST_PEAK_MASS, min(CONFIDENT_PEAK_MASS, _SHARE_OF_PREVIOUS * previous_peak_mass))
