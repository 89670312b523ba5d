"""Five ways in which vendors turn the envelope into greys."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, median_filter, uniform_filter

from .fields import Field


@dataclass(frozen=True)
class Style:
    """Settings of one look.

    Attributes:
        decibels: dynamic range of the compression.
        level: grey (0..1) of soft fetal tissue before the curve.
        curve: exponent of the grey map; above 1 darkens.
        despeckle: 0 = raw speckle, 1 = strongly filtered.
        edges: strength of the edge enhancement.
        looks: number of independent speckle patterns that are averaged (compounding, persistence).
        haze: dB of clutter relative to soft tissue.
        noise: dB of the electronic noise at the far end.
        black: grey (0..1) that nothing falls below.
    """

    decibels: float
    level: float
    curve: float
    despeckle: float
    edges: float
    looks: int
    haze: float
    noise: float
    black: float


STYLES = {
    "classic": Style(62, 0.42, 1.15, 0.15, 0.2, 1, -30, -30, 0.0),
    "smooth": Style(56, 0.42, 1.0, 0.8, 0.1, 2, -30, -32, 0.02),
    "crisp": Style(50, 0.40, 1.1, 0.35, 0.9, 2, -34, -34, 0.0),
    "grainy": Style(52, 0.42, 1.2, 0.0, 0.0, 1, -26, -24, 0.0),
    "faint": Style(78, 0.42, 0.9, 0.45, 0.0, 1, -16, -18, 0.08),
}


def to_greys(envelope: Field, style: Style, reference: float, gain: float) -> Field:
    """Greys 0..255, float, of an envelope [depth, angle, sweep]; `reference` is that of soft tissue, `gain` in dB."""
    decibels = 20 * np.log10(np.maximum(envelope, 1e-12) / reference) + gain
    value = np.clip(style.level + decibels / style.decibels, -0.2, 1.25).astype(np.float32)
    value = _despeckled(value, style.despeckle)
    if style.edges:
        value += style.edges * (value - gaussian_filter(value, (1.6, 1.2, 1.2)))
    value = np.clip(value, 0, 1) ** style.curve
    return (255 * (style.black + (1 - style.black) * value)).astype(np.float32)


def _despeckled(value: Field, strength: float) -> Field:
    """A local filter that smooths where the variance is that of speckle and keeps edges (after Lee 1980)."""
    if strength <= 0:
        return value
    size = (5, 3, 3)
    mean = uniform_filter(value, size)
    spread = np.maximum(uniform_filter(value * value, size) - mean * mean, 0)
    speckle = float(np.median(spread[spread > 1e-5])) if (spread > 1e-5).any() else 1e-3
    keep = np.clip(spread / (spread + 1.5 * speckle), 0, 1)
    filtered = mean + keep * (value - mean)
    if strength > 0.6:
        filtered = median_filter(filtered, size=(3, 3, 1))
    return np.asarray((1 - strength) * value + strength * filtered, np.float32)
