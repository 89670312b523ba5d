"""The second former and the deformed scenes that it shows: reproducible, and true to the landmarks."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from FetusMapV2Lib.phantom.anatomy_map import build_tissue_map
from FetusMapV2Lib.phantom.scene_options import SceneOptions
from FetusMapV2Lib.phantom.scenes import sample_geometry
from FetusMapV2Lib.phantom.second_former import MACHINES, draw_machine, form_image
from FetusMapV2Lib.phantom.simulated_case import simulate_case
from FetusMapV2Lib.phantom.tissues import Tissue
from FetusMapV2Lib.phantom.warps import draw_warp

SHAPE, SPACING = (70, 48, 48), 2.0


@pytest.fixture(scope="module")
def geometry():
    return sample_geometry(5, 0, np.array(SHAPE[::-1]) * SPACING)


@pytest.fixture(scope="module")
def tissue(geometry) -> torch.Tensor:
    return build_tissue_map(geometry, SHAPE, SPACING)


def test_a_case_is_a_function_of_seed_and_index() -> None:
    one, again, other = (simulate_case(5, index, SHAPE, SPACING, renderer="second") for index in (0, 0, 1))
    np.testing.assert_array_equal(one.volume.array, again.volume.array)
    np.testing.assert_array_equal(one.pose.positions, again.pose.positions)
    assert json.dumps(one.truth) == json.dumps(again.truth)
    assert (one.volume.array != other.volume.array).mean() > 0.3
    assert one.truth["renderer"] == "second" and "bones_mm" not in one.truth
    crown, rump = one.pose.positions[[0, 9]]
    assert one.truth["crl_mm"] == pytest.approx(np.linalg.norm(crown - rump), abs=1e-3)
    assert 0.02 < (one.volume.array == 0).mean() < 0.9


def test_a_uterus_without_a_fetus_has_no_landmarks_and_no_length() -> None:
    case = simulate_case(5, 0, SHAPE, SPACING, renderer="second", scene=SceneOptions("empty"))
    assert np.isnan(case.pose.positions).all() and "crl_mm" not in case.truth


def test_landmarks_move_with_the_tissue(geometry, tissue) -> None:
    warp = draw_warp(np.random.default_rng(3), (np.array(SHAPE[::-1]) - 1) * SPACING)
    moved = warp.moved(geometry.landmarks)
    assert 0.5 < np.linalg.norm(moved - geometry.landmarks, axis=1).mean() < 6
    place = torch.from_numpy(moved)
    np.testing.assert_allclose(place + warp.displacement(place), geometry.landmarks, atol=1e-4)
    # a ball around a landmark is where the landmark went
    centre = np.rint(geometry.landmarks[6] / SPACING + (np.array(SHAPE[::-1]) - 1) / 2).astype(int)
    marked = torch.zeros_like(tissue)
    marked[centre[2] - 1 : centre[2] + 2, centre[1] - 1 : centre[1] + 2, centre[0] - 1 : centre[0] + 2] = 1
    found = warp.labels(marked).nonzero().float().mean(dim=0).flip(0).numpy()
    found_mm = (found - (np.array(SHAPE[::-1]) - 1) / 2) * SPACING
    assert np.linalg.norm(found_mm - moved[6]) < 1.2 * SPACING
    missing = geometry.landmarks.copy()
    missing[4] = np.nan
    assert np.isnan(warp.moved(missing)[4]).all() and np.isfinite(warp.moved(missing)[5]).all()


@pytest.mark.parametrize("name", list(MACHINES))
def test_the_second_former_shows_fluid_dark_tissue_bright_and_a_sector(tissue, name) -> None:
    generator = torch.Generator().manual_seed(1)
    image = form_image(tissue, SPACING, draw_machine(generator, name), generator)
    seen = image > 0
    assert image.dtype == torch.uint8 and 0.1 < seen.float().mean() < 1.0
    fluid = image[seen & (tissue == int(Tissue.FLUID))].float().mean()
    wall = image[seen & (tissue == int(Tissue.UTERINE_WALL))].float().mean()
    assert fluid < 0.7 * wall
