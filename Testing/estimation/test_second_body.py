"""A second fetus: found in heatmaps that mostly mark the first, and taken only where it is a body of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from training.toy_cases import BODY

from FetusMapV2Lib.anatomy.body_frame import BodyFrame, body_frame, canonical_template
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.estimation.body_search import SearchResult
from FetusMapV2Lib.estimation.detection import MODELS_RULE
from FetusMapV2Lib.estimation.engine import PoseEngine
from FetusMapV2Lib.estimation.estimate import ViewPrediction
from FetusMapV2Lib.estimation.second_body import frame_beside, grade_second, is_second_body
from FetusMapV2Lib.imaging.grid import Grid
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.network.heatmap import gaussian_target

SCHEMA = default_schema()
TEMPLATE = canonical_template(BODY[None], SCHEMA)
LENGTH = float(np.linalg.norm(BODY[0] - BODY[9]))
FIRST = BODY - BODY.mean(axis=0)
TURN = Rotation.from_euler("xyz", [70, 20, -40], degrees=True).as_matrix()
SECOND = FIRST @ TURN.T + [1.3 * LENGTH, 0.2 * LENGTH, 0.0]
GRID = Grid.around(np.array([0.6 * LENGTH, 0.0, 0.0]), np.eye(3), LENGTH / 20, (48, 48, 72))


def frame_of(points: NDArray[np.float64]) -> BodyFrame:
    frame = body_frame(points, None, TEMPLATE, SCHEMA)
    assert frame is not None
    return frame


def maps_of(points: NDArray[np.float64]) -> torch.Tensor:
    voxels = torch.from_numpy(GRID.to_voxel(points)).float()
    return gaussian_target(voxels, GRID.shape, 2.0)


def view_of(points: NDArray[np.float64], mass: float = 0.9) -> ViewPrediction:
    return ViewPrediction("close", points, np.ones(22), np.full(22, mass), frame_of(points))


@pytest.mark.parametrize("share", [0.5, 0.02])
def test_a_second_body_is_found_however_faint_it_is(share: float) -> None:
    maps = (1 - share) * maps_of(FIRST) + share * maps_of(SECOND)
    found = frame_beside(maps, GRID, view_of(FIRST), TEMPLATE)
    assert found is not None
    frame, clearness = found
    true = frame_of(SECOND)
    assert np.linalg.norm(frame.centre - true.centre) < 0.1 * LENGTH
    assert frame.angle_to(true) < 15 and abs(frame.length_mm / LENGTH - 1) < 0.15
    assert clearness > 4


def test_what_a_single_body_leaves_beside_itself_is_less_clear() -> None:
    noise = torch.rand((22, *GRID.shape), generator=torch.Generator().manual_seed(3))
    flat = noise / noise.sum(dim=(1, 2, 3), keepdim=True)
    found = frame_beside(0.95 * maps_of(FIRST) + 0.05 * flat, GRID, view_of(FIRST), TEMPLATE)
    assert found is None or found[1] < 2


def test_a_body_beside_the_first_is_a_second_one() -> None:
    assert is_second_body(view_of(SECOND), view_of(FIRST))
    assert grade_second(view_of(SECOND)) == ("found", "")
    grade, reason = grade_second(view_of(SECOND, 0.8))
    assert grade == "doubtful" and "0.80" in reason and "second fetus" in reason


@pytest.mark.parametrize(
    ("points", "mass"),
    [
        (FIRST, 0.95),  # the same one
        (FIRST @ TURN.T, 0.95),  # the same place, turned
        (FIRST + np.array([0.3 * LENGTH, 0, 0]), 0.95),  # too near
        (SECOND, 0.6),  # too faint
        (FIRST * 0.5 + [1.3 * LENGTH, 0, 0], 0.95),  # of another age
        (FIRST + np.array([0.0, 0.0, 0.55 * LENGTH]), 0.95),  # apart, but one body lies in the other
    ],
)
def test_anything_else_is_not(points: NDArray[np.float64], mass: float) -> None:
    assert not is_second_body(view_of(points, mass), view_of(FIRST))


def test_a_view_without_a_body_is_not() -> None:
    assert not is_second_body(replace(view_of(SECOND), frame=None), view_of(FIRST))


def test_the_score_of_a_second_body_is_that_of_its_last_view() -> None:
    second = tuple(view_of(SECOND, mass) for mass in (0.5, 0.6, 0.95))
    search = SearchResult((view_of(FIRST), view_of(FIRST)), {}, (), second)
    engine = PoseEngine.load(device="cpu")
    estimate = engine._conclusion(Volume(np.zeros((8, 8, 8), np.uint8), np.eye(4)), search, MODELS_RULE, [])
    assert estimate.found and len(estimate.others) == 1
    assert estimate.others[0].detection_score == pytest.approx(0.95)
    np.testing.assert_allclose(
        estimate.others[0].pose.positions, SECOND + engine.calibration.shift_mm(second[-1].frame)
    )
    assert not [name for name in ("views", "seen", "others", "two_regions") if f"{name}=" in repr(estimate)]
