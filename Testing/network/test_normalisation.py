"""Normalised grey values: monotone, blind to scale, and for "plausible" also to black level, gain and surroundings."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor

from FetusMapV2Lib.network import normalisation
from FetusMapV2Lib.network.normalisation import Normalisation, grey_ends, normalised

WAYS = get_args(Normalisation)
every_way = pytest.mark.parametrize("how", WAYS)


def picture(seed: int = 0) -> Tensor:
    """Fluid around tissue, 8-bit greys, and padding on one side."""
    generator = np.random.default_rng(seed)
    grey = generator.rayleigh(4.0, (48, 40, 32))
    grey[12:36, 10:30, 8:24] = generator.rayleigh(45.0, (24, 20, 16)) + 20
    grey[:4] = 0
    return torch.from_numpy(np.clip(grey, 0, 255).round().astype(np.float32))


@every_way
def test_normalising_is_monotone_bounded_and_blind_to_scale(how: Normalisation) -> None:
    grey = picture()
    once = normalised(grey, how)
    assert once.dtype == torch.float32 and float(once.min()) == 0 and 1 < float(once.max()) <= 1.5
    torch.testing.assert_close(normalised(grey * 37, how), once, atol=1e-4, rtol=0)
    assert not once[grey == 0].any()
    order = grey.flatten().argsort()
    assert (once.flatten()[order].diff() >= 0).all()
    spoilt = grey.clone()
    spoilt[5, 5, 5] = 1e6
    assert float((normalised(spoilt, how)[6:] - once[6:]).abs().max()) < 0.1


def test_the_bright_end_is_numpys_percentile() -> None:
    grey = picture()
    dark, bright = grey_ends(grey)
    assert float(dark) == 0
    assert float(bright) == pytest.approx(np.percentile(grey[grey > 0].numpy(), 99.5))


@every_way
def test_a_part_is_normalised_by_the_ends_of_the_whole(how: Normalisation) -> None:
    grey = picture()
    torch.testing.assert_close(normalised(grey[:9], how, grey_ends(grey, how)), normalised(grey, how)[:9])


@every_way
def test_a_black_picture_stays_black(how: Normalisation) -> None:
    assert not normalised(torch.zeros(4, 4, 4), how).any()
    assert not normalised(torch.full((4, 4, 4), -3.0), how).any()
    assert bool(torch.isfinite(normalised(torch.full((4, 4, 4), 7.0), how)).all())


@every_way
def test_a_gpu_would_find_the_same_ends(how: Normalisation, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way without synchronisation, here on the CPU."""
    grey = picture()
    expected = grey_ends(grey, how)
    original = normalisation._Ranked.__init__

    def sorted_whole(self: normalisation._Ranked, image: Tensor) -> None:
        original(self, image)
        self._on_cpu, self._values = False, image.flatten().clamp_min(0).sort().values

    monkeypatch.setattr(normalisation._Ranked, "__init__", sorted_whole)
    for ours, theirs in zip(grey_ends(grey, how), expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    assert not any(float(end) for end in grey_ends(torch.zeros(8), how))


def body_greys(image: Tensor, how: Normalisation) -> Tensor:
    return normalised(image, how)[12:36, 10:30, 8:24]


def test_a_black_level_is_taken_off() -> None:
    grey = picture()
    lifted = torch.where(grey > 0, (grey + 60).clamp_max(255), grey)
    changes = {how: (body_greys(lifted, how) - body_greys(grey, how)).abs().mean() for how in WAYS}
    assert changes["plausible"] < 0.06 < changes["bright-end"]


def test_large_dark_surroundings_change_nothing() -> None:
    """The body takes less than the half per cent that the percentile of all voxels would leave above it."""
    grey = picture()
    large = torch.from_numpy(np.random.default_rng(1).rayleigh(2.0, (200, 120, 100)).astype(np.float32))
    large[60:108, 30:70, 20:52] = grey
    inside = {how: normalised(large, how)[72:96, 40:60, 28:44] for how in WAYS}
    changes = {how: (inside[how] - body_greys(grey, how)).abs().mean() for how in WAYS}
    assert changes["plausible"] < 0.06 < changes["bright-end"]
