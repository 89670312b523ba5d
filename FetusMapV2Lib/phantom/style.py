"""How a vendor's machine turns echoes into greys: three styles, their jitter, and mixes of them.

Training draws single styles with jitter; the held-out mix draws blends that no training style comes to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import torch


@dataclass(frozen=True)
class VendorStyle:
    """Settings of a machine. Lengths are mm, levels dB.

    Attributes:
        name: "A", "B", "C", or a blend such as "A+B".
        spacing_mm: voxel size in which the machine stores its volumes.
        dynamic_range_db: range of echo levels mapped to the 256 greys.
        axial_mm, lateral_mm, elevational_mm: full width at half maximum of the point spread, mean over depth.
        speckle_filter: 0 (none) to 1 (homogeneous speckle fully averaged).
        filter_mm: full width at half maximum of the filter's neighbourhood.
        sharpening: strength of axial edge enhancement.
        tgc: fraction of the mean attenuation that time-gain compensation restores.
        adaptive_gain: fraction of soft tissue's attenuation that is evened out beam by beam (adaptive gain): with
            it, enhancement behind fluid is weaker; shadows of bone stay.
        tgc_error_db: residual gain error from the near to the far end of the field, dB.
        gamma: exponent of the grey curve after log compression.
        grey: median grey (0..255) of tissue, the operator's overall gain.
        noise_db: electronic noise below mean tissue level at the far end, dB (negative).
        clutter_db: side lobes and multi-path below the echoes around, dB (negative).
        specular: gain of interfaces relative to scatter.
        reverberation: amplitude of the repeated echo of an interface relative to the first.
        dropout: 0..1, share of the aperture in poor contact.
        texture_db: standard deviation of the slow variation of echogenicity within a tissue, dB.
        fluid: least RMS amplitude of the echo of fluids, relative to soft tissue: particles, haze, too much gain.
    """

    name: str = "A"
    spacing_mm: float = 0.3
    dynamic_range_db: float = 54.0
    axial_mm: float = 0.9
    lateral_mm: float = 1.45
    elevational_mm: float = 1.7
    speckle_filter: float = 0.12
    filter_mm: float = 1.5
    sharpening: float = 0.0
    tgc: float = 0.95
    adaptive_gain: float = 0.6
    tgc_error_db: float = 0.0
    gamma: float = 1.8
    grey: float = 60.0
    noise_db: float = -20.0
    clutter_db: float = -21.0
    specular: float = 1.0
    reverberation: float = 0.06
    dropout: float = 0.06
    texture_db: float = 3.2
    fluid: float = 0.0


STYLES: Mapping[str, VendorStyle] = {
    "A": VendorStyle(),
    "B": VendorStyle(
        name="B", spacing_mm=0.5, dynamic_range_db=50.0, axial_mm=0.95, lateral_mm=1.5, elevational_mm=1.75,
        speckle_filter=0.5, filter_mm=1.7, tgc=1.0, adaptive_gain=0.7, gamma=1.95, grey=54.0,
        noise_db=-25.0, clutter_db=-24.0, specular=1.2, reverberation=0.04, dropout=0.04,
    ),
    "C": VendorStyle(
        name="C", spacing_mm=0.3, dynamic_range_db=64.0, axial_mm=0.9, lateral_mm=1.5, elevational_mm=1.75,
        speckle_filter=0.08, filter_mm=1.4, sharpening=0.5, tgc=0.88, adaptive_gain=0.5, gamma=1.6, grey=66.0,
        noise_db=-19.0, clutter_db=-20.0, specular=0.8, reverberation=0.09, dropout=0.09,
    ),
}  # fmt: skip

# Half-widths of the continuous jitter around a style, in the unit of each setting.
_JITTER: Mapping[str, float] = {
    "dynamic_range_db": 4.0,
    "axial_mm": 0.10,
    "lateral_mm": 0.18,
    "elevational_mm": 0.22,
    "speckle_filter": 0.15,
    "filter_mm": 0.3,
    "sharpening": 0.2,
    "tgc": 0.08,
    "adaptive_gain": 0.1,
    "tgc_error_db": 4.0,
    "gamma": 0.18,
    "grey": 12.0,
    "noise_db": 5.0,
    "clutter_db": 4.0,
    "specular": 0.35,
    "reverberation": 0.03,
    "dropout": 0.05,
    "texture_db": 1.0,
}
# Settings that make no sense beyond these.
_LIMITS: Mapping[str, tuple[float, float]] = {
    "dynamic_range_db": (45.0, 75.0),
    "speckle_filter": (0.0, 0.9),
    "sharpening": (0.0, 1.0),
    "gamma": (1.2, 2.4),
    "grey": (35.0, 90.0),
    "specular": (0.3, 2.0),
    "reverberation": (0.0, 0.2),
    "dropout": (0.0, 0.4),
    "texture_db": (0.5, 5.0),
}


@dataclass(frozen=True)
class StyleMix:
    """What `sample_style` draws from.

    Attributes:
        weights: relative frequency of each style of `STYLES`.
        jitter: range of |jitter| in units of the jitter's half-width; (0, 1) fills the whole range.
        blend: True draws a mixture of two different styles (weights 0.35..0.65) instead of one of them.
        wide: True draws the settings of operator and patient over ranges far beyond any jitter (`_WIDE`).
    """

    weights: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(STYLES, 1.0))
    jitter: tuple[float, float] = (0.0, 1.0)
    blend: bool = False
    wide: bool = False


TRAINING_MIX = StyleMix()
#: Blends of two vendors, jittered up to and beyond what training sees of either: never trained on.
HELD_OUT_MIX = StyleMix(jitter=(0.6, 1.25), blend=True)


#: What networks of one simulator break on: gain, saturation, haze, fluid that is not black.
WIDE_MIX = StyleMix(wide=True)
# Ranges of the wide mix.
_WIDE: Mapping[str, tuple[float, float]] = {
    "grey": (18.0, 150.0),
    "dynamic_range_db": (34.0, 80.0),
    "gamma": (0.9, 2.6),
    "clutter_db": (-28.0, -8.0),
    "noise_db": (-28.0, -8.0),
    "speckle_filter": (0.0, 0.9),
    "dropout": (0.0, 0.3),
    "tgc_error_db": (-9.0, 9.0),
    "specular": (0.2, 2.2),
    "reverberation": (0.0, 0.2),
}
# Half of the wide pictures have echoing fluid, from faint to nearly as bright as the fetus.
_ECHOING = (0.04, 0.45)

#: The mixes by name.
MIXES: Mapping[str, StyleMix] = {"training": TRAINING_MIX, "held-out": HELD_OUT_MIX, "wide": WIDE_MIX}


def sample_style(generator: torch.Generator, mix: StyleMix = TRAINING_MIX) -> VendorStyle:
    """A vendor style drawn from `mix`; the same generator state gives the same style."""
    names = [name for name in STYLES if mix.weights.get(name, 0.0) > 0]
    weights = torch.tensor([float(mix.weights[name]) for name in names])
    draw = torch.rand(3 + 2 * len(_JITTER), generator=generator, device=generator.device).cpu()
    first = names[int(torch.searchsorted(weights.cumsum(0) / weights.sum(), draw[0]).clamp(max=len(names) - 1))]
    centre = STYLES[first]
    if mix.blend and len(names) > 1:
        others = [name for name in names if name != first]
        second = others[min(int(draw[1] * len(others)), len(others) - 1)]
        centre = blended(centre, STYLES[second], 0.35 + 0.3 * float(draw[2]))
    low, high = mix.jitter
    changes: dict[str, float] = {}
    for n, (name, half_width) in enumerate(_JITTER.items()):
        size = low + (high - low) * float(draw[3 + 2 * n])
        sign = 1.0 if draw[4 + 2 * n] < 0.5 else -1.0
        value = getattr(centre, name) + sign * size * half_width
        least, most = _LIMITS.get(name, (-float("inf"), float("inf")))
        changes[name] = min(max(value, least), most)
    return _with(centre, changes | (_widened(generator) if mix.wide else {}))


def _widened(generator: torch.Generator) -> dict[str, float]:
    draw = torch.rand(len(_WIDE) + 2, generator=generator, device=generator.device).tolist()
    changes = {
        name: low + (high - low) * share for (name, (low, high)), share in zip(_WIDE.items(), draw, strict=False)
    }
    echoes, level = draw[-2:]
    low, high = _ECHOING
    return changes | {"fluid": low * (high / low) ** level if echoes < 0.5 else 0.0}


def blended(first: VendorStyle, second: VendorStyle, share: float) -> VendorStyle:
    """The settings between two styles: `share` of the second; name "first+second", spacing of the nearer one."""
    changes: dict[str, float] = {}
    for setting in fields(VendorStyle):
        if setting.name not in ("name", "spacing_mm"):
            a, b = getattr(first, setting.name), getattr(second, setting.name)
            changes[setting.name] = a + share * (b - a)
    nearer = first if share < 0.5 else second
    return _with(nearer, changes, name=f"{first.name}+{second.name}")


def _with(style: VendorStyle, changes: Mapping[str, float], name: str | None = None) -> VendorStyle:
    values = {setting.name: getattr(style, setting.name) for setting in fields(VendorStyle)}
    values.update(changes)
    if name is not None:
        values["name"] = name
    return VendorStyle(**values)
