"""Label maps and the pictures of random contrast drawn from them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from FetusMapV2Lib.imaging.grid import Grid
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.phantom.label_map import STRIDE
from FetusMapV2Lib.phantom.random_contrast import (
    Contrast,
    draw_contrast,
    nearest_labels,
    painted,
    render_random_contrast,
    textured,
)
from FetusMapV2Lib.phantom.simulated_case import SimulatedCase, simulate_case
from FetusMapV2Lib.phantom.tissues import Tissue

SHAPE, SPACING = (92, 63, 62), 1.5
GRID = Grid.around(np.zeros(3), np.eye(3), 2.0, (64, 48, 48))


@pytest.fixture(scope="module")
def labels() -> SimulatedCase:
    return simulate_case(11, 2, SHAPE, SPACING, renderer="labels")


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def plain(**changes: object) -> Contrast:
    """Fluid 50, everything else 150, no effect at all."""
    greys = np.full(256, 150, np.uint8)
    greys[[int(Tissue.FLUID) + STRIDE * n for n in range(4)]] = 50
    greys[0] = 0
    settings: dict[str, object] = {
        "greys": greys, "opacity": np.zeros(256, np.float32), "beam": (0, 1), "widths_mm": (0.1, 0.1, 0.1),
        "blooms": False, "dynamic_range_db": 50.0, "speckle": "none", "shape": 1.0, "grain": 1.0, "interfaces": 0.0,
        "haze": 0.0,
    }  # fmt: skip
    return Contrast(**{**settings, **changes})  # type: ignore[arg-type]


def test_a_label_map_has_the_tissues_in_clusters_and_the_landmarks(labels: SimulatedCase) -> None:
    array = labels.volume.array
    tissue = array % STRIDE
    assert {int(t) for t in (Tissue.FLUID, Tissue.BRAIN, Tissue.BONE, Tissue.LIVER)} <= set(np.unique(tissue))
    assert len(np.unique(array[tissue == int(Tissue.MATERNAL)])) == 4
    # outside the probe's field of view there is nothing
    assert 0.03 < (array == 0).mean() < 0.4
    assert labels.pose.present.all() and labels.truth["renderer"] == "labels"


def test_the_label_map_is_the_scene_of_the_picture_with_that_seed(labels: SimulatedCase) -> None:
    seen = simulate_case(11, 2, SHAPE, SPACING, renderer="contrast")
    np.testing.assert_array_equal(seen.pose.positions, labels.pose.positions)
    assert seen.truth["crl_mm"] == labels.truth["crl_mm"] and seen.truth["renderer"] == "contrast"
    assert ((labels.volume.array == 0) <= (seen.volume.array == 0)).all()


def test_every_draw_is_another_picture_and_the_same_seed_the_same(labels: SimulatedCase) -> None:
    first, again, other = (render_random_contrast(labels.volume, GRID, random(seed)) for seed in (1, 1, 2))
    assert first.shape == GRID.shape and first.dtype == torch.float32
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert float(first.min()) >= 0 and float(first.max()) <= 255
    assert not first[torch.from_numpy(nearest_labels(labels.volume, GRID) == 0)].any()


def test_the_order_of_greys_is_not_kept_but_the_body_can_be_seen() -> None:
    drawn = [draw_contrast(random(seed)).greys[:STRIDE].astype(int) for seed in range(80)]
    soft = [int(t) for t in (Tissue.SOFT, Tissue.MUSCLE, Tissue.BRAIN, Tissue.LIVER, Tissue.SKIN)]
    bright_fluid = np.mean([greys[Tissue.FLUID] > greys[soft].mean() for greys in drawn])
    dim_bone = np.mean([greys[Tissue.BONE] < greys[soft].mean() for greys in drawn])
    assert 0.15 < bright_fluid < 0.6 and 0.15 < dim_bone < 0.6
    contrast = draw_contrast(random(3))
    assert len(set(contrast.greys[[int(Tissue.LIVER) + STRIDE * n for n in range(4)]])) > 1


def test_painting_is_a_look_up(labels: SimulatedCase) -> None:
    contrast = draw_contrast(random(5))
    np.testing.assert_array_equal(painted(labels.volume.array, contrast), contrast.greys[labels.volume.array])


def test_a_view_of_a_label_map_lies_where_the_labels_lie() -> None:
    array = np.zeros((20, 20, 20), np.uint8)
    array[...] = int(Tissue.FLUID)
    array[12:, 4:9, 7] = int(Tissue.BONE)
    volume = Volume(array, np.diag([1.0, 1.0, 1.0, 1.0]))
    grid = Grid.around(np.array([9.5, 9.5, 9.5]), np.eye(3), 1.0, (20, 20, 20))
    np.testing.assert_array_equal(nearest_labels(volume, grid), array)
    turned = grid.rotated(np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]))
    found = nearest_labels(volume, turned)
    k, j, i = np.argwhere(found == int(Tissue.BONE))[0]
    ras = turned.to_world(np.array([i, j, k]))
    assert array[tuple(np.round(ras[::-1]).astype(int))] == int(Tissue.BONE)


def test_shadows_lie_behind_what_is_opaque() -> None:
    labels = np.full((30, 10, 10), int(Tissue.SOFT), np.uint8)
    labels[10:12, 3:6, 3:6] = int(Tissue.BONE)
    opacity = np.zeros(256, np.float32)
    opacity[int(Tissue.BONE)] = 5.0
    for sign in (1, -1):
        contrast = plain(opacity=opacity, beam=(0, sign))
        image = textured(torch.full(labels.shape, 0.6), labels, 1.0, contrast, random())
        behind, before = (image[20, 4, 4], image[5, 4, 4]) if sign > 0 else (image[5, 4, 4], image[20, 4, 4])
        assert float(before) == pytest.approx(0.6, abs=1e-3)
        assert float(behind) == pytest.approx(0.6 - 10 / 50, abs=1e-3)
        assert float(image[20, 8, 8]) == pytest.approx(0.6, abs=1e-3)


@pytest.mark.parametrize(("speckle", "spread"), [("rayleigh", 5.57), ("gaussian", 5.6), ("none", 0.0)])
def test_speckle_has_the_spread_of_its_kind(speckle: str, spread: float) -> None:
    labels = np.full((40, 40, 40), int(Tissue.SOFT), np.uint8)
    contrast = plain(speckle=speckle, dynamic_range_db=100.0, widths_mm=(1.5, 2.0, 2.5))
    image = textured(torch.full(labels.shape, 0.6), labels, 1.0, contrast, random())
    assert float(image.std()) * 100 == pytest.approx(spread, rel=0.12, abs=0.01)
    assert float(image.mean()) == pytest.approx(0.6, abs=0.01)


def test_a_k_distribution_is_spikier_and_haze_lifts_the_dark() -> None:
    labels = np.full((40, 40, 40), int(Tissue.SOFT), np.uint8)
    grey = torch.full(labels.shape, 0.5)
    wide, narrow = (
        textured(grey, labels, 1.0, plain(speckle=kind, shape=0.7, dynamic_range_db=120.0), random())
        for kind in ("k", "rayleigh")
    )
    assert float(wide.std()) > 1.15 * float(narrow.std())
    assert float(textured(grey * 0, labels, 1.0, plain(haze=0.2), random()).mean()) > 0.05
