"""Grey values as a network sees them: zero is black, the bright end of the picture is 1.

A model file says which way of finding the two ends its network was trained with. The engine and the training use the
same function.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

#: How the ends of the grey values are found. "bright-end": black is zero, bright the 99.5 percentile of the positive
#: values. "plausible": black is their 2nd percentile, bright the 99.5 percentile of those that are not nearly black.
Normalisation = Literal["bright-end", "plausible"]
#: The greatest grey value that a network sees.
BRIGHTEST = 1.5
_BRIGHT_PERCENTILE, _DARK_PERCENTILE, _ROUGH_PERCENTILE = 99.5, 2.0, 99.99
#: Greys below this fraction of the way to the rough bright end are nearly black: fluid, shadow, noise around the body.
_NEARLY_BLACK = 0.1
#: Black lies at most at this fraction of the bright end, so that a picture full of tissue keeps its greys.
_DARKEST_FRACTION = 0.5


class GreyEnds(NamedTuple):
    """The grey values that become 0 and 1, scalars on the device of the picture; both 0 without positive values."""

    dark: Tensor
    bright: Tensor


def normalised(image: Tensor, how: Normalisation = "bright-end", ends: GreyEnds | None = None) -> Tensor:
    """Grey values as the network sees them, in 0 to 1.5.

    Monotone, blind to the scale of the grey values, and zero stays zero, so padding stays black.

    Args:
        image: grey values of any shape.
        how: see `Normalisation`.
        ends: those of `image` by default. For part of a volume, pass those of the whole volume.
    """
    grey = image.float().clamp_min(0)
    dark, bright = grey_ends(grey, how) if ends is None else ends
    width = bright - dark
    divisor = torch.where(width > 0, width, torch.ones_like(width))
    above = (grey - dark).clamp_min(0) if how == "plausible" else grey
    return (above / divisor).clamp_max(BRIGHTEST)


def grey_ends(image: Tensor, how: Normalisation = "bright-end") -> GreyEnds:
    """The dark and the bright end of a picture, from its positive grey values.

    Voxels that are nearly black are left out of the search for the bright end of "plausible": however much of the
    picture is dark surroundings, the body looks the same.
    """
    values = _Ranked(image)
    if how == "bright-end":
        bright = values.percentile(_BRIGHT_PERCENTILE)
        return GreyEnds(torch.zeros_like(bright), bright)
    dark, rough = values.percentile(_DARK_PERCENTILE), values.percentile(_ROUGH_PERCENTILE)
    bright = values.percentile(_BRIGHT_PERCENTILE, above=torch.lerp(dark, rough, _NEARLY_BLACK))
    return GreyEnds(torch.minimum(dark, _DARKEST_FRACTION * bright), bright)


class _Ranked:
    """Percentiles of the positive values of a picture, as NumPy's linear ones, without synchronising with a GPU."""

    def __init__(self, image: Tensor) -> None:
        flat = image.flatten()
        self._on_cpu = flat.device.type == "cpu"
        # on a CPU a partial sort of the positive values alone is ten times faster
        self._values = flat[flat > 0] if self._on_cpu else flat.float().clamp_min(0).sort().values

    def percentile(self, percent: float, above: Tensor | None = None) -> Tensor:
        """Of the values greater than `above`, default 0; 0 if there are none."""
        if self._on_cpu:
            values = self._values if above is None else self._values[self._values > above]
            found = np.percentile(values.numpy(), percent) if len(values) else 0.0
            return torch.tensor(found, dtype=torch.float32)
        ordered = self._values
        count = (ordered > (0.0 if above is None else above)).sum()
        place = len(ordered) - count + (count - 1).clamp_min(0) * (percent / 100)
        low = place.floor().clamp_max(len(ordered) - 1)
        high = (low + 1).clamp_max(len(ordered) - 1)
        ends = ordered[torch.stack([low, high]).long()]
        return torch.where(count > 0, torch.lerp(ends[0], ends[1], (place - low).to(ends)), torch.zeros_like(ends[0]))
