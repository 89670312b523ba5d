"""Greys along rays against those that scipy interpolates point by point."""

from __future__ import annotations

import numpy as np
import pytest

from FetusMapV2Lib.imaging.sampling import GreyReader, greys_at
from FetusMapV2Lib.imaging.volume import Volume


def volume(*shape: int) -> Volume:
    greys = np.random.default_rng(5).integers(0, 255, shape).astype(np.uint8)
    matrix = np.array([[0.5, 0.1, 0, -3], [-0.1, 0.6, 0, 2], [0, 0.05, 0.7, 1], [0, 0, 0, 1]], dtype=float)
    return Volume(greys, matrix)


@pytest.mark.parametrize("shape", [(9, 11, 13), (9, 1, 13), (1, 11, 1)])
def test_greys_along_rays_are_those_of_their_points(shape):
    shown = volume(*shape)
    draws = np.random.default_rng(7)
    frame = np.eye(4)
    frame[:3, :3], frame[:3, 3] = np.linalg.qr(draws.normal(size=(3, 3)))[0], [0.3, -0.2, 0.1]
    middle = shown.ijk_to_ras[:3] @ [*(np.array(shape[::-1]) - 1) / 2, 1]
    starts = (middle - frame[:3, 3]) @ frame[:3, :3] + draws.normal(0, 0.05, (4, 5, 3))
    reaches = draws.normal(0, 1, (4, 5, 3)) * np.geomspace(0.1, 4, 4)[:, None, None]
    shares = draws.uniform(-1, 2, (4, 5, 6))
    points = (starts[..., None, :] + shares[..., None] * reaches[..., None, :]) @ frame[:3, :3].T + frame[:3, 3]
    expected = greys_at(shown, points)
    assert GreyReader(shown, frame).along(starts, reaches, shares) == pytest.approx(expected, abs=1e-9, nan_ok=True)
    assert 0 < np.isfinite(expected).sum() < expected.size


def test_the_nearest_voxels_are_those_around_the_places():
    shown = volume(4, 5, 6)
    reader = GreyReader(shown, shown.ijk_to_ras)
    starts, reaches = np.zeros((1, 3)), np.array([[1.0, 1.0, 1.0]])
    found = reader.along(starts, reaches, np.array([[-0.6, -0.4, 0.4, 0.6, 2.9, 3.4, 3.6]]), nearest=True)
    diagonal = [float(shown.array[index, index, index]) for index in (0, 0, 1, 3, 3)]
    assert found[0].tolist() == pytest.approx([np.nan, *diagonal, np.nan], nan_ok=True)
