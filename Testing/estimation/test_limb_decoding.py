"""Limbs as wholes: both feet have a place of their own, bones keep their length, unambiguous maps change nothing."""

import functools
import itertools

import numpy as np
import pytest
import torch
from phantom.fetuses import sample_fetus
from scipy import ndimage
from scipy.spatial.transform import Rotation

from FetusMapV2Lib.anatomy.body_frame import body_frame, canonical_template
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.estimation import limb_decoding
from FetusMapV2Lib.estimation.engine import PoseEngine
from FetusMapV2Lib.estimation.limb_decoding import decode_limbs, limb_pairs, limb_peaks
from FetusMapV2Lib.imaging.grid import Grid
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.models.model_file import Model, ModelInfo
from FetusMapV2Lib.network.heatmap import decode, gaussian_target, probabilities

SCHEMA = default_schema()
SHAPE = (64, 48, 48)
SIGMA = 2.0
LEFT_ANKLE, RIGHT_ANKLE = SCHEMA.rows("ll")[2], SCHEMA.rows("rl")[2]
LEFT_ELBOW, LEFT_WRIST = SCHEMA.rows("la")[1:]
HEAD_AND_TRUNK = list(SCHEMA.rows("ht"))


@functools.cache
def body(seed):
    return np.asarray(sample_fetus(np.random.default_rng(seed), anatomy="2026-1").pose)


@functools.cache
def library():
    return np.stack([body(seed) for seed in range(100, 130)])


@functools.cache
def template():
    return canonical_template(library(), SCHEMA)


@functools.cache
def pairs_of_library():
    return limb_pairs(library(), template(), SCHEMA)


def with_limbs(logits, plain, grid, length, pairs=None):
    """Limbs of logits decoded as wholes."""
    pairs = pairs_of_library() if pairs is None else pairs
    peaks = limb_peaks(probabilities(logits), SIGMA, pairs).double().numpy()
    return decode_limbs(peaks, plain, SIGMA, grid, length, pairs)


class Seen:
    """A body in the middle of a grid that follows its size, with its heatmaps as logits."""

    def __init__(self, seed):
        positions = body(seed)
        turn = Rotation.random(random_state=seed).as_matrix()
        self.truth = (positions - positions.mean(axis=0)) @ turn.T
        self.length = body_frame(self.truth, None, template(), SCHEMA).length_mm
        self.grid = Grid.around(np.zeros(3), turn, 1.7 * self.length / SHAPE[0], SHAPE)
        self.maps = self.maps_at(self.truth)

    def maps_at(self, positions):
        return gaussian_target(torch.from_numpy(self.grid.to_voxel(positions)).float(), SHAPE, SIGMA)

    def settled(self):
        """Positions (22, 3) as decoded peak by peak, and with limbs as wholes; what `decode_limbs` gave."""
        logits = torch.log(self.maps + 1e-9)
        plain = decode(logits, SIGMA)
        result = with_limbs(logits, plain, self.grid, self.length)
        peaks, wholes = (self.grid.to_world(one.points_ijk.double().numpy()) for one in (plain, result))
        return peaks, wholes, result

    def error(self, positions, row):
        return float(np.linalg.norm(positions[row] - self.truth[row])) / self.grid.spacing_mm


@pytest.mark.parametrize("seed", range(6))
def test_unambiguous_heatmaps_are_decoded_as_without_limbs(seed):
    seen = Seen(seed)
    peaks, wholes, result = seen.settled()
    np.testing.assert_allclose(wholes, peaks, atol=0.15 * seen.grid.spacing_mm)
    np.testing.assert_array_equal(wholes[HEAD_AND_TRUNK], peaks[HEAD_AND_TRUNK])
    assert float(result.peak_mass.min()) > 0.9


@functools.cache
def with_feet_apart():
    """Bodies whose ankles lie far enough apart to be told from one another."""
    seeds = (seed for seed in range(40) if np.linalg.norm(np.subtract(*body(seed)[[LEFT_ANKLE, RIGHT_ANKLE]])) > 12.0)
    return list(itertools.islice(seeds, 6))


@pytest.mark.parametrize("number", range(6))
def test_two_feet_are_not_one(number):
    """Both maps prefer the left foot, the right one's own place comes second: the library and coverage decide."""
    seen = Seen(with_feet_apart()[number])
    seen.maps[RIGHT_ANKLE] = 0.6 * seen.maps[LEFT_ANKLE] + 0.4 * seen.maps[RIGHT_ANKLE]
    peaks, wholes, result = seen.settled()
    assert seen.error(peaks, RIGHT_ANKLE) > 4
    assert seen.error(wholes, RIGHT_ANKLE) < 0.5
    assert seen.error(wholes, LEFT_ANKLE) < 0.5
    assert 0.3 < float(result.peak_mass[RIGHT_ANKLE]) < 0.5  # as sure as its own map is there


def test_a_bone_of_twice_its_length_is_none():
    seen = Seen(1)
    far = seen.truth.copy()
    far[LEFT_WRIST] = far[LEFT_ELBOW] + 3.0 * (far[LEFT_WRIST] - far[LEFT_ELBOW])
    seen.maps[LEFT_WRIST] = 0.55 * seen.maps_at(far)[LEFT_WRIST] + 0.45 * seen.maps[LEFT_WRIST]
    peaks, wholes, _ = seen.settled()
    assert seen.error(peaks, LEFT_WRIST) > 5
    assert seen.error(wholes, LEFT_WRIST) < 0.5


def test_a_joint_only_its_partner_sees_is_found_and_doubted():
    seen = Seen(with_feet_apart()[0])
    seen.maps[LEFT_ANKLE] = 0.5 * (seen.maps[LEFT_ANKLE] + seen.maps[RIGHT_ANKLE])
    seen.maps[RIGHT_ANKLE] = seen.maps[LEFT_ANKLE]
    _, wholes, result = seen.settled()
    assert seen.error(wholes, LEFT_ANKLE) < 0.7
    assert seen.error(wholes, RIGHT_ANKLE) < 0.7
    assert float(result.peak_mass[[LEFT_ANKLE, RIGHT_ANKLE]].max()) < 0.6


def test_a_peak_of_the_partners_map_is_half_as_high():
    points = torch.full((22, 3), 10.0)
    points[RIGHT_ANKLE] = 30.0
    peaks = limb_peaks(gaussian_target(points, SHAPE, SIGMA), SIGMA, pairs_of_library())
    joints = [row for left, right, _ in pairs_of_library() for row in (*left, *right)]
    left, right = (peaks[joints.index(row), :2] for row in (LEFT_ANKLE, RIGHT_ANKLE))
    assert left[:, 0].tolist() == [10, 30] and right[:, 0].tolist() == [30, 10]
    for joint in (left, right):
        assert float(joint[1, 3] / joint[0, 3]) == pytest.approx(0.5, rel=1e-3)


def test_flat_maps_and_an_empty_library_do_not_stop_it():
    flat = torch.zeros(22, *SHAPE)
    grid = Seen(0).grid
    plain = decode(flat, SIGMA)
    assert torch.isfinite(with_limbs(flat, plain, grid, 60.0).points_ijk).all()
    nothing = with_limbs(flat, plain, grid, 60.0, limb_pairs(np.empty((0, 22, 3)), template(), SCHEMA))
    assert torch.equal(nothing.points_ijk, plain.points_ijk)


@pytest.mark.parametrize(
    ("seed", "gain", "blur", "sums"),
    [
        (0, 80, 2.0, [28.1, 23.4, 12.3, 0.0, 40.6, 30.8, 29.5, 28.4, 18.9, 26.6, 24.2, 28.0]),
        (2, 80, 2.0, [26.0, 24.7, 16.5, 11.5, 7.1, 17.5, 40.8, 40.1, 11.9, 12.9, 13.7, 11.1]),
        (3, 40, 1.2, [28.0, 17.4, 18.9, 15.2, 23.0, 17.1, 28.9, 33.0, 29.9, 10.0, 18.1, 25.0]),
        (1, 20, 2.0, [22.0, 29.8, 24.3, 21.1, 15.8, 11.6, 31.2, 29.4, 33.4, 18.7, 16.3, 16.8]),
        (1, 80, 2.0, [23.9, 30.9, 35.7, 27.7, 24.6, 11.2, 35.4, 33.8, 35.1, 11.6, 10.1, 14.8]),
    ],
)
def test_fixed_heatmaps_have_fixed_limbs(seed, gain, blur, sums):
    """Recorded, i + j + k of each joint: any change of the decoder's constants changes the estimates of every model."""
    noise = np.random.default_rng(seed).normal(size=(22, 16, 14, 14))
    logits = torch.from_numpy(gain * ndimage.gaussian_filter(noise, (0, blur, blur, blur))).float()
    grid = Grid.around(np.zeros(3), np.eye(3), 4.0, logits.shape[1:])
    result = with_limbs(logits, decode(logits, SIGMA), grid, 60.0)
    limbs = [mark.row for mark in SCHEMA.landmarks if mark.side is not None]
    assert result.points_ijk[limbs].sum(dim=1).tolist() == pytest.approx(sums, abs=0.06)


def test_the_library_gives_both_sides_the_same_bones():
    assert [(left, right) for left, right, _ in pairs_of_library()] == [
        (SCHEMA.rows("la"), SCHEMA.rows("ra")),
        (SCHEMA.rows("ll"), SCHEMA.rows("rl")),
    ]
    mirrored = limb_pairs(library()[:, SCHEMA.mirror_rows] * [-1, 1, 1], template(), SCHEMA)
    for (_, _, bones), (_, _, others) in zip(pairs_of_library(), mirrored, strict=True):
        np.testing.assert_allclose(bones.mean, others.mean, rtol=0.02)
    partial = library().copy()
    partial[:25, LEFT_ANKLE] = np.nan
    _, (_, _, bones) = limb_pairs(partial, template(), SCHEMA)
    np.testing.assert_allclose(bones.mean, pairs_of_library()[1][2].mean, rtol=0.05)


class SameAnswer(torch.nn.Module):
    """A network that sees the same heatmaps in every image."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, batch):
        return self.logits[None]


@pytest.mark.parametrize(("decoding", "together"), [("peaks", True), ("limbs", False)])
def test_the_engine_reads_limbs_as_the_model_says(decoding, together):
    greys = np.random.default_rng(0).integers(80, 120, SHAPE, dtype=np.uint8)  # a volume of one grey shows no one
    volume = Volume(greys, np.diag([2.0, 2.0, 2.0, 1.0]))
    seen = Seen(with_feet_apart()[0])
    seen.maps[RIGHT_ANKLE] = 0.6 * seen.maps[LEFT_ANKLE] + 0.4 * seen.maps[RIGHT_ANKLE]
    info = ModelInfo("same", {"kind": "stub"}, SHAPE, SIGMA, decoding=decoding)
    model = Model(SameAnswer(torch.log(seen.maps + 1e-9)), library(), template(), info)
    estimate = PoseEngine(model, torch.device("cpu"), "for a test").estimate(volume)
    ankles = estimate.views[-1].positions[[LEFT_ANKLE, RIGHT_ANKLE]]
    assert (np.linalg.norm(ankles[0] - ankles[1]) < 1.0) == together
    assert list(estimate.regions) == ([] if together else [RIGHT_ANKLE])  # the map of one joint has two peaks


def test_a_limb_with_two_peaks_gets_two_regions_and_other_landmarks_none():
    seen = Seen(with_feet_apart()[0])
    seen.maps[RIGHT_ANKLE] = 0.35 * seen.maps[LEFT_ANKLE] + 0.65 * seen.maps[RIGHT_ANKLE]
    seen.maps[LEFT_ANKLE] = 0.95 * seen.maps[LEFT_ANKLE] + 0.05 * seen.maps[RIGHT_ANKLE]
    head = SCHEMA.rows("ht")[0]
    seen.maps[head] = 0.5 * (seen.maps[head] + seen.maps[LEFT_WRIST])
    logits = torch.log(seen.maps + 1e-9)
    peaks = limb_peaks(probabilities(logits), SIGMA, pairs_of_library()).double().numpy()
    wholes = decode_limbs(peaks, decode(logits, SIGMA), SIGMA, seen.grid, seen.length, pairs_of_library())
    second = limb_decoding.second_peaks(peaks, wholes, SIGMA, pairs_of_library())
    assert np.flatnonzero(np.isfinite(second).all(axis=1)).tolist() == [RIGHT_ANKLE], "limbs with two clear peaks alone"
    np.testing.assert_allclose(seen.grid.to_world(second[RIGHT_ANKLE, None, :3])[0], seen.truth[LEFT_ANKLE], atol=0.5)
    assert second[RIGHT_ANKLE, 3] == pytest.approx(0.35, abs=0.1) and second[RIGHT_ANKLE, 4] < 1.2 * SIGMA


def test_what_two_joints_cover_of_both_maps_counts_once_as_far_as_they_overlap():
    """Masses 0.5 and 0.4, a reach of 3 mm: by Gaussians, less than half of 0.4 is shared at 4 mm, nothing far away."""
    moments, none = np.zeros((3, 5)), np.zeros(3)
    one = limb_decoding._Peaks(np.zeros((3, 3)), np.full(3, 0.5), none, moments)
    two = limb_decoding._Peaks(np.array([[0.0, 0, 0], [4, 0, 0], [90, 0, 0]]), np.full(3, 0.3), none + 0.1, moments)
    found = limb_decoding._coverage(one, two, np.array([0]), np.array([0, 1, 2]), reach_mm=3.0)
    shared = 0.4 * np.array([1.0, np.exp(-8 / 9), 0.0])
    np.testing.assert_allclose(found[0], 3.0 * np.log(0.05 + (0.9 - shared) / 2), rtol=1e-9)
