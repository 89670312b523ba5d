"""The engine end to end with networks whose answer is known: geometry, presence, devices, cancelling, progress."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cli.synthetic_balls import INPUT_SIZE, BallReader, ball_engine, ball_volume, layout, model_of, rump_near_its_skin
from imaging.samples import ORIENTATIONS, oblique, reordered, sample
from torch import Tensor, nn

from FetusMapV2Lib.anatomy.landmark_shift import LandmarkShift
from FetusMapV2Lib.anatomy.laterality import resolve_sides
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.errors import Cancelled, ModelError, UserError
from FetusMapV2Lib.estimation.detection import ONE_GREY, PresenceRule
from FetusMapV2Lib.estimation.engine import ALTERED_MODEL, PoseEngine
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.estimation.network_runner import choose_device
from FetusMapV2Lib.estimation.network_views import whole_view
from FetusMapV2Lib.estimation.requests import EstimateRequest
from FetusMapV2Lib.imaging.skin_surface import landmarks_on_skin
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.models.calibration import SHARE_IN_DOUBT, uncalibrated
from FetusMapV2Lib.models.familiarity import Familiarity
from FetusMapV2Lib.models.model_file import Model, load_model, save_model
from FetusMapV2Lib.network.heatmap import gaussian_target
from FetusMapV2Lib.network.unet import UNet3d

SMALL = (32, 24, 24)
CPU = torch.device("cpu")


class FixedPoints(nn.Module):
    """Gaussian heatmaps around the same grid points, whatever the image."""

    def __init__(self, points_ijk: np.ndarray, sigma: float = 2.0) -> None:
        super().__init__()
        self.points = torch.as_tensor(points_ijk, dtype=torch.float32)
        self.sigma = sigma

    def forward(self, batch: Tensor) -> Tensor:
        return torch.log(gaussian_target(self.points, batch.shape[2:], self.sigma) + 1e-30)[None]


class OutOfMemory(nn.Module):
    """A GPU that is too small for the first `times` calls."""

    def __init__(self, inner: nn.Module, times: int) -> None:
        super().__init__()
        self.inner, self.left = inner, times

    def forward(self, batch: Tensor) -> Tensor:
        if self.left:
            self.left -= 1
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return self.inner(batch)


def body_on_the_grid(shape: tuple[int, int, int], fill: float = 0.6) -> np.ndarray:
    """The layout as (i, j, k) grid points, lying along k."""
    points = layout() * fill * shape[0] / np.ptp(layout()[:, 2])
    return points + (np.array(shape[::-1]) - 1) / 2


def fixed_engine(network: nn.Module | None = None) -> tuple[PoseEngine, np.ndarray]:
    points = body_on_the_grid(SMALL)
    return PoseEngine(model_of(network or FixedPoints(points), input_size=SMALL), CPU, "for a test"), points


@pytest.fixture(scope="module")
def balls() -> tuple[Volume, np.ndarray]:
    return ball_volume()


# --- geometry


@pytest.mark.parametrize("rotation", [None, oblique()], ids=["straight", "oblique"])
@pytest.mark.parametrize("order, signs", ORIENTATIONS[::5])
def test_heatmap_points_become_world_points(order, signs, rotation) -> None:
    """Points are those of the grid in the world, however the volume is stored."""
    engine, points = fixed_engine()
    volume = reordered(sample(rotation=rotation), order, signs)
    estimate = engine.estimate(volume)
    grid = whole_view(sample(rotation=rotation), SMALL)
    assert estimate.found, estimate.reason
    assert np.abs(estimate.pose.positions - grid.to_world(points)).max() < 0.05 * grid.spacing_mm
    assert estimate.views[0].spread_mm == pytest.approx(2.0 * grid.spacing_mm, rel=0.15)


def test_landmarks_are_where_they_are_in_the_volume(balls) -> None:
    volume, truth = balls
    estimate = ball_engine().estimate(volume)
    grid = whole_view(volume, INPUT_SIZE)
    assert estimate.found
    assert np.linalg.norm(estimate.pose.positions - truth, axis=1).max() < 0.75 * grid.spacing_mm
    assert not estimate.pose.laterality.arms_swapped


@pytest.mark.parametrize("order, signs", ORIENTATIONS[1::8])
def test_storage_order_changes_nothing(balls, order, signs) -> None:
    volume, _ = balls
    expected = ball_engine().estimate(volume).pose.positions
    found = ball_engine().estimate(reordered(volume, order, signs)).pose.positions
    assert np.abs(found - expected).max() < 0.3 * whole_view(volume, INPUT_SIZE).spacing_mm


def test_turning_the_volume_turns_the_pose() -> None:
    volume, truth = ball_volume(rotation=oblique((70.0, 130.0, -40.0)))
    estimate = ball_engine().estimate(volume)
    assert (
        np.linalg.norm(estimate.pose.positions - truth, axis=1).max() < 0.75 * whole_view(volume, INPUT_SIZE).spacing_mm
    )


def test_anisotropic_voxels() -> None:
    volume, truth = ball_volume(spacing=(0.9, 1.9, 1.3))
    estimate = ball_engine().estimate(volume)
    assert (
        np.linalg.norm(estimate.pose.positions - truth, axis=1).max() < 0.75 * whole_view(volume, INPUT_SIZE).spacing_mm
    )


@pytest.mark.parametrize("rotation", [None, oblique((160.0, 20.0, 75.0))], ids=["straight", "oblique"])
def test_the_close_view_shows_the_same_body(rotation) -> None:
    volume, truth = ball_volume(rotation=rotation)
    estimate = ball_engine(("whole", "close"), input_size=(112, 96, 96)).estimate(volume)
    assert [one.view for one in estimate.views] == ["whole", "close"]  # settled at once
    assert np.linalg.norm(estimate.pose.positions - truth, axis=1).max() < 1.8
    frame = estimate.views[-1].frame
    assert frame is not None
    head = truth[0] - truth[9]
    assert frame.axes[:, 2] @ head / np.linalg.norm(head) > 0.98


def test_the_pose_is_that_of_the_tight_view_and_the_score_that_of_the_close_one(balls) -> None:
    volume, truth = balls
    close, tight = (
        ball_engine(views, input_size=(112, 96, 96)).estimate(volume)
        for views in (("whole", "close"), ("whole", "close", "tight"))
    )
    assert [one.view for one in tight.views] == ["whole", "close", "tight"]
    last = tight.views[-1]
    assert last.grid is not None and last.grid.spacing_mm < 0.9 * tight.views[1].grid.spacing_mm
    assert (tight.detection_score, tight.mean_peak_mass) == (close.detection_score, close.mean_peak_mass)
    np.testing.assert_array_equal(tight.pose.positions, resolve_sides(last.positions, default_schema())[0])
    assert np.linalg.norm(tight.pose.positions - truth, axis=1).mean() < 0.4


def test_close_views_come_to_an_end() -> None:
    """Fixed grid points turn the frame on and on; the engine follows it for five views."""
    turned = body_on_the_grid(SMALL)[:, [1, 2, 0]]
    engine = PoseEngine(model_of(FixedPoints(turned), views=("whole", "close"), input_size=SMALL), CPU, "")
    assert len(engine.estimate(sample()).views) == 1 + 5


# --- sides


def test_a_mirrored_volume_exchanges_sides_and_undoing_it_brings_them_back(balls) -> None:
    volume, truth = balls
    schema = default_schema()
    reflected = truth * [-1, 1, 1] + [2 * volume.centre_ras[0], 0, 0]
    mirrored = ball_engine().estimate(volume.mirrored())
    assert mirrored.pose.laterality.arms_swapped and mirrored.pose.laterality.legs_swapped
    expected = reflected[list(schema.mirror_rows)]
    assert np.linalg.norm(mirrored.pose.positions - expected, axis=1).max() < 1.8
    again = ball_engine().estimate(volume.mirrored().mirrored())
    assert np.linalg.norm(again.pose.positions - truth, axis=1).max() < 1.8


def test_radius_and_confidence_move_with_a_limb_that_changes_sides() -> None:
    points = body_on_the_grid(SMALL)
    schema = default_schema()
    offsets, factors = tuple(0.05 * row for row in range(22)), tuple(1.0 + row for row in range(22))
    calibration = replace(uncalibrated(), offsets=offsets, radius_factors=factors)
    results = []
    for order in (list(range(22)), list(schema.mirror_rows)):
        model = model_of(FixedPoints(points[order]), input_size=SMALL, calibration=calibration)
        results.append(PoseEngine(model, CPU, "").estimate(sample()).pose)
    right, exchanged = results
    assert not right.laterality.arms_swapped and exchanged.laterality.arms_swapped
    assert np.allclose(right.positions, exchanged.positions, atol=0.05)
    assert np.allclose(exchanged.radius90_mm, right.radius90_mm[list(schema.mirror_rows)], rtol=0.05)
    assert exchanged.radius90_mm[10] > right.radius90_mm[10]
    assert np.allclose(exchanged.confidence, right.confidence[list(schema.mirror_rows)], rtol=0.05)
    assert exchanged.confidence[10] < right.confidence[10]


# --- landmarks that lie elsewhere than the network has learned


def test_landmarks_are_shifted_along_the_body_however_it_lies_and_whichever_side_it_shows() -> None:
    by_landmark = np.zeros((22, 3))
    by_landmark[1, 2] = 0.05  # the forehead higher
    by_landmark[[10, 13], 0] = 0.03, -0.03  # the shoulders farther out
    shift = LandmarkShift(tuple(map(tuple, by_landmark.tolist())))
    points, schema = body_on_the_grid(SMALL), default_schema()
    for order in (list(range(22)), list(schema.mirror_rows)):
        plain, shifted = (
            PoseEngine(
                model_of(FixedPoints(points[order]), input_size=SMALL, calibration=replace(uncalibrated(), shift=one)),
                CPU, "",
            ).estimate(sample(rotation=oblique()))
            for one in (None, shift)
        )  # fmt: skip
        frame = plain.views[-1].frame
        assert frame is not None and plain.pose.laterality.arms_swapped == (order[10] != 10)
        np.testing.assert_allclose(shifted.pose.positions - plain.pose.positions, shift.in_world(frame), atol=1e-9)
        np.testing.assert_array_equal(shifted.views[-1].positions, plain.views[-1].positions)
        np.testing.assert_array_equal(shifted.pose.radius90_mm, plain.pose.radius90_mm)


def test_landmarks_of_the_skin_are_put_at_its_edge_if_the_model_has_them_there(balls) -> None:
    """The shift comes first; what is no skin stays where that leaves it."""
    volume, centres = balls
    near, rump = rump_near_its_skin(), default_schema().index("rump")
    inside, at_skin = (
        ball_engine(calibration=replace(uncalibrated(), shift=one)).estimate(volume).pose.positions
        for one in (near, replace(near, on_skin=True))
    )
    np.testing.assert_array_equal(np.delete(at_skin, rump, axis=0), np.delete(inside, rump, axis=0))
    np.testing.assert_array_equal(at_skin[rump], landmarks_on_skin(volume, inside)[rump])
    away = [float(np.linalg.norm(one[rump] - centres[rump])) for one in (inside, at_skin)]
    assert away[0] < 4.6 and 5.0 < away[1] < 6.5  # the ball has a radius of 6 mm


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


# --- model and device


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    network = UNet3d(widths=(2, 3, 4))
    model = model_of(UNet3d(), input_size=SMALL)
    model = Model(network, model.poses, model.template, replace(model.info, network=dict(network.config)))
    save_model(tmp_path / "Modell ß.safetensors", model)
    return tmp_path / "Modell ß.safetensors"


def test_a_loaded_model_says_what_it_is_and_where_it_ran(model_file: Path) -> None:
    engine = PoseEngine.load(model_file, "cpu")
    estimate = engine.estimate(sample())
    assert estimate.model.startswith("stub (")
    assert estimate.device == "cpu"
    assert estimate.device_reason == "chosen by the user"
    assert engine.calibration == uncalibrated()
    assert not engine.model.network.training


def test_an_altered_model_is_a_warning_of_each_estimate() -> None:
    engine, _ = fixed_engine()
    assert engine.estimate(sample()).warnings == ()
    altered = PoseEngine(replace(engine.model, altered=True), CPU, "for a test")
    assert altered.estimate(sample()).warnings == (ALTERED_MODEL,)


def test_the_same_volume_gives_the_same_answer(model_file: Path) -> None:
    first, second = (PoseEngine.load(model_file, "cpu").estimate(sample()).views[0].positions for _ in range(2))
    assert np.array_equal(first, second)


def test_estimating_leaves_model_and_volume_alone(model_file: Path) -> None:
    engine, volume = PoseEngine.load(model_file, "cpu"), sample()
    before = {name: value.clone() for name, value in engine.model.network.state_dict().items()}
    engine.estimate(volume)
    assert np.array_equal(volume.array, sample().array)
    assert all(torch.equal(value, before[name]) for name, value in engine.model.network.state_dict().items())


@pytest.mark.parametrize("device", ["gpu", "", "mps", "meta", "cuda:-1", "cuda:x", "cuda:", "CUDA", "cpu:3"])
def test_unknown_devices(device: str) -> None:
    with pytest.raises(UserError, match="unknown device"):
        choose_device(device)


@pytest.mark.parametrize("device", ["cuda:99", "cuda:128", "cuda:256", "cuda:999"])
def test_gpus_that_are_not_there(device: str) -> None:
    with pytest.raises(UserError, match="no such CUDA GPU"):
        choose_device(device)


def test_devices_are_chosen_with_a_reason(monkeypatch) -> None:
    assert choose_device("cpu") == (torch.device("cpu"), "chosen by the user")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == (torch.device("cpu"), "no CUDA GPU was found")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == (torch.device("cuda", 0), "a CUDA GPU is available")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("cuda")[0] == torch.device("cuda", 0)
    assert choose_device("cuda:1")[0] == torch.device("cuda", 1)
    with pytest.raises(UserError):
        choose_device("cuda:2")


def test_the_device_is_looked_at_before_the_model() -> None:
    with pytest.raises(UserError, match="unknown device"):
        PoseEngine.load("no/such/model.safetensors", "tpu")
    with pytest.raises(ModelError, match="no such model"):
        PoseEngine.load("no/such/model.safetensors", "cpu")


def test_a_full_gpu_falls_to_the_cpu_and_says_so(balls) -> None:
    model = model_of(OutOfMemory(BallReader(), 1))
    engine = PoseEngine(model, CPU, "a CUDA GPU is available")
    estimate = engine.estimate(balls[0])
    assert estimate.device == "cpu"
    assert "ran out of memory" in estimate.device_reason
    assert any("CPU" in warning for warning in estimate.warnings)
    assert np.array_equal(estimate.pose.positions, ball_engine().estimate(balls[0]).pose.positions)
    again = engine.estimate(balls[0])
    assert again.warnings == ()
    assert "ran out of memory" in again.device_reason


def test_memory_that_is_never_enough_is_not_hidden() -> None:
    engine, _ = fixed_engine(OutOfMemory(FixedPoints(body_on_the_grid(SMALL)), 10))
    with pytest.raises(torch.cuda.OutOfMemoryError):
        engine.estimate(sample())


# --- progress, cancelling, timings


def test_progress_rises_from_nothing_to_everything() -> None:
    seen: list[tuple[float, str]] = []
    turned = body_on_the_grid(SMALL)[:, [1, 2, 0]]
    engine = PoseEngine(model_of(FixedPoints(turned), views=("whole", "close"), input_size=SMALL), CPU, "")
    engine.estimate(sample(), on_progress=lambda fraction, stage: seen.append((fraction, stage)))
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(set(fractions))
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert all(stage for _, stage in seen)


@pytest.mark.parametrize("answer", [0, 1, 2])
def test_cancelling_keeps_nothing_and_the_engine_works_on(answer: int) -> None:
    turned = body_on_the_grid(SMALL)[:, [1, 2, 0]]
    engine = PoseEngine(model_of(FixedPoints(turned), views=("whole", "close"), input_size=SMALL), CPU, "")
    answers = iter([False] * answer + [True] * 10)
    with pytest.raises(Cancelled):
        engine.estimate(sample(), should_cancel=lambda: next(answers))
    expected = engine.estimate(sample())
    assert np.array_equal(expected.views[-1].positions, engine.estimate(sample()).views[-1].positions)


@pytest.mark.parametrize("by_itself", [False, True])
def test_a_job_is_cancelled_at_once_by_itself_or_by_whoever_submitted_it(by_itself: bool) -> None:
    engine = PoseEngine(model_of(FixedPoints(body_on_the_grid(SMALL)), input_size=SMALL), CPU, "")
    fractions: list[float] = []

    def on_progress(fraction: float, stage: str) -> None:
        fractions.append(fraction)
        if by_itself:
            job.cancel()

    job = engine.submit(EstimateRequest(sample()), on_progress, None if by_itself else lambda: True)
    with pytest.raises(Cancelled):
        job.result()
    assert len(fractions) <= 1
    assert engine.submit(EstimateRequest(sample()), None, lambda: False).result().views


def test_timings_and_warnings_belong_to_the_case() -> None:
    engine, _ = fixed_engine()
    warned = engine.estimate(sample().with_(warnings=("voxel size is odd", "voxel size is odd")))
    assert warned.warnings == ("voxel size is odd",)
    plain = engine.estimate(sample())
    assert plain.warnings == ()
    assert set(plain.timings) == {"resampling", "network", "reading heatmaps"}
    assert all(seconds >= 0 for seconds in plain.timings.values())
