"""Distortions: each changes the picture as it says, repeats itself for the same draw, and leaves padding alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation
from training.toy_cases import BODY

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.imaging.grid import Grid
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.training.distortions.field_of_view import Box, FieldOfView, inside_of
from FetusMapV2Lib.training.distortions.fields import BiasField, BlobShadow, DepthBands, WedgeShadow
from FetusMapV2Lib.training.distortions.greys import BlackLevel, Gain, GreyCurve, Haze, SCurve
from FetusMapV2Lib.training.distortions.group import Distortions
from FetusMapV2Lib.training.distortions.picture import Distortion, Picture, blurred
from FetusMapV2Lib.training.distortions.sharpness import Blur, CoarseAxis, Despeckle, Noise, Speckle
from FetusMapV2Lib.training.distortions.surroundings import FillValue, Marks, Surroundings, distance_to_body
from FetusMapV2Lib.training.preset import Preset, load_preset

SHAPE, SPACING = (40, 32, 28), 2.0
DISTORTIONS = [value for value in vars(load_preset("robust").distortions).values() if isinstance(value, Distortion)]
DEVICES = [torch.device("cpu"), *([torch.device("cuda")] if torch.cuda.is_available() else [])]
every_one = pytest.mark.parametrize("distortion", DISTORTIONS, ids=lambda one: type(one).__name__)


def picture(device: torch.device = DEVICES[0]) -> Picture:
    """Tissue in a ball, fluid around it, a black corner, and padding behind the last four planes."""
    generator = np.random.default_rng(0)
    k, j, i = np.indices(SHAPE) - (np.array(SHAPE).reshape(3, 1, 1, 1) - 1) / 2
    grey = np.where(k**2 + j**2 + i**2 < 120, 0.5, 0.05) * generator.uniform(0.6, 1.4, SHAPE)
    grey[:6, :6, :6] = 0
    inside = np.ones(SHAPE, dtype=bool)
    inside[-4:] = False
    grey[~inside] = 0
    points = BODY / SPACING + (np.array(SHAPE[::-1]) - 1) / 2
    return Picture(
        torch.from_numpy(grey.astype(np.float32)).to(device), torch.from_numpy(inside).to(device), SPACING, points
    )


def greys(distortion: Distortion, seed: int = 1, device: torch.device = DEVICES[0]) -> np.ndarray:
    return distortion.applied(picture(device), np.random.default_rng(seed)).grey.cpu().numpy()


@every_one
@pytest.mark.parametrize("device", DEVICES, ids=str)
def test_a_distortion_changes_the_picture_within_its_range_and_repeats_itself(
    distortion: Distortion, device: torch.device
) -> None:
    before = picture().grey.numpy()
    drawn = [greys(distortion, seed, device) for seed in range(6)]
    assert any(np.abs(one - before).max() > 0.01 for one in drawn)
    for one in drawn:
        assert one.dtype == np.float32 and one.shape == SHAPE and np.isfinite(one).all()
        assert one.min() >= 0 and one.max() <= 1
    assert np.array_equal(greys(distortion, 3, device), drawn[3])
    assert np.array_equal(before, picture().grey.numpy())


@every_one
def test_padding_stays_black(distortion: Distortion) -> None:
    filled = isinstance(distortion, FillValue)
    assert all(greys(distortion, seed)[-4:].any() == filled for seed in range(4))


@every_one
def test_a_picture_without_a_fetus_can_be_distorted(distortion: Distortion) -> None:
    empty = dataclasses.replace(picture(), points=np.full((22, 3), np.nan))
    changed = distortion.applied(empty, np.random.default_rng(0)).grey
    assert bool(torch.isfinite(changed).all())
    if isinstance(distortion, Surroundings):
        assert torch.equal(changed, empty.grey)


@pytest.mark.parametrize("curve", [GreyCurve(), SCurve(), Gain(), BlackLevel()], ids=lambda one: type(one).__name__)
def test_curves_keep_the_order_of_greys(curve: Distortion) -> None:
    ramp = torch.linspace(0.001, 1, 500).reshape(5, 10, 10)
    whole = Picture(ramp, torch.ones_like(ramp, dtype=torch.bool), 1.0, np.full((22, 3), np.nan))
    for seed in range(10):
        changed = curve.applied(whole, np.random.default_rng(seed)).grey.flatten()
        assert float(changed.diff().min()) >= -1e-6


def test_gain_saturates_and_dims() -> None:
    strong, weak = greys(Gain(factor=(4, 4))), greys(Gain(factor=(0.3, 0.3)))
    before = picture().grey.numpy()
    assert (strong == 1).mean() > 0.05
    assert np.allclose(weak, 0.3 * before, atol=1e-6)


def test_a_black_level_lifts_the_sector_or_the_whole_box() -> None:
    before = picture()
    corners = {bool(greys(BlackLevel(level=(0.2, 0.2)), seed)[0, 0, 0] > 0) for seed in range(12)}
    assert corners == {True, False}
    lifted = greys(BlackLevel(level=(0.2, 0.2)))
    seen = before.grey.numpy() > 0
    assert np.allclose(lifted[seen], np.minimum(before.grey.numpy()[seen] + 0.2, 1), atol=1e-6)


def test_haze_takes_contrast_away() -> None:
    before = picture().grey.numpy()
    hazy = greys(Haze(density=(0.7, 0.7), veil=(0.5, 0.5)))
    assert hazy[:-4].std() < 0.9 * before[:-4].std() and hazy.mean() > before.mean()


def test_blur_is_a_gaussian_in_millimetres() -> None:
    image = picture().grey
    ours = blurred(image, (1.5, 1.0, 0.0)).numpy()
    theirs = gaussian_filter(image.numpy(), (1.5, 1.0, 0.0), mode="nearest", truncate=2.5)
    assert np.abs(ours - theirs).max() < 2e-3
    wide = Blur(sigma_mm=(4, 4), unevenness=0.0)
    assert np.allclose(greys(wide)[:-4], blurred(image, (2.0, 2.0, 2.0)).numpy()[:-4], atol=1e-6)


def test_a_coarse_axis_is_smooth_along_one_axis_only() -> None:
    before = picture().grey.numpy()
    for seed in range(6):
        changed = greys(CoarseAxis(spacing_mm=(7, 7)), seed)[:36]
        roughness = [
            np.abs(np.diff(changed, axis=a)).mean() / np.abs(np.diff(before[:36], axis=a)).mean() for a in (0, 1, 2)
        ]
        assert min(roughness) < 0.65 * np.median(roughness)
    assert np.array_equal(greys(CoarseAxis(spacing_mm=(1.0, 1.5))), before)  # finer than the picture


def test_filters_take_speckle_away_and_speckle_adds_it() -> None:
    ball = np.s_[16:24, 12:20, 10:18]
    spread = picture().grey.numpy()[ball].std()
    assert all(greys(Despeckle(edge=(0.3, 0.3)), seed)[ball].std() < 0.8 * spread for seed in range(4))
    assert greys(Speckle(strength=(0.6, 0.6), grain_mm=(0.5, 0.5)))[ball].std() > 1.5 * spread
    assert greys(Noise(strength=(0.1, 0.1)))[ball].std() > spread


def test_fields_darken_or_brighten_from_place_to_place() -> None:
    before = picture().grey.numpy()
    seen = before > 0
    for distortion in (DepthBands(decibels=(8, 8)), BiasField(strength=(0.6, 0.6))):
        ratio = greys(distortion)[seen] / before[seen]
        assert ratio.std() > 0.1
    for shadow in (WedgeShadow(darkness=(1, 1)), BlobShadow(darkness=(1, 1), sigma_mm=(15, 15))):
        ratios = np.stack([greys(shadow, seed)[seen] / before[seen] for seed in range(8)])
        assert ratios.max() <= 1 + 1e-6 and ratios.min() < 0.1 and ratios.max(axis=1).min() > 0.5


def test_surroundings_go_and_the_body_stays() -> None:
    before = picture()
    distance = distance_to_body(before)
    assert distance is not None
    landmarks = before.points.round().astype(int)
    i, j, k = landmarks.T
    assert (distance.numpy()[k, j, i] < 0).all()
    assert 0.02 < float((distance < 0).float().mean()) < 0.5
    black = greys(Surroundings(margin_mm=(3, 3), black=1.0))
    far, near = distance.numpy() > 12, distance.numpy() < -1
    assert black[far].max() < 0.02
    assert np.allclose(black[near], before.grey.numpy()[near], atol=0.1)
    filled = [greys(Surroundings(margin_mm=(3, 3), black=0.0), seed)[far] for seed in range(5)]
    assert min(one.mean() for one in filled) > 0.01


def test_surroundings_can_come_from_another_picture() -> None:
    other = torch.full(SHAPE, 0.77)
    whole = dataclasses.replace(picture(), other=other)
    one = Surroundings(margin_mm=(3, 3), black=0.0)
    corners = [float(one.applied(whole, np.random.default_rng(seed)).grey[0, 0, 0]) for seed in range(12)]
    assert any(corner == pytest.approx(0.77) for corner in corners)


def test_fill_values_and_marks() -> None:
    corners = {bool(greys(FillValue(), seed)[0, 0, 0] > 0) for seed in range(12)}
    assert corners == {True, False}
    for seed in range(8):
        changed = greys(Marks(), seed) != picture().grey.numpy()
        assert 0 < changed.mean() < 0.02


# --- the field of view


def volume() -> Volume:
    matrix = np.array([[0, 1.0, 0, -30], [1.0, 0, 0, -28], [0, 0, -1.0, 40], [0, 0, 0, 1]])
    return Volume(np.ones((80, 56, 60), np.uint8), matrix)


def test_a_field_of_view_keeps_its_margins() -> None:
    options = FieldOfView(probability=1.0, margin_mm=(5, 5), cut=0.0)
    box = options.drawn(volume(), BODY, np.random.default_rng(0))
    assert box is not None
    along = BODY @ box.axes
    assert np.allclose(along.min(axis=0) - box.low, 5) and np.allclose(box.high - along.max(axis=0), 5)
    assert box.holds(BODY).all() and not box.holds(np.full((1, 3), np.nan)).any()
    grid = box.grid((32, 24, 24))
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
    world = (box.low + corners * (box.high - box.low)) @ box.axes.T
    indices = grid.to_voxel(world)
    assert (indices >= -0.5 - 1e-6).all() and (indices <= np.array([23.5, 23.5, 31.5]) + 1e-6).all()
    assert FieldOfView().drawn(volume(), BODY, np.random.default_rng(0)) is None


def test_a_cut_takes_landmarks_away() -> None:
    options = FieldOfView(probability=1.0, margin_mm=(5, 5), cut=1.0, cut_mm=(10, 10))
    for seed in range(6):
        box = options.drawn(volume(), BODY, np.random.default_rng(seed))
        assert box is not None and 0 < (~box.holds(BODY)).sum() < 22


def test_without_landmarks_the_field_of_view_is_a_part_of_the_volume() -> None:
    box = FieldOfView(probability=1.0).drawn(volume(), np.full((22, 3), np.nan), np.random.default_rng(0))
    assert box is not None
    assert ((box.high - box.low) <= np.sort([80, 60, 56])[-1]).all() and ((box.high - box.low) >= 27).all()


def test_voxels_outside_the_volume_or_the_box_are_padding() -> None:
    whole = volume()
    turn = Rotation.from_rotvec([0.2, -0.3, 0.1]).as_matrix()
    grid = Grid.around(whole.centre_ras, turn, 3.71, (32, 24, 24))
    world = grid.to_world(
        np.stack(np.meshgrid(*(np.arange(n) for n in (24, 24, 32)), indexing="ij"), axis=-1).astype(float)
    )
    indices = world @ whole.ras_to_ijk[:3, :3].T + whole.ras_to_ijk[:3, 3]
    expected = ((indices > -0.5) & (indices < np.array([59.5, 55.5, 79.5]))).all(axis=-1).transpose(2, 1, 0)
    ours = inside_of(whole, grid, None, DEVICES[0]).numpy()
    assert np.array_equal(ours, expected) and 0.05 < ours.mean() < 0.5
    box = Box(turn, turn.T @ whole.centre_ras - 8, turn.T @ whole.centre_ras + 8)
    assert inside_of(whole, grid, box, DEVICES[0]).sum() == 4**3


# --- the group


def test_the_group_applies_what_is_drawn_and_by_default_nothing() -> None:
    assert not Distortions().active
    assert Distortions().applied(picture(), np.random.default_rng(0)).grey.equal(picture().grey)
    assert Distortions(gain=Gain(probability=1.0)).active and Distortions(field_of_view=FieldOfView(0.5)).active
    assert not Distortions(share=0.0, gain=Gain(probability=1.0)).active
    certain = Distortions(gain=Gain(probability=1.0, factor=(2, 2)), marks=Marks(probability=1.0))
    assert (certain.applied(picture(), np.random.default_rng(0)).grey >= picture().grey - 1e-6).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"blur": {"probability": 1.5}}, "probability of Blur"),
        ({"gain": {"factor": [2, 1]}}, "ranges of Gain"),
        ({"gain": {"factor": [0, 1]}}, "ranges of Gain"),
        ({"share": -1}, "share"),
        ({"field_of_view": {"cut": 2}}, "FieldOfView"),
        ({"field_of_view": {"margin_mm": [0, 5]}}, "FieldOfView"),
        ({"surroundings": {"black": 2}}, "black"),
        ({"blurr": {}}, "unknown key distortions.blurr"),
    ],
)
def test_mistakes_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Preset.from_dict({"name": "mine", "distortions": change})


def test_patches_are_not_distorted() -> None:
    views = {"whole": 0, "patch": 1}
    with pytest.raises(UserError, match="without distortions"):
        Preset.from_dict(
            {
                "name": "mine",
                "views": views,
                "run": {"cache_spacing_mm": 0.5},
                "distortions": {"gain": {"probability": 0.5}},
            }
        )
