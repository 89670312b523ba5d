"""Pictures with random contrast from label maps: any grey for any tissue, then random blur, shadow and speckle.

A network that has seen every contrast cannot lean on one (Billot et al., SynthSeg, Med. Image Anal. 86:102789, 2023).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage

from FetusMapV2Lib.imaging.grid import Grid, resample
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.phantom.label_map import CLUSTERS, STRIDE
from FetusMapV2Lib.phantom.tissues import ATTENUATION, COUNT, ECHOGENICITY, Tissue

Bytes = NDArray[np.uint8]
_FWHM = 2 * math.sqrt(2 * math.log(2))

_FLUIDS = (
    Tissue.FLUID, Tissue.EXTRA_FLUID, Tissue.VENTRICLE, Tissue.ORBIT, Tissue.BLOOD, Tissue.STOMACH, Tissue.BLADDER,
)  # fmt: skip
_HARD = (Tissue.BONE, Tissue.FALX, Tissue.BOUNDARY, Tissue.MEMBRANE, Tissue.YOLK_SAC, Tissue.CHOROID)
_MATERNAL = (Tissue.MATERNAL, Tissue.UTERINE_WALL, Tissue.PLACENTA)
_GROUPS = (_FLUIDS, _HARD, _MATERNAL)  # the rest is the fetus's soft tissue
#: Least difference in grey (0-1) between the fluid and the mean of the fetus's soft tissues: less shows no body.
_LEAST_CONTRAST = 0.08
#: What the speckle of a picture may follow.
SPECKLES = ("rayleigh", "k", "gaussian", "none")


@dataclass(frozen=True, eq=False)
class Contrast:
    """How one picture shows the tissues.

    Attributes:
        greys: (256,) uint8, the grey of each label.
        opacity: (256,) float32, dB per mm that a label takes from what lies behind it; all 0 without shadows.
        beam: axis of the picture's grid (0-2) along which the sound runs, and its sign.
        widths_mm: (3,) full width at half maximum of the point spread along the grid's axes.
        blooms: whether bright structures outshine dark ones where the point spread blurs them.
        dynamic_range_db: range of echo levels between black and white.
        speckle: one of `SPECKLES`.
        shape: of the K distribution's texture; small is spiky.
        grain: standard deviation of the speckle relative to that of a fully developed one (averaging makes it less).
        interfaces: brightness (0-1) of edges that the beam meets squarely.
        haze: grey (0-1) that is added where it is dark.
    """

    greys: Bytes
    opacity: NDArray[np.float32]
    beam: tuple[int, int]
    widths_mm: tuple[float, float, float]
    blooms: bool
    dynamic_range_db: float
    speckle: str
    shape: float
    grain: float
    interfaces: float
    haze: float


def draw_contrast(generator: np.random.Generator) -> Contrast:
    """A random contrast; a third keep the usual order of echogenicities, the others do not."""
    axial = generator.uniform(0.6, 2.0)
    widths = axial * np.array([1.0, generator.uniform(1.0, 2.2), generator.uniform(1.0, 2.6)])
    beam = int(generator.integers(3)), 1 if generator.random() < 0.5 else -1
    across = [axis for axis in range(3) if axis != beam[0]]
    ordered = np.empty(3)
    ordered[[beam[0], *across]] = widths
    shadows = generator.random() < 0.5
    return Contrast(
        greys=_draw_greys(generator),
        opacity=_opacity(generator.uniform(0.5, 6.0) if shadows else 0.0),
        beam=beam,
        widths_mm=(float(ordered[0]), float(ordered[1]), float(ordered[2])),
        blooms=bool(generator.random() < 0.5),
        dynamic_range_db=float(generator.uniform(35.0, 70.0)),
        speckle=str(generator.choice(SPECKLES, p=(0.4, 0.25, 0.2, 0.15))),
        shape=float(np.exp(generator.uniform(np.log(0.6), np.log(8.0)))),
        grain=float(generator.uniform(0.15, 1.0)),
        interfaces=float(generator.uniform(0.0, 0.35) * (generator.random() < 0.5)),
        haze=float(generator.uniform(0.0, 0.25) * (generator.random() < 0.4)),
    )


def _draw_greys(generator: np.random.Generator) -> Bytes:
    """The grey of each label; fluid and fetus always differ a little."""
    while True:
        tissue = _tissue_greys(generator)
        soft = [t for t in Tissue if all(t not in group for group in _GROUPS) and t != Tissue.OUTSIDE]
        if abs(float(tissue[list(soft)].mean() - tissue[Tissue.FLUID])) > _LEAST_CONTRAST:
            break
    clusters = generator.normal(0.0, generator.uniform(0.0, 0.10), (CLUSTERS, COUNT))
    table = np.zeros((CLUSTERS, STRIDE))
    table[:, :COUNT] = np.clip(tissue + clusters, 0.0, 1.0)
    table[0, Tissue.OUTSIDE] = 0.0
    return np.round(255 * table.ravel()).astype(np.uint8)


def _tissue_greys(generator: np.random.Generator) -> NDArray[np.float64]:
    """Greys (COUNT,) 0-1 of the tissues: after their echogenicity, by groups of tissues, or wholly random."""
    kind = generator.choice(3, p=(0.35, 0.35, 0.30))
    if kind == 0:
        level = 20 * np.log10(np.maximum(ECHOGENICITY.astype(np.float64), 1e-3))
        spread = generator.uniform(0.006, 0.016)
        greys = generator.uniform(0.30, 0.60) + spread * level + generator.normal(0, 0.06, COUNT)
        if generator.random() < 0.4:  # echoing fluid
            greys[list(_FLUIDS)] = generator.uniform(0.08, 0.40) + generator.normal(0, 0.04, len(_FLUIDS))
        if generator.random() < 0.25:  # dim bone
            greys[list(_HARD)] = generator.uniform(0.15, 0.50) + generator.normal(0, 0.06, len(_HARD))
    elif kind == 1:
        spread = generator.uniform(0.03, 0.15)
        greys = np.full(COUNT, generator.uniform(0.05, 0.95))
        for group in _GROUPS:
            greys[list(group)] = generator.uniform(0.0, 1.0)
        greys += generator.normal(0, spread, COUNT)
    else:
        greys = generator.uniform(0.0, 1.0, COUNT)
    return np.asarray(np.clip(greys, 0.0, 1.0))


def _opacity(strength: float) -> NDArray[np.float32]:
    """DB per mm (256,) of the labels; `strength` is that of bone."""
    table = np.zeros((CLUSTERS, STRIDE), dtype=np.float32)
    table[:, :COUNT] = ATTENUATION * (ATTENUATION > 1.0) / ATTENUATION[Tissue.BONE] * strength
    return table.ravel()


def painted(labels: Bytes, contrast: Contrast) -> Bytes:
    """The greys [k, j, i] of a label map, without blur and speckle."""
    table = contrast.greys.tobytes()
    flat = np.frombuffer(bytearray(np.ascontiguousarray(labels)).translate(table), dtype=np.uint8)
    return flat.reshape(labels.shape)


def render_random_contrast(labels: Volume, grid: Grid, generator: np.random.Generator) -> torch.Tensor:
    """A picture of a label map on a grid, with a contrast of its own each time.

    Args:
        labels: a label map in space (`label_map`), about as fine as the grid or finer.
        grid: of the picture.
        generator: source of randomness.

    Returns:
        float32 [k, j, i], greys 0..255; 0 outside the field of view.
    """
    contrast = draw_contrast(generator)
    seen = Volume(painted(labels.array, contrast), labels.ijk_to_ras)
    grey = torch.from_numpy(resample(seen, grid)).div_(255)
    return textured(grey, nearest_labels(labels, grid), grid.spacing_mm, contrast, generator).mul_(255)


def nearest_labels(labels: Volume, grid: Grid) -> Bytes:
    """The label nearest to each sample of a grid, uint8 [k, j, i]; 0 outside the volume."""
    matrix = (labels.ras_to_ijk @ grid.grid_to_ras)[:3]
    found: Bytes = ndimage.affine_transform(
        labels.array, matrix[::-1, 2::-1], offset=matrix[::-1, 3], output_shape=grid.shape, order=0, mode="constant"
    )
    return found


@torch.no_grad()
def textured(
    grey: torch.Tensor, labels: Bytes, spacing_mm: float, contrast: Contrast, generator: np.random.Generator
) -> torch.Tensor:
    """Blur, interfaces, shadows, speckle and haze over painted greys.

    Args:
        grey: [k, j, i], 0..1, painted.
        labels: uint8 [k, j, i], the label of each sample.
        spacing_mm: of the samples.
        contrast: of the picture.
        generator: source of the speckle.

    Returns:
        [k, j, i], 0..1; 0 outside the field of view.
    """
    noise = torch.Generator().manual_seed(int(generator.integers(2**62)))
    sigma = [width / _FWHM / spacing_mm for width in contrast.widths_mm]
    out = _blurred(grey, sigma) if not contrast.blooms else _bloomed(grey, sigma, contrast.dynamic_range_db)
    if contrast.interfaces > 0:
        slope = torch.zeros_like(out)
        size = grey.shape[contrast.beam[0]]
        edge = (grey.narrow(contrast.beam[0], 1, size - 1) - grey.narrow(contrast.beam[0], 0, size - 1)).abs_()
        slope.narrow(contrast.beam[0], 1, size - 1).copy_(edge)
        out = out.add(_blurred(slope, sigma), alpha=2 * contrast.interfaces)
    if contrast.opacity.any():
        out = out - _shadow(labels, spacing_mm, contrast) / contrast.dynamic_range_db
    out = out + _speckle_db(grey.shape, sigma, contrast, noise) / contrast.dynamic_range_db
    if contrast.haze > 0:
        coarse = torch.rand((1, 1, 4, 4, 4), generator=noise)
        veil = F.interpolate(coarse, size=tuple(grey.shape), mode="trilinear", align_corners=True)[0, 0]
        out = out + contrast.haze * veil * (1 - out)
    return out.clamp_(0, 1).mul_(torch.from_numpy(labels != int(Tissue.OUTSIDE)))


def _blurred(image: torch.Tensor, sigma: list[float]) -> torch.Tensor:
    """A Gaussian blur of standard deviations (k, j, i) in samples; widths far below a sample leave an axis alone."""
    out = image[None, None]
    for axis, width in enumerate(sigma):
        if width < 0.25:
            continue
        reach = max(1, math.ceil(2.5 * width))
        at = torch.arange(-reach, reach + 1, dtype=torch.float32) / width
        kernel = torch.exp(-0.5 * at * at)
        shape, padding = [1, 1, 1, 1, 1], [0] * 6
        shape[2 + axis] = 2 * reach + 1
        padding[2 * (2 - axis)] = padding[2 * (2 - axis) + 1] = reach
        mode = "replicate" if image.shape[axis] > reach else "constant"
        out = F.conv3d(F.pad(out, padding, mode=mode), (kernel / kernel.sum()).reshape(shape))
    return out[0, 0]


def _bloomed(grey: torch.Tensor, sigma: list[float], dynamic_range_db: float) -> torch.Tensor:
    """A blur of echo amplitudes instead of greys."""
    scale = dynamic_range_db / 20 * math.log(10)
    return _blurred(torch.exp((grey - 1) * scale), sigma).clamp_(min=1e-6).log_().div_(scale).add_(1)


def _shadow(labels: Bytes, spacing_mm: float, contrast: Contrast) -> torch.Tensor:
    """Loss in dB [k, j, i] behind opaque labels along the beam."""
    axis, sign = contrast.beam
    loss = torch.from_numpy(contrast.opacity)[torch.from_numpy(labels).int()] * spacing_mm
    if sign < 0:
        return loss.flip(axis).cumsum(axis).flip(axis)
    return loss.cumsum(axis)


def _speckle_db(shape: torch.Size, sigma: list[float], contrast: Contrast, generator: torch.Generator) -> torch.Tensor:
    """Speckle [k, j, i] in dB around a mean near 0."""
    if contrast.speckle == "none":
        return torch.zeros(shape)
    parts = [torch.randn(shape, generator=generator) for _ in range(1 if contrast.speckle == "gaussian" else 2)]
    parts = [_blurred(part, sigma) for part in parts]
    parts = [part / part.std().clamp(min=1e-6) for part in parts]
    if contrast.speckle == "gaussian":
        return parts[0] * (5.6 * contrast.grain)
    power = (parts[0].square() + parts[1].square()) / 2
    level = power.clamp_(min=1e-4).log10_().mul_(10).add_(2.5)  # the mean of the logarithm is 2.5 dB below
    if contrast.speckle == "k":
        level = level + _gamma_texture_db(shape, contrast.shape, generator)
    return level * contrast.grain


def _gamma_texture_db(shape: torch.Size, order: float, generator: torch.Generator) -> torch.Tensor:
    """Slow random echo strength in dB whose power has about the variance 1/order of a K distribution's texture."""
    coarse = torch.randn((1, 1, *(max(2, n // 3) for n in shape)), generator=generator)
    fine = F.interpolate(coarse, size=tuple(shape), mode="trilinear", align_corners=True)[0, 0]
    return fine * (1.5 * 10 / math.log(10) * math.sqrt(math.log1p(1 / order)))
