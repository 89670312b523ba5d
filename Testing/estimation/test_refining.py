"""Refinement through the engine: what it may move, what it must leave alone, and how it is called off."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from cli.synthetic_balls import ball_engine, ball_volume, layout
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from FetusMapV2Lib.anatomy.body_frame import canonical_template
from FetusMapV2Lib.anatomy.landmark_shift import LandmarkShift
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.anatomy.skin_landmarks import outward_directions
from FetusMapV2Lib.core.errors import Cancelled, UserError
from FetusMapV2Lib.estimation import network_tuning
from FetusMapV2Lib.estimation.engine import PoseEngine
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.estimation.network_views import whole_view
from FetusMapV2Lib.estimation.refinement import DROPPED, matching_channels, reassign_sides
from FetusMapV2Lib.imaging.skin_surface import landmarks_on_skin
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.models.calibration import uncalibrated
from FetusMapV2Lib.models.model_file import Model, ModelInfo
from FetusMapV2Lib.network.heatmap import gaussian_target

SCHEMA = default_schema()
SHAPE = (40, 32, 32)
RUMP = 9  # row of landmark 10, in the refined set


class MovableHeatmaps(nn.Module):
    """Gaussian heatmaps whose centres are its weights; no image changes them."""

    def __init__(self, points_ijk: np.ndarray) -> None:
        super().__init__()
        self.points = nn.Parameter(torch.as_tensor(points_ijk, dtype=torch.float32))

    def forward(self, batch: Tensor) -> Tensor:
        axes = [torch.arange(n, dtype=torch.float32) for n in batch.shape[:1:-1]]
        away = [(axis[None] - self.points[:, n, None]) ** 2 for n, axis in enumerate(axes)]
        squares = away[2][:, :, None, None] + away[1][:, None, :, None] + away[0][:, None, None, :]
        return (-squares / 8.0)[None]


def world() -> tuple[Volume, np.ndarray, np.ndarray]:
    """An empty volume of 2 mm voxels, and a body in it: (22, 3) voxels of what the network is shown, and RAS mm."""
    points = layout() * 0.6 * SHAPE[0] / np.ptp(layout()[:, 2]) + (np.array(SHAPE[::-1]) - 1) / 2
    volume = Volume(np.random.default_rng(0).integers(0, 255, SHAPE, dtype=np.uint8), np.diag([2.0, 2.0, 2.0, 1.0]))
    return volume, points, whole_view(volume, SHAPE).to_world(points)


def engine_seeing(points_ijk: np.ndarray, library: np.ndarray) -> PoseEngine:
    info = ModelInfo(name="movable", network={"kind": "stub"}, input_size=SHAPE, sigma=2.0)
    calibration = replace(uncalibrated(), detection_threshold=0.0)
    template = canonical_template(library, SCHEMA)
    model = Model(MovableHeatmaps(points_ijk), library, template, info, calibration)  # type: ignore[arg-type]
    return PoseEngine(model, torch.device("cpu"), "for a test")


def library_of(body: np.ndarray, count: int = 20) -> np.ndarray:
    """Poses of nearly the body's own shape, mm."""
    generator = np.random.default_rng(1)
    return np.stack([body + generator.normal(0, 0.3, body.shape) for _ in range(count)])


@pytest.fixture(scope="module")
def wrong_rump() -> tuple[PoseEngine, Volume, Estimate, np.ndarray]:
    """The network sees the rump 8 mm beside its place; the truth in mm."""
    volume, points, truth = world()
    seen = points.copy()
    seen[RUMP] += [4.0, 0.0, 0.0]
    engine = engine_seeing(seen, library_of(truth))
    return engine, volume, engine.estimate(volume), truth


def miss(estimate: Estimate, truth: np.ndarray, row: int) -> float:
    return float(np.linalg.norm(estimate.pose.positions[row] - truth[row]))


def state(engine: PoseEngine) -> list[Tensor]:
    return [tensor.clone() for tensor in engine.model.network.state_dict().values()]


def test_off_changes_nothing(wrong_rump):
    engine, volume, plain, _ = wrong_rump
    assert plain.found
    assert plain.refinement.mode == "off"
    again = engine.estimate(volume, refine="off")
    np.testing.assert_array_equal(again.pose.positions, plain.pose.positions)


def test_full_refinement_moves_the_refined_set_towards_the_library(wrong_rump, monkeypatch):
    monkeypatch.setattr(network_tuning, "LEARNING_RATE", 0.2)  # these weights are voxels
    engine, volume, plain, truth = wrong_rump
    before = state(engine)
    refined = engine.estimate(volume, refine="full")
    assert all(torch.equal(a, b) for a, b in zip(before, state(engine), strict=True))  # a copy was tuned
    if refined.refinement.iterations:
        assert miss(refined, truth, RUMP) < miss(plain, truth, RUMP)
        assert refined.refinement.residual_after_mm < refined.refinement.residual_before_mm
    else:
        assert DROPPED in refined.warnings
    others = [row for row in range(22) if row not in SCHEMA.refined_rows]
    np.testing.assert_array_equal(refined.pose.positions[others], plain.pose.positions[others])
    again = engine.estimate(volume, refine="full")
    np.testing.assert_array_equal(again.pose.positions, refined.pose.positions)


def test_the_network_is_tuned_in_the_paper_s_eight_steps(wrong_rump):
    """Section 4.1: 8 iterations of Adam with a learning rate of 5e-4."""
    engine, volume, plain, _ = wrong_rump
    steps: list[tuple[type, float, tuple[float, float]]] = []

    def note(optimiser: torch.optim.Optimizer, *_: object) -> None:
        group = optimiser.param_groups[0]
        steps.append((type(optimiser), group["lr"], group["betas"]))

    hook = register_optimizer_step_post_hook(note)
    engine.refine(volume, plain, mode="full")
    hook.remove()
    assert steps == [(torch.optim.Adam, 5e-4, (0.5, 0.999))] * 8


def test_every_forward_pass_is_needed(wrong_rump):
    engine, volume, plain, _ = wrong_rump
    passes: list[int] = []
    hook = engine.model.network.register_forward_hook(lambda *_: passes.append(1))  # its copies have it too
    engine.refine(volume, plain, mode="full")
    assert len(passes) == 8 + 1
    passes.clear()
    engine.refine(volume, replace(plain, model="of another model"), mode="full")
    assert len(passes) == 8 + 2  # what that one saw is not what this one sees
    hook.remove()


def test_what_comes_no_nearer_is_left_out(wrong_rump, monkeypatch):
    monkeypatch.setattr(network_tuning, "LEARNING_RATE", 0.0)
    engine, volume, plain, _ = wrong_rump
    refined = engine.refine(volume, plain, mode="full")
    assert refined.refinement.iterations == 0
    assert refined.warnings[-1] == DROPPED
    np.testing.assert_array_equal(refined.pose.positions, plain.pose.positions)


def test_prior_alone_mends_a_doubtful_landmark(wrong_rump):
    engine, volume, plain, truth = wrong_rump
    radius = np.full(22, 1.0)
    radius[RUMP] = 20.0
    doubtful = replace(plain, pose=replace(plain.pose, radius90_mm=radius))
    refined = engine.refine(volume, doubtful, mode="prior")
    assert miss(refined, truth, RUMP) < 0.5 * miss(plain, truth, RUMP)
    assert refined.refinement.moved
    assert set(refined.refinement.moved) <= {row + 1 for row in SCHEMA.refined_rows}
    assert "refining" in refined.timings


@pytest.mark.parametrize("mode", ["prior", "full"])
def test_pinned_landmarks_stay_exactly(wrong_rump, mode):
    engine, volume, plain, truth = wrong_rump
    positions = plain.pose.positions.copy()
    positions[RUMP] = truth[RUMP]
    edited = replace(plain, pose=plain.pose.with_positions(positions))
    refined = engine.refine(volume, edited, [RUMP + 1, 1], mode=mode)
    np.testing.assert_array_equal(refined.pose.positions[[0, RUMP]], positions[[0, RUMP]])
    assert refined.refinement.pinned == (1, RUMP + 1)


ARMS = [row for group in ("la", "ra") for row in SCHEMA.rows(group)]


def with_arms_exchanged(estimate: Estimate) -> Estimate:
    """The arms named the other way round, as by hand."""
    positions = estimate.pose.positions.copy()
    positions[ARMS] = positions[SCHEMA.mirror_rows[ARMS]]
    return replace(estimate, pose=replace(estimate.pose, positions=positions))


def test_sides_are_determined_again_unless_landmarks_were_set_by_hand(wrong_rump):
    engine, volume, plain, _ = wrong_rump
    assert not plain.pose.laterality.arms_swapped
    exchanged = with_arms_exchanged(plain)
    refined = engine.refine(volume, exchanged)
    np.testing.assert_allclose(refined.pose.positions[ARMS], plain.pose.positions[ARMS])
    assert refined.pose.laterality.arms_swapped
    kept = engine.refine(volume, exchanged, [ARMS[0] + 1])
    np.testing.assert_array_equal(kept.pose.positions[ARMS[0]], exchanged.pose.positions[ARMS[0]])
    assert kept.pose.laterality == exchanged.pose.laterality


def test_sides_exchanged_twice_are_those_of_the_heatmaps(wrong_rump):
    pose = with_arms_exchanged(wrong_rump[2]).pose
    once = replace(pose, laterality=replace(pose.laterality, arms_swapped=True))
    assert not reassign_sides(once).laterality.arms_swapped


def test_a_pinned_landmark_moves_its_neighbours_when_the_network_is_tuned_too(wrong_rump):
    engine, volume, plain, _ = wrong_rump
    shoulder, elbow, wrist = SCHEMA.rows("la")
    positions = plain.pose.positions.copy()
    positions[elbow] += [0.0, 0.0, 15.0]
    radius = np.full(22, 1.0)
    radius[wrist] = 20.0
    edited = replace(plain, pose=replace(plain.pose, positions=positions, radius90_mm=radius))
    alone, tuned = (engine.refine(volume, edited, [elbow + 1], mode=mode) for mode in ("prior", "full"))
    others = [row for row in range(22) if row not in SCHEMA.refined_rows]
    np.testing.assert_array_equal(tuned.pose.positions[others], alone.pose.positions[others])
    assert set(alone.refinement.moved) & {shoulder + 1, wrist + 1}


def test_a_pose_without_an_estimate_is_refined_as_one(wrong_rump):
    engine, volume, plain, truth = wrong_rump
    positions = plain.pose.positions.copy()
    positions[RUMP] = truth[RUMP]
    pose = plain.pose.with_positions(positions)
    for model, told in (("", False), (engine.model.identity, False), ("another (12ab)", True)):
        refined = engine.refine(volume, Estimate.given(pose, model), [RUMP + 1])
        expected = engine.refine(volume, replace(plain, pose=pose), [RUMP + 1])
        np.testing.assert_array_equal(refined.pose.positions, expected.pose.positions)
        assert any("another (12ab)" in warning for warning in refined.warnings) == told


def test_mistakes(wrong_rump):
    engine, volume, plain, _ = wrong_rump
    with pytest.raises(UserError, match="unknown refinement"):
        engine.estimate(volume, refine="perhaps")
    with pytest.raises(UserError, match="no landmark 23"):
        engine.refine(volume, plain, [23])
    positions = plain.pose.positions.copy()
    positions[4] = np.nan
    with pytest.raises(UserError, match="landmark 5 has no position"):
        engine.refine(volume, replace(plain, pose=plain.pose.with_positions(positions)), [5])
    empty = engine_seeing(world()[1], library_of(world()[2]))
    empty.model.poses[:] = np.nan
    with pytest.raises(UserError, match="pose library is empty"):
        empty.refine(volume, plain)


def test_cancelling_between_steps(wrong_rump):
    engine, volume, _, _ = wrong_rump
    stages: dict[str, float] = {}
    with pytest.raises(Cancelled):
        engine.estimate(
            volume,
            refine="full",
            on_progress=lambda fraction, stage: stages.update({stage: fraction}),
            should_cancel=lambda: "refining 3/8" in stages,
        )
    assert list(stages)[-1] == "refining 3/8"
    assert list(stages.values()) == sorted(stages.values()) and stages["refining 3/8"] < 1.0


def test_no_fetus_is_not_refined():
    volume, _ = ball_volume()
    engine = ball_engine(calibration=replace(uncalibrated(), detection_threshold=2.0))
    estimate = engine.estimate(volume, refine="prior")
    assert estimate.refinement.mode == "off"
    assert estimate.warnings == () and "refining" not in estimate.timings


def test_limbs_keep_their_heatmaps_whatever_their_names():
    seen = layout()
    named = seen.copy()
    mirror = np.asarray(SCHEMA.mirror_rows)
    arms = [row for group in ("la", "ra") for row in SCHEMA.rows(group)]
    named[arms] = seen[mirror[arms]]
    channels = np.array(matching_channels(named, seen, SCHEMA))
    assert channels[arms].tolist() == mirror[arms].tolist()
    legs = [row for group in ("ll", "rl") for row in SCHEMA.rows(group)]
    assert channels[legs].tolist() == legs


def test_heatmaps_of_the_movable_network_are_gaussian():
    _, points, _ = world()
    with torch.no_grad():
        maps = torch.softmax(MovableHeatmaps(points)(torch.zeros(1, 1, *SHAPE)).flatten(2), dim=-1)
    expected = gaussian_target(torch.as_tensor(points, dtype=torch.float32), torch.Size(SHAPE), 2.0)
    torch.testing.assert_close(maps.view(22, *SHAPE), expected, atol=1e-4, rtol=1e-2)


def test_a_shift_of_the_landmarks_is_outside_the_refinement(wrong_rump):
    """Network and pose library have the landmarks elsewhere; what is pinned or not refined stays to the last bit."""
    engine, volume, plain, _ = wrong_rump
    shift = LandmarkShift(((0.0, 0.0, 0.04),) * 22)
    model = replace(engine.model, calibration=replace(engine.calibration, shift=shift))
    shifted = PoseEngine(model, torch.device("cpu"), "")
    frame = plain.views[-1].frame
    for refine in ("prior", "full"):
        with_it, without = (one.estimate(volume, refine=refine) for one in (shifted, engine))
        moved = with_it.pose.positions - without.pose.positions
        np.testing.assert_allclose(moved, shift.in_world(frame), atol=0.15)
    estimate = shifted.estimate(volume)
    placed = np.array(estimate.pose.positions)
    placed[3] += [0.1, 0.2, 0.3]
    edited = replace(estimate, pose=estimate.pose.with_positions(placed))
    after = shifted.refine(volume, edited, (4,))
    np.testing.assert_array_equal(after.pose.positions[3], placed[3])


def test_a_refined_landmark_of_the_skin_is_put_at_its_edge_and_a_pinned_one_stays(wrong_rump):
    """No picture changes what this network sees: the tissue is put where a refinement leaves the rump, or near it."""
    engine, volume, estimate, _ = wrong_rump
    plain = engine.refine(volume, estimate).pose.positions
    assert (plain[RUMP] != estimate.pose.positions[RUMP]).any()
    out = outward_directions(plain)[RUMP]
    places = np.moveaxis(np.indices(volume.shape)[::-1], 0, -1) * 2.0  # the volume lies along the axes of the world
    tissue = np.linalg.norm(places - (plain[RUMP] - 10.0 * out), axis=-1) < 12.0
    volume = volume.with_(array=np.where(tissue, 150, 20 + volume.array % 8).astype(np.uint8))
    shift = LandmarkShift(((0.0, 0.0, 0.0),) * 22, on_skin=True)
    skin = PoseEngine(
        replace(engine.model, calibration=replace(engine.calibration, shift=shift)), torch.device("cpu"), ""
    )
    refined, pinned = (skin.refine(volume, estimate, numbers).pose.positions for numbers in ((), (RUMP + 1,)))
    np.testing.assert_array_equal(refined[RUMP], landmarks_on_skin(volume, plain)[RUMP])
    assert (refined[RUMP] - plain[RUMP]) @ out == pytest.approx(2.0, abs=1.5)  # voxels of 2 mm
    np.testing.assert_array_equal(pinned[RUMP], estimate.pose.positions[RUMP])
