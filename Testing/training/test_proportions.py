"""Stretched bodies: picture and landmarks move alike, the length stays, and what cannot be stretched stays as it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import center_of_mass
from scipy.spatial.transform import Rotation
from training.toy_cases import BODY

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.phantom.simulated_case import simulate_case
from FetusMapV2Lib.training.preset import Preset
from FetusMapV2Lib.training.proportions import BodyStretch, Proportions

ROW = default_schema().index
DEVICES = [torch.device("cpu"), *([torch.device("cuda")] if torch.cuda.is_available() else [])]
EVERY = Proportions(probability=1.0)
CROWN, RUMP = ROW("cranial_crest"), ROW("rump")


def stretch(seed: int = 0, positions: np.ndarray = BODY, proportions: Proportions = EVERY) -> BodyStretch:
    drawn = proportions.drawn(positions, np.random.default_rng(seed))
    assert drawn is not None
    return drawn


def places(positions: np.ndarray) -> np.ndarray:
    """Where nape, shoulders and L5/S1 lie on the way from crown to rump."""
    along = positions[RUMP] - positions[CROWN]
    shoulders = (positions[ROW("left_shoulder")] + positions[ROW("right_shoulder")]) / 2
    between = np.stack([positions[ROW("hind_neck")], shoulders, positions[ROW("lumbosacral_spine")]])
    return np.asarray((between - positions[CROWN]) @ along / (along @ along))


def marked_volume(row: int, place: Rotation) -> tuple[Volume, np.ndarray]:
    """A ball at one landmark of the body, in an oblique left-handed volume of unlike voxels; and its landmarks."""
    positions = place.apply(BODY) + np.array([5.0, -8.0, 3.0])
    matrix = np.eye(4)
    matrix[:3, :3] = place.as_matrix() @ Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix()
    matrix[:3, :3] = matrix[:3, :3] * [1.4, -1.1, 1.7]
    shape = (60, 90, 70)
    matrix[:3, 3] = positions.mean(axis=0) - matrix[:3, :3] @ (np.array(shape[::-1]) - 1) / 2
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)[..., ::-1]
    world = index @ matrix[:3, :3].T + matrix[:3, 3]
    grey = 250 * np.exp(-(np.linalg.norm(world - positions[row], axis=-1) ** 2) / (2 * 3.5**2))
    return Volume(grey.astype(np.uint8), matrix, name="marked"), positions


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("row", range(len(BODY)))
def test_a_landmark_moves_with_what_is_seen_there(row: int, device: torch.device) -> None:
    volume, positions = marked_volume(row, Rotation.from_euler("zyx", [40 * row, 15, -70], degrees=True))
    drawn = stretch(row, positions)
    moved = drawn.volume(volume, device)
    middle = center_of_mass(np.where(moved.array > 120, moved.array, 0))[::-1]
    np.testing.assert_allclose(moved.ijk_to_ras @ [*middle, 1.0], [*drawn.points(positions)[row], 1.0], atol=0.5)
    assert np.array_equal(moved.ijk_to_ras, volume.ijk_to_ras) and moved.array.dtype == np.uint8
    assert not moved.name and volume.name  # no cache takes it for the volume that it comes from


def test_only_what_lies_between_crown_and_rump_changes_its_place() -> None:
    before = places(BODY)
    after = []
    for seed in range(200):
        points = stretch(seed).points(BODY)
        np.testing.assert_allclose(points[[CROWN, RUMP]], BODY[[CROWN, RUMP]], atol=0.05)
        after.append(places(points))
        assert (np.diff(after[-1]) > 0).all()
    low, high = np.percentile(after, [5, 95], axis=0)
    assert (low < before - 0.05).all() and (high > before).all()


def test_a_part_is_stretched_by_its_factor() -> None:
    longer = Proportions(1.0, head=(1.5, 1.5), neck=(1, 1), trunk=(1, 1), pelvis=(1, 1), girth=(1, 1))
    nape, shoulders, lumbar = places(BODY)
    total = 1.5 * nape + 1 - nape
    moved = places(stretch(proportions=longer).points(BODY))
    expected = np.array([1.5 * nape, shoulders + 0.5 * nape, lumbar + 0.5 * nape]) / total
    np.testing.assert_allclose(moved, expected, atol=0.002)


def test_the_girth_widens_the_body_and_nothing_else() -> None:
    one = (1.0, 1.0)
    wider = Proportions(1.0, head=one, neck=one, trunk=one, pelvis=one, girth=(1.2, 1.2))
    moved = stretch(proportions=wider).points(BODY)
    crown, up = BODY[CROWN], (BODY[CROWN] - BODY[RUMP]) / np.linalg.norm(BODY[CROWN] - BODY[RUMP])
    heights, across = (BODY - crown) @ up, (BODY - crown) - np.outer((BODY - crown) @ up, up)
    np.testing.assert_allclose(moved, crown + np.outer(heights, up) + 1.2 * across, atol=0.01)


def test_missing_landmarks_stay_missing() -> None:
    some = BODY.copy()
    some[[ROW("chin"), ROW("left_knee")]] = np.nan
    moved = stretch(positions=some).points(some)
    assert np.array_equal(np.isnan(moved), np.isnan(some))


@pytest.mark.parametrize(
    "lost", ["cranial_crest", "rump", "hind_neck", "lumbosacral_spine", "left_shoulder", "right_shoulder"]
)
def test_a_body_whose_parts_are_not_known_stays(lost: str) -> None:
    positions = BODY.copy()
    positions[ROW(lost)] = np.nan
    assert EVERY.drawn(positions, np.random.default_rng(0)) is None


def test_a_body_too_curled_for_an_order_of_its_parts_stays() -> None:
    curled = BODY.copy()
    curled[ROW("lumbosacral_spine")] = curled[RUMP] - [0, 0, 1]
    assert EVERY.drawn(curled, np.random.default_rng(0)) is None


def test_a_share_of_the_cases_is_stretched_and_the_draws_after_it_do_not_depend_on_that() -> None:
    some = Proportions(probability=0.5)
    drawn, after = [], set()
    for seed in range(60):
        generators = [np.random.default_rng(seed) for _ in range(2)]
        drawn.append(some.drawn(BODY, generators[0]) is not None)
        EVERY.drawn(np.full_like(BODY, np.nan), generators[1])
        after.add(generators[0].random() == generators[1].random())
    assert 15 < sum(drawn) < 45 and after == {True}


@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_labels_are_not_mixed(device: torch.device) -> None:
    case = simulate_case(33, 0, shape_kji=(69, 47, 47), spacing_mm=2.0, renderer="labels")
    labels, positions = case.volume, case.pose.positions
    moved = stretch(3, positions).volume(labels, device, labels=True)
    assert set(np.unique(moved.array)) <= {0, *np.unique(labels.array)}
    assert 0.02 < (moved.array != labels.array).mean() < 0.9


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"probability": 1.5}, "probability must lie in 0-1"),
        ({"head": [1.2, 0.8]}, "positive and rising"),
        ({"girth": [0.0, 1.0]}, "positive and rising"),
    ],
)
def test_proportions_that_make_no_body_are_refused(wrong: dict[str, object], match: str) -> None:
    with pytest.raises(UserError, match=match):
        Preset.from_dict({"name": "wrong", "proportions": wrong})
