"""The search for the body, with a network whose answers are written beforehand: which views it takes, where it ends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
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
from FetusMapV2Lib.estimation.body_search import HALF_TURNS, BodySearch, SearchResult
from FetusMapV2Lib.estimation.detection import detection_score_of
from FetusMapV2Lib.estimation.device_volume import DeviceVolume
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.estimation.network_runner import NetworkRunner
from FetusMapV2Lib.estimation.network_views import close_view, surroundings_view, whole_view
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
    """Gives one heatmap after the other, whatever it is shown."""

    def __init__(self, answers: Sequence[Tensor]) -> None:
        super().__init__()
        self.left = list(answers)

    def forward(self, batch: Tensor) -> Tensor:
        return self.left.pop(0)[None]


def search(
    answers: Sequence[Tensor],
    previous: Estimate | None = None,
    threshold: float = 0.0,
    volume: Volume = VOLUME,
    stages: Stages | None = None,
    **info: Any,
) -> SearchResult:
    """The result of a search that uses up all answers."""
    network = Script(answers)
    info = {"views": ("whole", "close"), **info}
    model = Model(network, LIBRARY, TEMPLATE, ModelInfo("script", {"kind": "stub"}, SHAPE, SIGMA, **info))  # type: ignore[arg-type]
    runner = NetworkRunner(network, SHAPE, torch.device("cpu"), "for a test")  # type: ignore[arg-type]
    result = BodySearch(model, runner, threshold).run(DeviceVolume(volume, runner.device), stages or Stages(), previous)
    assert network.left == [], "views that were not taken"
    return result


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


def test_of_six_hypotheses_the_one_with_the_greatest_peak_mass_is_kept() -> None:
    assert masses(search([FLAT, *map(answer, (0.5, 0.6, 0.82, 0.65, 0.55, 0.6))])) == [0.82]


@pytest.mark.parametrize(("peak_mass", "views"), [(0.59, 2), (0.61, 5)])
def test_a_hypothesis_far_below_the_detection_threshold_is_abandoned(peak_mass: float, views: int) -> None:
    """Below three quarters of it."""
    turning = answer(peak_mass, close_points(40.0))
    result = search([FLAT, *[turning] * views, answer(0.9)], threshold=0.8)
    assert masses(result) == [0.9]


def test_one_strong_view_keeps_a_hypothesis() -> None:
    turning = [answer(peak_mass, close_points(40.0)) for peak_mass in (0.59, 0.61, 0.59, 0.59)]
    assert masses(search([FLAT, *turning, answer(0.9)], threshold=0.8)) == [0.59, 0.61, 0.59, 0.59, 0.9]


@pytest.mark.parametrize("anonymous", [True, False])
def test_hypotheses_of_anonymous_sides_do_not_depend_on_which_limb_a_map_holds(anonymous: bool) -> None:
    seen = torch.log(gaussian_target(torch.as_tensor(close_points(), dtype=torch.float32), SHAPE, SIGMA) + 1e-9)
    exchanged = seen[torch.as_tensor(default_schema().mirror_rows.copy())]
    lengths = [
        [frame.length_mm for frame in search([maps, answer(0.9)], anonymous_sides=anonymous).views[0].hypotheses]
        for maps in (seen, exchanged)
    ]
    assert (lengths[0] == lengths[1]) == anonymous


# --- an unclear body the other way round

UNCLEAR = [FLAT, *[answer(0.6)] * 5, answer(0.65)]


@pytest.mark.parametrize(("followed", "kept"), [((0.67, 0.6, 0.6), 0.65), ((0.6, 0.6, 0.69), 0.69), ((0.9,), 0.9)])
def test_an_unclear_body_is_turned_where_another_way_round_is_clearly_better(
    followed: Sequence[float], kept: float
) -> None:
    """Each half turn is seen once, the three clearest are followed, the first that is confident ends it."""
    once = [answer(peak_mass) for peak_mass in (0.5, 0.5, 0.7, 0.5, 0.6, 0.61, 0.5, 0.59, 0.5)]
    result = search([*UNCLEAR, *once, *map(answer, followed)])
    assert masses(result) == [kept] and result.turned == (kept > 0.65)
    given, last = search([*UNCLEAR, *once, *[answer(0.5)] * 3]).views[-1].frame, result.views[-1].frame
    assert given is not None and last is not None
    if kept == 0.9:
        assert last.gives_same_view_as(given.turned(HALF_TURNS[2]))
    assert last.gives_same_view_as(given) == (kept == 0.65)


@pytest.mark.parametrize("before", [None, 0.9])
def test_progress_begins_at_nothing_and_grows(before: float | None) -> None:
    """Near the pose before, in the whole volume, along hypotheses, and the other way round."""
    told: list[float] = []
    stages = Stages(lambda fraction, stage: told.append(fraction))
    near = [] if before is None else [answer(0.5)]
    search([*near, *UNCLEAR, *[answer(0.5)] * 12], before and previous(before), stages=stages)
    searched = told[told.index(0.0, len(near) and 1) :]
    assert told[0] == 0.0 and searched[0] == 0.0 and searched == sorted(searched) and 0.85 < searched[-1] <= 0.9


def test_no_half_turn_is_nearer_than_a_right_angle_to_another() -> None:
    angles = np.array([[(one.inv() * other).magnitude() for other in HALF_TURNS] for one in HALF_TURNS])
    assert np.degrees(angles[~np.eye(len(HALF_TURNS), dtype=bool)]).min() == pytest.approx(90.0)
    np.testing.assert_allclose(np.degrees(HALF_TURNS.magnitude()), 180.0)


def test_what_no_view_shows_even_faintly_is_not_turned() -> None:
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
