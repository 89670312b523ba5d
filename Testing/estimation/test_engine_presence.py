"""The engine says whether there is a fetus, found or doubtful, and whether the picture is unlike the known ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cli.synthetic_balls import ball_engine, ball_volume, model_of
from estimation.known_networks import CPU, SMALL, FixedPoints, body_on_the_grid, fixed_engine, untrained_model_file
from imaging.samples import sample
from torch import Tensor, nn

from FetusMapV2Lib.estimation.detection import ONE_GREY, PresenceRule
from FetusMapV2Lib.estimation.engine import PoseEngine
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.models.calibration import SHARE_IN_DOUBT, uncalibrated
from FetusMapV2Lib.models.familiarity import Familiarity
from FetusMapV2Lib.models.model_file import load_model
from FetusMapV2Lib.network.unet import UNet3d


@pytest.fixture(scope="module")
def balls() -> tuple[Volume, np.ndarray]:
    return ball_volume()


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    return untrained_model_file(tmp_path)


# --- presence


def test_too_little_confidence_is_no_fetus(balls) -> None:
    strict = replace(uncalibrated(), detection_threshold=1.2)
    estimate = ball_engine(calibration=strict).estimate(balls[0])
    assert not estimate.found
    assert "No fetus found" in estimate.reason and "1.12" in estimate.reason
    assert np.isnan(estimate.pose.positions).all()
    assert not estimate.pose.present.any()
    assert estimate.detection_score > 0


def doubting_engine() -> PoseEngine:
    """Doubts whatever it sees in the volume of balls."""
    return ball_engine(calibration=replace(uncalibrated(), detection_threshold=1.01, doubtful_threshold=0.01))


def test_a_doubtful_pose_is_shown_with_every_landmark_doubtful(balls) -> None:
    estimate = doubting_engine().estimate(balls[0])
    assert (estimate.status, estimate.found, estimate.has_pose) == ("doubtful", False, True)
    assert "doubtful" in estimate.reason and "1.01" in estimate.reason
    assert f"{estimate.detection_score:.2f}" in estimate.reason
    assert estimate.pose.doubt == estimate.reason
    assert estimate.pose.doubtful.all()


def test_a_doubtful_pose_counts_as_found_where_that_is_accepted(balls) -> None:
    estimate = doubting_engine().estimate(balls[0], presence=PresenceRule(accept_doubtful=True))
    assert (estimate.status, estimate.reason, estimate.pose.doubt) == ("found", "", "")
    assert any("1.01" in warning and "accepted" in warning for warning in estimate.warnings)


def test_landmarks_of_a_doubtful_body_are_less_sure_than_their_heatmaps_say(balls) -> None:
    """Whether it is accepted, or shown on request; a landmark that stands out may be of something else."""
    surest = ball_engine().estimate(balls[0]).pose.confidence
    doubting, blind = doubting_engine(), ball_engine(calibration=replace(uncalibrated(), detection_threshold=1.2))
    accepted = PresenceRule(accept_doubtful=True)
    for estimate in (
        doubting.estimate(balls[0]),
        doubting.estimate(balls[0], presence=accepted),
        blind.estimate(balls[0]).showing_what_was_seen(),
    ):
        np.testing.assert_allclose(estimate.pose.confidence, SHARE_IN_DOUBT * surest)
    assert ball_engine().estimate(balls[0]).found and SHARE_IN_DOUBT < 0.9


def test_the_threshold_may_be_given(balls) -> None:
    assert doubting_engine().estimate(balls[0], presence=PresenceRule(0.0)).found
    assert ball_engine().estimate(balls[0], presence=PresenceRule(1.0)).status == "doubtful"


def test_what_was_seen_is_shown_on_request(balls) -> None:
    engine = ball_engine(calibration=replace(uncalibrated(), detection_threshold=1.2))
    silent = engine.estimate(balls[0])
    shown = engine.estimate(balls[0], presence=PresenceRule(accept_doubtful=True, show_seen=True))
    assert (silent.status, shown.status) == ("none", "doubtful")
    assert shown.reason == f"Shown on request. {silent.reason}"
    assert shown.pose.doubtful.all()
    later = silent.showing_what_was_seen()
    assert np.array_equal(later.pose.positions, shown.pose.positions) and later.reason == shown.reason
    assert shown.showing_what_was_seen() is shown


@pytest.mark.parametrize("spacing", [0.2, 8.0])
def test_a_body_of_impossible_size_is_no_fetus(spacing) -> None:
    engine, _ = fixed_engine()
    estimate = engine.estimate(sample(spacing=(spacing,) * 3))
    assert not estimate.found
    assert "10-15 weeks" in estimate.reason


@pytest.mark.parametrize("grey", [0, 90])
def test_a_volume_of_one_grey_shows_no_fetus_however_sure_the_network_is(grey: int) -> None:
    engine, _ = fixed_engine()
    volume = sample()
    volume.array[:] = grey
    for presence in (PresenceRule(), PresenceRule(0.0, accept_doubtful=True)):
        estimate = engine.estimate(volume, presence=presence)
        assert estimate.status == "none" and estimate.reason == ONE_GREY
    volume.array[0, 0, 0] = 91
    assert engine.estimate(volume).found


def test_close_views_are_not_taken_of_one_grey() -> None:
    model = model_of(FixedPoints(body_on_the_grid(SMALL)), views=("whole", "close"), input_size=SMALL)
    engine, volume = PoseEngine(model, CPU, ""), sample()
    assert len(engine.estimate(volume).views) > 1
    volume.array[:] = 90
    assert [one.view for one in engine.estimate(volume).views] == ["whole"]


def test_a_network_that_gives_no_numbers_finds_nothing() -> None:
    class Broken(nn.Module):
        def forward(self, batch: Tensor) -> Tensor:
            return torch.full((1, 22, *batch.shape[2:]), float("nan"))

    engine, _ = fixed_engine(Broken())
    assert not engine.estimate(sample()).found


def test_an_empty_volume_in_memory_is_survived() -> None:
    volume = sample()
    volume.array[:] = 0
    torch.manual_seed(0)
    estimate = PoseEngine(model_of(UNet3d(widths=(2, 3, 4)), input_size=SMALL), CPU, "").estimate(volume)
    assert np.isfinite(estimate.detection_score)


# --- familiarity


def test_a_picture_unlike_the_known_ones_is_a_warning_with_wider_radii(model_file: Path) -> None:
    model = load_model(model_file)
    features = PoseEngine(model, CPU, "for a test").estimate(sample()).views[-1].features
    assert features is not None and features.shape == (2 * 3,)  # mean and deviation of three channels

    def answered(away: float) -> Estimate:
        known = Familiarity(tuple((features - away).tolist()), (1.0,) * 6, usual=1.0)
        calibration = replace(uncalibrated(), familiarity=known, widening=0.5)
        return PoseEngine(replace(model, calibration=calibration), CPU, "for a test").estimate(sample())

    near, far = answered(1.0), answered(3.0)
    assert (near.unfamiliarity, far.unfamiliarity) == pytest.approx((1.0, 3.0))
    assert not any("Unlike" in warning for warning in near.warnings)
    assert any("Unlike the training volumes" in warning and "3.0 times" in warning for warning in far.warnings)
    radii = [(one.seen or one.pose).radius90_mm for one in (near, far)]
    assert radii[0] is not None and radii[1] is not None
    assert radii[1] == pytest.approx(radii[0] * np.exp(0.5 * 2.0))


def test_without_a_familiarity_nothing_is_unlike(model_file: Path) -> None:
    estimate = PoseEngine.load(model_file, "cpu").estimate(sample())
    assert np.isnan(estimate.unfamiliarity) and not any("Unlike" in warning for warning in estimate.warnings)
