"""Fill values become black; grey values that only look like one are left alone."""

from __future__ import annotations

import numpy as np
import pytest

from FetusMapV2Lib.imaging.fill_values import without_fill
from FetusMapV2Lib.imaging.volume import Volume


def sector() -> tuple[np.ndarray, np.ndarray]:
    """Greys 1-255 in a ball that touches no face, with saturated bone inside; and where the ball is."""
    k, j, i = np.indices((20, 22, 24)) - np.array([10, 11, 12]).reshape(3, 1, 1, 1)
    ball = k**2 + j**2 + i**2 < 80
    grey = np.random.default_rng(0).integers(1, 120, ball.shape)
    grey[9:12, 10:12, 11:13] = 255
    return np.where(ball, grey, 0), ball


@pytest.mark.parametrize(("fill", "dtype"), [(-1000, np.int16), (-1000.5, np.float32), (-32768, np.int16)])
def test_a_value_far_below_the_others_becomes_black(fill: float, dtype: type) -> None:
    grey, ball = sector()
    volume = without_fill(Volume(np.where(ball, grey, fill).astype(dtype), np.eye(4)))
    assert np.array_equal(volume.array, grey.astype(dtype)) and volume.array.dtype == dtype
    assert volume.warnings == (f"The fill value {fill:g} of the volume was taken for black.",)


@pytest.mark.parametrize("fill", [255, 128])
def test_a_value_that_surrounds_the_picture_becomes_black_but_not_inside(fill: int) -> None:
    grey, ball = sector()
    volume = without_fill(Volume(np.where(ball, grey, fill).astype(np.uint8), np.eye(4)))
    assert np.array_equal(volume.array, grey)
    assert (volume.array == 255).sum() == (grey == 255).sum() > 0
    assert len(volume.warnings) == 1


def test_volumes_without_fill_are_the_same_object() -> None:
    grey, _ = sector()
    tissue = np.random.default_rng(1).integers(1, 256, grey.shape)
    undershot = tissue - 6.0  # a few negative values, as interpolation leaves them
    for array in (grey.astype(np.uint8), tissue.astype(np.uint8), undershot.astype(np.float32)):
        volume = Volume(array, np.eye(4))
        assert without_fill(volume) is volume


def test_decibels_are_shifted_up() -> None:
    grey, _ = sector()
    decibels = Volume((grey / 255 * 60 - 60).astype(np.float32), np.eye(4))
    raised = without_fill(decibels)
    assert raised.array.min() == 0 and raised.array.max() == pytest.approx(60)
    assert not raised.warnings
    filled = without_fill(decibels.with_(array=np.where(grey > 0, decibels.array, np.float32(-1000))))
    assert filled.array.min() == 0 and filled.array.max() < 60 and len(filled.warnings) == 1


def test_a_constant_negative_volume_is_left_alone() -> None:
    volume = Volume(np.full((16, 16, 16), -5, np.int16), np.eye(4))
    assert not without_fill(volume).warnings
