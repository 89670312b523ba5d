"""Landmarks of the skin are put at its edge, and left alone where the picture shows none."""

from __future__ import annotations

import numpy as np
import pytest
from anatomy.bodies import standing_body
from scipy.spatial.transform import Rotation

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.anatomy.skin_landmarks import outward_directions, skin_rows
from FetusMapV2Lib.imaging.skin_surface import landmarks_on_skin
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.phantom.simulated_case import simulate_case

ROWS = list(skin_rows())
CREST, RUMP = default_schema().crl_rows


def balls(matrix: np.ndarray, fluid: int = 20, size: int = 130) -> tuple[Volume, np.ndarray]:
    """Balls of speckled tissue whose surfaces go through the landmarks of the skin of a large body, and this body."""
    body = 1.7 * standing_body()
    inwards = -outward_directions(body)
    grid = np.moveaxis(np.indices((size,) * 3)[::-1], 0, -1) @ matrix[:3, :3].T + matrix[:3, 3]
    tissue = np.zeros(grid.shape[:3], dtype=bool)
    for row in ROWS:
        tissue |= np.linalg.norm(grid - (body[row] + 9.0 * inwards[row]), axis=-1) < 9.0
    speckle = np.random.default_rng(2).rayleigh(0.8, tissue.shape)
    greys = np.clip(np.where(tissue, 140, fluid) * (0.8 + 0.2 * speckle), 0, 255).astype(np.uint8)
    return Volume(greys, matrix), body


def oblique_grid(spacing_mm: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec([0.3, 0.5, -0.4]).as_matrix() * spacing_mm
    matrix[:3, 3] = -matrix[:3, :3] @ np.full(3, 64.5)
    return matrix


@pytest.mark.parametrize("off_mm", [-2.5, -1.0, 0.0, 1.0, 2.5])
def test_landmarks_beside_the_skin_are_put_on_it(off_mm: float) -> None:
    volume, body = balls(oblique_grid(0.9))
    beside = body.copy()
    beside[ROWS] += off_mm * outward_directions(body)[ROWS]
    placed = landmarks_on_skin(volume, beside)
    assert np.linalg.norm(placed[ROWS] - body[ROWS], axis=1).max() < 0.8
    assert not np.isfinite(np.delete(placed, ROWS, axis=0)).any()


def test_where_no_edge_is_seen_no_skin_is() -> None:
    volume, body = balls(oblique_grid(0.9), fluid=140)  # it touches what is as bright
    assert not np.isfinite(landmarks_on_skin(volume, body)).any()
    volume.array[:] = 90
    assert not np.isfinite(landmarks_on_skin(volume, body)).any()


def test_an_edge_far_from_the_landmark_is_not_its_skin() -> None:
    volume, body = balls(oblique_grid(0.9))
    body[ROWS] -= 6.0 * outward_directions(body)[ROWS]
    assert not np.isfinite(landmarks_on_skin(volume, body)).any()


def test_at_the_border_of_the_volume_what_lies_beyond_is_not_fluid() -> None:
    matrix = np.diag([0.9, 0.9, 0.9, 1.0])
    matrix[:3, 3] = -58.0
    volume, body = balls(matrix)
    ends_at_the_crown = volume.with_(array=volume.array[: round((body[CREST, 2] + 58.0) / 0.9) + 1])
    placed = landmarks_on_skin(ends_at_the_crown, body)
    assert not np.isfinite(placed[CREST]).any() and np.isfinite(placed[RUMP]).all()


@pytest.mark.parametrize("renderer", ["physics", "second"])
def test_in_simulated_pictures_the_skin_is_found_wherever_the_search_begins(renderer: str) -> None:
    case = simulate_case(31, 0, (172, 118, 117), 0.8, style="A", renderer=renderer)
    truth, out = case.pose.positions, outward_directions(case.pose.positions)
    for off_mm in (-2.0, 2.0):
        beside = truth.copy()
        beside[ROWS] += off_mm * out[ROWS]
        placed = landmarks_on_skin(case.volume, beside)
        assert np.abs(((placed - truth) * out)[ROWS].sum(axis=1)).max() < 0.6
        length, right = (float(np.linalg.norm(one[CREST] - one[RUMP])) for one in (placed, truth))
        assert length == pytest.approx(right, abs=0.8)
