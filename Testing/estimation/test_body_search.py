"""The search for the body, with a network whose answers are written beforehand: which views it takes, where it ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from cli.synthetic_balls import layout
from scipy.spatial.transform import Rotation
from torch import Tensor, nn

from FetusMapV2Lib.anatomy.body_frame import BodyFrame, canonical_template
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.progress import Stages
from FetusMapV2Lib.estimation.body_search import MAXIMUM_TURNED, BodySearch, SearchResult, new_starts
from FetusMapV2Lib.estimation.detection import detection_score_of
from FetusMapV2Lib.estimation.device_volume import DeviceVolume
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.estimation.network_runner import NetworkRunner
from FetusMapV2Lib.estimation.network_views import close_view, surroundings_view, tight_view, turned_views, whole_view
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.models.model_file import Model, ModelInfo
from FetusMapV2Lib.network.heatmap import decode, gaussian_target

SHAPE = (40, 32, 32)
SIGMA = 1.5
VOLUME = Volume(np.random.default_rng(0).integers(0, 255, (20, 20, 20), dtype=np.uint8), np.diag([4.0, 4.0, 4.0, 1.0]))
FRAME = BodyFrame(np.array([40.0, 40.0, 40.0]), np.eye(3), 50.0)
LIBRARY = layout()[None] / 2
TEMPLATE = canonical_template(LIBRARY, default_schema())
#: Heatmaps in which the body may lie in any way.
FLAT = torch.zeros(22, *SHAPE)


def body(frame: BodyFrame) -> np.ndarray:
    """The canonical pose in a frame, RAS mm."""
    return frame.centre + frame.length_mm * TEMPLATE @ frame.axes.T


def close_points(turn_deg: float = 0.0) -> np.ndarray:
    """Voxels of a body in a close view that was aimed `turn_deg` beside it."""
    return close_view(FRAME, SHAPE).to_voxel(body(FRAME.turned(Rotation.from_euler("z", turn_deg, degrees=True))))


def answer(mean_peak_mass: float, points: np.ndarray | None = None) -> Tensor:
    """Heatmaps around the points of a close view with a given mean peak mass; the remaining mass is everywhere."""
    where = torch.as_tensor(close_points() if points is None else points, dtype=torch.float32)
    peaks = gaussian_target(where, SHAPE, SIGMA)

    def mixed(share: float) -> Tensor:
        return torch.log(share * peaks + (1 - share) / math.prod(SHAPE))

    low, high = (float(decode(mixed(share), SIGMA).peak_mass.mean()) for share in (0.5, 0.9))
    return mixed(0.5 + 0.4 * (mean_peak_mass - low) / (high - low))


class Script(nn.Module):
    """Gives one heatmap after the other, whatever it is shown, and then the last one for ever if `endless`."""

    def __init__(self, answers: Sequence[Tensor], endless: bool = False) -> None:
        super().__init__()
        self.left = list(answers)
        self.taken = 0
        self._endless = endless

    def forward(self, batch: Tensor) -> Tensor:
        self.taken += 1
        return (self.left[0] if self._endless and len(self.left) == 1 else self.left.pop(0))[None]


def search(
    answers: Sequence[Tensor],
    previous: Estimate | None = None,
    threshold: float = 0.0,
    volume: Volume = VOLUME,
    stages: Stages | None = None,
    **info: Any,
) -> SearchResult:
    """The result of a search that uses up all answers."""
    script = Script(answers)
    result = searched(script, previous, threshold, volume, stages, **info)
    assert script.left == [], "views that were not taken"
    return result


def searched(
    script: Script,
    previous: Estimate | None = None,
    threshold: float = 0.0,
    volume: Volume = VOLUME,
    stages: Stages | None = None,
    second_from: float = math.inf,
    **info: Any,
) -> SearchResult:
    info = {"views": ("whole", "close"), **info}
    model = Model(script, LIBRARY, TEMPLATE, ModelInfo("script", {"kind": "stub"}, SHAPE, SIGMA, **info))  # type: ignore[arg-type]
    runner = NetworkRunner(script, SHAPE, torch.device("cpu"), "for a test")  # type: ignore[arg-type]
    body_search, placed = BodySearch(model, runner, threshold), DeviceVolume(volume, runner.device)
    return body_search.run(placed, stages or Stages(), previous, second_from)


def masses(result: SearchResult) -> list[float]:
    return [round(view.mean_peak_mass, 3) for view in result.views if view.view == "close"]


@pytest.mark.parametrize("answers", [[0.86], [0.84, 0.86], [0.5, 0.84, 0.9]])
def test_hypotheses_are_followed_until_one_is_seen_with_a_confident_peak_mass(answers: list[float]) -> None:
    result = search([FLAT, *map(answer, answers)])
    assert [view.view for view in result.views] == ["whole", "close"]
    assert masses(result) == [answers[-1]]
    assert result.views[-1].frame is not None and result.views[0].hypotheses[len(answers) - 1].gives_same_view_as(
        result.views[-1].frame
    )


TIGHT = ("whole", "close", "tight")


def test_landmarks_are_read_off_a_tight_view_in_the_end_and_presence_off_the_views_before() -> None:
    points = tight_view(FRAME, body(FRAME), SHAPE).to_voxel(body(FRAME))
    result = search([FLAT, answer(0.9), answer(0.6, points)], views=TIGHT)
    assert [view.view for view in result.views] == ["whole", "close"] and masses(result) == [0.9]
    tight, close = result.tight, result.views[-1]
    assert tight is not None and tight.grid is not None and close.grid is not None
    assert tight.view == "tight" and tight.mean_peak_mass == pytest.approx(0.6, abs=0.01)
    assert tight.grid.spacing_mm < 0.85 * close.grid.spacing_mm
    assert np.linalg.norm(tight.positions - close.positions, axis=1).max() < 0.5 * close.grid.spacing_mm


def test_a_tight_view_that_shows_another_body_does_not_count() -> None:
    aside = tight_view(FRAME, body(FRAME), SHAPE).to_voxel(body(FRAME)) + np.array([9.0, 0.0, 0.0])
    assert search([FLAT, answer(0.9), answer(0.9, aside)], views=TIGHT).tight is None


def test_of_six_hypotheses_the_one_with_the_greatest_peak_mass_is_kept() -> None:
    assert masses(search([FLAT, *map(answer, (0.5, 0.6, 0.82, 0.65, 0.55, 0.6))])) == [0.82]


@pytest.mark.parametrize(("peak_mass", "views"), [(0.59, 2), (0.61, 5)])
def test_a_hypothesis_far_below_the_detection_threshold_is_abandoned(peak_mass: float, views: int) -> None:
    """Below three quarters of it."""
    turning = answer(peak_mass, close_points(40.0))
    # the whole volume shows too little for a fetus to be found, so it is looked at again, turned
    script = Script([FLAT, *[turning] * views, answer(0.9), answer(0.5)], endless=True)
    assert masses(searched(script, threshold=0.8)) == [0.9]


def test_one_strong_view_keeps_a_hypothesis() -> None:
    turning = [answer(peak_mass, close_points(40.0)) for peak_mass in (0.59, 0.61, 0.59, 0.59)]
    script = Script([FLAT, *turning, answer(0.9), answer(0.5)], endless=True)
    assert masses(searched(script, threshold=0.8)) == [0.59, 0.61, 0.59, 0.59, 0.9]


@pytest.mark.parametrize("anonymous", [True, False])
def test_hypotheses_of_anonymous_sides_do_not_depend_on_which_limb_a_map_holds(anonymous: bool) -> None:
    seen = torch.log(gaussian_target(torch.as_tensor(close_points(), dtype=torch.float32), SHAPE, SIGMA) + 1e-9)
    exchanged = seen[torch.as_tensor(default_schema().mirror_rows.copy())]
    lengths = [
        [frame.length_mm for frame in search([maps, answer(0.9)], anonymous_sides=anonymous).views[0].hypotheses]
        for maps in (seen, exchanged)
    ]
    assert (lengths[0] == lengths[1]) == anonymous


# --- an unclear body in the turned volume

UNCLEAR = [FLAT, *[answer(0.6)] * 5, answer(0.65)]
#: Each of seven further orientations shows a body somewhere else.
TURNED = [
    answer(0.9, grid.to_voxel(body(FRAME.turned(Rotation.from_euler("x", 50 * number, degrees=True)))))
    for number, grid in enumerate(turned_views(whole_view(VOLUME, SHAPE)))
]


@cache
def looks() -> int:
    """How many hypotheses of the turned volume are looked at once, before some of them are followed."""
    script = Script([*UNCLEAR, *TURNED, answer(0.5)], endless=True)
    searched(script)
    return script.taken - len(UNCLEAR) - len(TURNED) - MAXIMUM_TURNED


def in_turned(once: dict[int, float], followed: Sequence[float], unclear: Sequence[Tensor] = UNCLEAR) -> SearchResult:
    """A search in which these of the hypotheses of the turned volume stand out, and these are what follows."""
    first = [answer(once.get(number, 0.5)) for number in range(looks())]
    return search([*unclear, *TURNED, *first, *map(answer, followed)])


STAND_OUT = {2: 0.7, 4: 0.6, 5: 0.61, 7: 0.59}


@pytest.mark.parametrize(
    ("followed", "kept"), [((0.67, *[0.6] * 3), 0.65), ((*[0.6] * 3, 0.69), 0.69), ((0.9,), 0.9), ((0.6, 0.86), 0.86)]
)
def test_an_unclear_body_is_another_where_the_turned_volume_shows_one_clearly_better(
    followed: Sequence[float], kept: float
) -> None:
    """Each hypothesis is seen once, the four clearest are followed, the first that is confident ends it."""
    result = in_turned(STAND_OUT, followed)
    assert masses(result) == [kept] and result.turned == (kept > 0.65)


def test_of_the_turned_volume_the_clearest_hypothesis_is_followed_first() -> None:
    """Whichever of them it is; each shows the body somewhere else."""
    frames = [in_turned({number: 0.7}, (0.9,)).views[-1].frame for number in (0, looks() - 1)]
    given = in_turned({}, [0.5] * MAXIMUM_TURNED).views[-1].frame
    for one in frames:
        assert (
            one is not None and [one.gives_same_view_as(other) for other in (given, *frames) if other].count(True) == 1
        )


def test_hypotheses_that_were_followed_already_are_not_looked_at_again() -> None:
    known = [FRAME, FRAME.turned(Rotation.from_euler("x", 90, degrees=True))]
    near = [one.turned(Rotation.from_euler("z", 20, degrees=True), 1.1) for one in known]
    other = FRAME.turned(Rotation.from_euler("z", 40, degrees=True))
    last = FRAME.turned(Rotation.identity(), 1.3)
    assert new_starts([[near[0], other, last], [other], [near[1], near[0], last, other]], known) == [other, last]
    assert new_starts([[], []], known) == []


def test_of_the_turned_volume_nothing_hopeless_is_followed() -> None:
    """As everywhere: below three quarters of the detection threshold."""
    unclear = [FLAT, *[answer(0.7)] * 6]
    script = Script([*unclear, *TURNED, *[answer(0.5)] * 1000])
    searched(script, threshold=0.8)
    assert script.taken == len(unclear) + len(TURNED) + looks()


def test_the_same_body_more_clearly_is_not_a_turned_one() -> None:
    """It is not doubtful for having been looked at again."""
    given = in_turned({}, [0.5] * MAXIMUM_TURNED).views[-1]
    start = in_turned({0: 0.7}, (0.9,)).views[-1].frame
    assert given.frame is not None and start is not None
    again = answer(0.9, close_view(start, SHAPE).to_voxel(given.positions))
    first = [answer(0.7), *[answer(0.5)] * (looks() - 1)]
    result = search([*UNCLEAR, *TURNED, *first, again, answer(0.9)])
    assert masses(result)[-1] == 0.9 and not result.turned


@pytest.mark.parametrize(("followed", "sought"), [(0.9, False), (0.5, True)])
def test_no_second_body_is_looked_for_beside_one_that_only_the_turned_volume_shows(
    followed: float, sought: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the first look saw beside it may be the same body the other way round."""
    looked: list[Any] = []
    monkeypatch.setattr(BodySearch, "_second_body", lambda *given: looked.append(given) or [])
    first = [answer(0.7), *[answer(0.5)] * (looks() - 1)]
    script = Script([*UNCLEAR, *TURNED, *first, answer(followed), answer(0.5)], endless=True)
    assert searched(script, second_from=0.0).turned != sought
    assert bool(looked) == sought


def test_a_clear_close_view_is_looked_at_again_where_the_whole_volume_shows_too_little() -> None:
    """The detection score, of both, counts."""
    nothing, clear = FLAT, [answer(0.82)] * 6
    assert masses(search([nothing, *clear])) == [0.82]
    script = Script([nothing, *clear, *TURNED, answer(0.5)], endless=True)
    assert masses(searched(script, threshold=0.5)) == [0.82] and script.taken > 7 + len(TURNED)


@pytest.mark.parametrize("before", [None, 0.9])
def test_progress_begins_at_nothing_and_grows(before: float | None) -> None:
    """Near the pose before, in the whole volume, along hypotheses, and in the turned volume."""
    told: list[float] = []
    names: list[str] = []

    def on_progress(fraction: float, stage: str) -> None:
        told.append(fraction)
        names.append(stage)

    stages = Stages(on_progress)
    near = [] if before is None else [answer(0.5)]
    script = Script([*near, *UNCLEAR, *TURNED, answer(0.5)], endless=True)
    searched(script, before and previous(before), stages=stages)
    counted = told[told.index(0.0, len(near) and 1) :]
    assert told[0] == 0.0 and counted[0] == 0.0 and counted == sorted(counted) and 0.85 < counted[-1] <= 0.9
    assert names.count("turned volume") == len(TURNED)  # so that it may be cancelled in between


def test_what_no_view_shows_even_faintly_is_not_looked_at_again() -> None:
    weak = [answer(0.59, close_points(40.0))] * 2
    assert masses(search([FLAT, *weak * 6], threshold=0.8)) == [0.59, 0.59]


# --- the surroundings of a body in a large volume

LARGE = VOLUME.with_(ijk_to_ras=np.array([[16, 0, 0, -112], [0, 16, 0, -112], [0, 0, 16, -112], [0, 0, 0, 1.0]]))


def in_whole(mean_peak_mass: float) -> Tensor:
    """Heatmaps of the whole of the large volume."""
    return answer(mean_peak_mass, whole_view(LARGE, SHAPE).to_voxel(body(FRAME)))


@pytest.mark.parametrize(("apart", "views"), [(0.1, ["whole", "surroundings", "close"]), (0.2, ["whole", "close"])])
def test_in_a_large_volume_the_same_body_is_looked_for_in_its_surroundings(apart: float, views: list[str]) -> None:
    """A heatmap without a peak shows no body there."""
    seen = [in_whole(0.6), answer(0.9)]
    first = search([*seen, FLAT], volume=LARGE)
    assert [view.view for view in first.views] == ["whole", "close"]
    frame, whole = first.views[-1].frame, first.views[0].grid
    assert frame is not None and whole is not None
    beside = first.views[-1].positions + apart * frame.length_mm * np.eye(3)[0]
    again = search([*seen, answer(0.9, surroundings_view(frame, whole).to_voxel(beside))], volume=LARGE)
    assert [view.view for view in again.views] == views
    assert (detection_score_of(again.views) > 0.88) == (len(views) == 3)
    assert detection_score_of(first.views) < 0.8


def test_a_body_that_is_seen_clearly_in_the_whole_volume_needs_no_surroundings() -> None:
    assert "surroundings" not in [view.view for view in search([in_whole(0.9), answer(0.9)], volume=LARGE).views]


# --- near the pose of the frame before


def previous(mean_peak_mass: float) -> Estimate:
    return replace(Estimate.given(Pose(body(FRAME))), mean_peak_mass=mean_peak_mass)


@pytest.mark.parametrize(("before", "enough"), [(0.7, 0.75), (0.8, 0.75), (0.9, 0.81), (0.99, 0.85), (math.nan, 0.85)])
def test_the_body_must_be_seen_about_as_well_as_before(before: float, enough: float) -> None:
    assert [view.view for view in search([answer(enough + 0.005)], previous(before)).views] == ["close"]
    result = search([answer(enough - 0.005), FLAT, answer(0.9)], previous(before))
    assert [view.view for view in result.views] == ["whole", "close"]


def test_a_body_that_turns_on_is_followed_for_three_views() -> None:
    turning = answer(0.9, close_points(12.0))
    result = search([turning] * 3, previous(0.9))
    assert [view.view for view in result.views] == ["close"] * 3


def test_a_body_far_from_where_it_was_is_another() -> None:
    turning = answer(0.9, close_points(20.0))
    result = search([turning] * 3 + [FLAT, answer(0.9)], previous(0.9))
    assert [view.view for view in result.views] == ["whole", "close"]
