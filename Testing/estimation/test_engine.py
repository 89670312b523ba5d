"""The engine end to end with networks whose answer is known: geometry, devices, cancelling, progress."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cli.synthetic_balls import INPUT_SIZE, BallReader, ball_engine, ball_volume, model_of, rump_near_its_skin
from estimation.known_networks import (
    CPU,
    SMALL,
    FixedPoints,
    OutOfMemory,
    body_on_the_grid,
    fixed_engine,
    untrained_model_file,
)
from imaging.samples import ORIENTATIONS, oblique, reordered, sample

from FetusMapV2Lib.anatomy.landmark_shift import LandmarkShift
from FetusMapV2Lib.anatomy.laterality import resolve_sides
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.errors import Cancelled, ModelError, UserError
from FetusMapV2Lib.estimation.engine import ALTERED_MODEL, PoseEngine
from FetusMapV2Lib.estimation.network_runner import choose_device
from FetusMapV2Lib.estimation.network_views import whole_view
from FetusMapV2Lib.estimation.requests import EstimateRequest
from FetusMapV2Lib.imaging.skin_surface import landmarks_on_skin
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.models.calibration import uncalibrated


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


# --- model and device


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    return untrained_model_file(tmp_path)


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
