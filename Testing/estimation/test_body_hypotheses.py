"""Body frames are read off whole sets of heatmaps: confused peaks are told apart, and the answers differ."""

import numpy as np
import pytest
import torch
from phantom.fetuses import sample_fetus
from scipy import ndimage
from scipy.spatial.transform import Rotation

from FetusMapV2Lib.anatomy.body_frame import body_frame, canonical_template
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.estimation.body_hypotheses import body_hypotheses, torso_rows
from FetusMapV2Lib.imaging.grid import Grid
from FetusMapV2Lib.network.heatmap import gaussian_target

SCHEMA = default_schema()
SHAPE = (64, 48, 48)
GRID = Grid.around(np.array([5.0, -3.0, 2.0]), Rotation.from_rotvec([0.3, 0.2, -0.5]).as_matrix(), 2.1, SHAPE)


@pytest.fixture(scope="module")
def template():
    return canonical_template(np.stack([_body(seed) for seed in range(30)]), SCHEMA)


def _body(seed):
    return np.asarray(sample_fetus(np.random.default_rng(seed), anatomy="2026-1").pose)


def _placed(seed):
    body = _body(seed)
    return (body - body[:10].mean(axis=0)) @ Rotation.random(random_state=seed).as_matrix().T + GRID.centre_ras


def _maps(positions, sigma=2.0):
    points = torch.from_numpy(GRID.to_voxel(positions)).float()
    return gaussian_target(points, SHAPE, sigma)


@pytest.mark.parametrize("seed", range(6))
def test_unambiguous_heatmaps_give_the_true_frame_first(seed, template):
    positions = _placed(seed)
    true = body_frame(positions, None, template, SCHEMA)
    found = body_hypotheses(_maps(positions), GRID, template, 4)[0]
    assert true.angle_to(found) < 20.0
    assert found.length_mm == pytest.approx(true.length_mm, rel=0.15)
    assert np.linalg.norm(found.centre - true.centre) < 0.12 * true.length_mm


@pytest.mark.parametrize("seed", range(6))
def test_head_and_rump_confused_leave_two_answers(seed, template):
    positions = _placed(seed)
    true = body_frame(positions, None, template, SCHEMA)
    # Every landmark has a second, equal peak where it would lie if the body were turned upside down.
    turned = true.turned(Rotation.from_rotvec([np.pi, 0, 0]))
    flipped = (positions - true.centre) @ (turned.axes @ true.axes.T).T + true.centre
    maps = 0.55 * _maps(positions) + 0.45 * _maps(flipped)
    found = body_hypotheses(maps, GRID, template, 4)
    assert min(true.angle_to(frame) for frame in found) < 25.0
    assert min(turned.angle_to(frame) for frame in found) < 25.0
    assert found[0].length_mm == pytest.approx(true.length_mm, rel=0.2)


def test_hypotheses_differ_and_are_the_same_each_time(template):
    flat = torch.full((22, *SHAPE), 1 / float(np.prod(SHAPE)))
    first, second = (body_hypotheses(flat, GRID, template, 5) for _ in range(2))
    assert len(first) == 5
    for number, one in enumerate(first):
        assert one.angle_to(second[number]) < 1e-3
        for other in first[:number]:
            shift = np.linalg.norm(one.centre - other.centre) / min(one.length_mm, other.length_mm)
            assert one.angle_to(other) > 30 or shift > 0.3


@pytest.mark.parametrize(
    ("seed", "spacing_mm", "lengths_mm"),
    [
        (0, 4.0, [36.7, 31.8, 39.0, 45.0, 75.3, 99.4, 94.1]),
        (1, 2.5, [58.6, 66.9, 52.0, 54.6, 53.8, 62.0, 57.6, 59.6, 50.8]),
        (3, 2.5, [51.7, 59.6, 51.8, 44.3, 39.0, 33.3, 35.8, 31.1]),
    ],
)
def test_fixed_heatmaps_have_fixed_hypotheses(seed, spacing_mm, lengths_mm, template):
    """Recorded: any change of the search's constants changes the estimates of every model."""
    noise = np.random.default_rng(seed).normal(size=(22, 24, 20, 20))
    maps = np.exp(25 * ndimage.gaussian_filter(noise, (0, 2, 2, 2))).astype(np.float32)
    maps /= maps.sum(axis=(1, 2, 3), keepdims=True)
    grid = Grid.around(np.zeros(3), np.eye(3), spacing_mm, maps.shape[1:])
    frames = body_hypotheses(torch.from_numpy(maps), grid, template, 12)
    assert [frame.length_mm for frame in frames] == pytest.approx(lengths_mm, abs=0.06)


def test_no_body_is_shorter_than_one_of_nine_weeks(template):
    """Whatever explains the heatmaps better."""
    tiny = GRID.centre_ras + 0.15 * (_placed(0) - GRID.centre_ras)
    assert body_frame(tiny, None, template, SCHEMA).length_mm < 15.0
    lengths = [frame.length_mm for frame in body_hypotheses(_maps(tiny), GRID, template, 4)]
    assert min(lengths) == pytest.approx(0.8 * 28.0)


def test_maps_without_numbers_do_not_stop_it(template):
    assert body_hypotheses(torch.full((22, *SHAPE), torch.nan), GRID, template, 3)


def test_torso_is_head_trunk_shoulders_and_hips():
    keys = {SCHEMA.keys[row] for row in torso_rows(SCHEMA)} - {SCHEMA.keys[row] for row in SCHEMA.rows("ht")}
    assert keys == {"left_shoulder", "right_shoulder", "left_hip", "right_hip"}
