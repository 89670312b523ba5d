"""Speckle: the beam grid, the depth-varying point spread, the envelope of the echo field and its filtering.

Every convolution is a product with a banded matrix, one per depth: exact for widths that change with depth, and fast.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from FetusMapV2Lib.phantom.probe import Probe
from FetusMapV2Lib.phantom.style import VendorStyle

_FWHM = 2 * math.sqrt(2 * math.log(2))  # full width at half maximum of a Gaussian of unit standard deviation
_TAIL = 4.0  # standard deviations at which kernels are cut (-70 dB): a narrow band costs less
# Samples per full width. A Gaussian point spread is band-limited to -40 dB at two, so a little more is enough.
_SAMPLES_AXIAL = 2.4
_SAMPLES_LATERAL = 2.1
# Coarser voxels cannot show the point spread: it is then made as wide as so many of them, with fewer beams.
_FINE_VOXELS_MM = 0.75
_VOXELS_PER_WIDTH = 1.5


@dataclass(frozen=True, eq=False)
class BeamGrid:
    """Samples of the field of view: images over it are [r, theta, phi].

    Attributes:
        r: distances from the centre of curvature, mm; theta, phi: beam angles, rad. All equally spaced, 1D float32.
        depth: distance from the transducer's face, mm (as long as r).
        widths: (3, r) full width at half maximum of the point spread along r, theta, phi in mm.
        steps: (3, r) distance between samples along r, theta, phi in mm.
    """

    r: torch.Tensor
    theta: torch.Tensor
    phi: torch.Tensor
    depth: torch.Tensor
    widths: torch.Tensor
    steps: torch.Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        """Numbers of samples along r, theta and phi."""
        return len(self.r), len(self.theta), len(self.phi)


def point_spread(probe: Probe, style: VendorStyle, depth: torch.Tensor) -> torch.Tensor:
    """Full widths at half maximum (3, depth) in mm along r, theta, phi of the amplitude point spread.

    The pulse lengthens with depth as attenuation takes its high frequencies; the beam is narrowest at the focus
    (array) or at a fixed elevational focus. The mean over the field of view is what `style` says. For Gaussian
    point spreads the autocovariance of the intensity of fully developed speckle has this same full width
    (Wagner et al., IEEE Trans. Sonics Ultrason. 30:156, 1983).
    """
    share = depth / probe.depth_mm
    axial = 0.9 + 0.2 * share
    lateral = torch.sqrt(0.85**2 + (0.9 * (share - probe.focus_mm / probe.depth_mm)) ** 2)
    elevational = torch.sqrt(0.9**2 + (0.9 * (share - 0.55)) ** 2)
    pitch = (5.0 / probe.frequency_mhz) ** 0.25
    means = (style.axial_mm, style.lateral_mm, style.elevational_mm)
    shapes = (axial, lateral, elevational)
    rows = [pitch * mean * shape / shape.mean() for mean, shape in zip(means, shapes, strict=True)]
    return torch.stack(rows)


def beam_grid(
    probe: Probe, style: VendorStyle, device: torch.device | str = "cpu", spacing_mm: float = 0.0
) -> BeamGrid:
    """The grid on which this machine forms its image.

    It depends on probe and style only, unless the voxels of the image are too coarse to show the point spread.
    """
    least = _VOXELS_PER_WIDTH * spacing_mm if spacing_mm > _FINE_VOXELS_MM else 0.0
    depth = torch.linspace(0, probe.depth_mm, 64)
    widths = point_spread(probe, style, depth).clamp(min=least)
    count_r = math.ceil(probe.depth_mm / float(widths[0].min()) * _SAMPLES_AXIAL) + 1
    reach = torch.stack([depth + probe.radius_mm, depth + probe.sweep_radius_mm])
    finest = (widths[1:] / reach).amin(dim=1) / _SAMPLES_LATERAL
    count_theta = math.ceil(2 * probe.half_lateral_rad / float(finest[0])) + 1
    count_phi = math.ceil(2 * probe.half_elevation_rad / float(finest[1])) + 1
    depth = torch.linspace(0, probe.depth_mm, count_r)
    theta = torch.linspace(-probe.half_lateral_rad, probe.half_lateral_rad, count_theta)
    phi = torch.linspace(-probe.half_elevation_rad, probe.half_elevation_rad, count_phi)
    steps = torch.stack([
        torch.full_like(depth, float(depth[1])),
        (depth + probe.radius_mm) * float(theta[1] - theta[0]),
        (depth + probe.sweep_radius_mm) * float(phi[1] - phi[0]),
    ])  # fmt: skip
    return BeamGrid(
        r=(depth + probe.radius_mm).to(device),
        theta=theta.to(device),
        phi=phi.to(device),
        depth=depth.to(device),
        widths=point_spread(probe, style, depth).clamp(min=least).to(device),
        steps=steps.to(device),
    )


@dataclass(frozen=True, eq=False)
class Bands:
    """Banded matrices that blur along theta and phi, one per depth ((r, n, n)), and along r ((r, r)).

    `reach` is the half-width of the bands along r, theta and phi in samples.
    """

    r: torch.Tensor
    theta: torch.Tensor
    phi: torch.Tensor
    reach: tuple[int, int, int]

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        """Blur an image [r, theta, phi]."""
        out = torch.empty_like(image)
        for rows, near in _blocks(image.shape[2], self.reach[2]):
            out[:, :, rows] = torch.matmul(image[:, :, near], self.phi[:, near, rows])
        across = torch.empty_like(image)
        for rows, near in _blocks(image.shape[1], self.reach[1]):
            across[:, rows] = torch.matmul(self.theta[:, rows, near], out[:, near])
        across, out = across.flatten(1), out.flatten(1)
        for rows, near in _blocks(image.shape[0], self.reach[0]):
            torch.matmul(self.r[rows, near], across[near], out=out[rows])
        return out.reshape(image.shape)


def _blocks(count: int, reach: int, size: int = 48) -> list[tuple[slice, slice]]:
    """Blocks of outputs and the inputs that a band of this half-width needs for them."""
    starts = range(0, count, size)
    return [
        (slice(start, min(start + size, count)), slice(max(0, start - reach), min(start + size + reach, count)))
        for start in starts
    ]


def gaussian_blur(grid: BeamGrid, widths: torch.Tensor, *, keep_constant: bool = True) -> Bands:
    """A convolution with Gaussians of full widths (3, r) mm; the output at a depth uses that depth's widths.

    Beyond the rim the weights are cut off: rows then still sum to one with `keep_constant`, else what lies outside
    counts as zero.
    """
    sigma = widths / _FWHM / grid.steps
    r, theta, phi = grid.shape
    row = torch.arange(r, device=sigma.device, dtype=torch.float32)
    along = _gaussian(row[:, None] - row[None, :], sigma[0])
    if keep_constant:
        along = along / along.sum(dim=1, keepdim=True)
    across = [_bands(s, n, keep_constant) for s, n in ((sigma[1], theta), (sigma[2], phi))]
    reach = [math.ceil(float(s.max()) * _TAIL) for s in sigma]
    return Bands(along, across[0], across[1].transpose(1, 2), (reach[0], reach[1], reach[2]))


def _bands(sigma: torch.Tensor, count: int, keep_constant: bool) -> torch.Tensor:
    """Gaussian convolution matrices (r, count, count), sigma (r,) in samples."""
    offset = torch.arange(1 - count, count, device=sigma.device, dtype=torch.float32)
    matrices = _gaussian(offset[None, :], sigma).unfold(1, count, 1).flip(1)
    return matrices / matrices.sum(dim=2, keepdim=True) if keep_constant else matrices


def _gaussian(offset: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Densities (r, n) of Gaussians of sigma (r,) at offsets (r or 1, n)."""
    scaled = offset / sigma[:, None]
    kernel = torch.exp(scaled**2 * -0.5)
    return torch.where(scaled.abs() <= _TAIL, kernel, 0.0) / (sigma * math.sqrt(2 * math.pi))[:, None]


def noise_gain(grid: BeamGrid) -> torch.Tensor:
    """(r,) factor that makes white noise of unit variance leave the point spread with unit variance."""
    sigma = grid.widths / _FWHM / grid.steps
    return torch.sqrt(2 * sigma * math.sqrt(math.pi)).prod(dim=0)


def white_noise(shape: tuple[int, ...], generator: torch.Generator, device: torch.device | str) -> torch.Tensor:
    """Standard normal numbers from the generator's own device, moved to `device`."""
    return torch.randn(shape, generator=generator, device=generator.device).to(device)


def speckle_envelope(
    scatter: torch.Tensor, coherent: torch.Tensor | None, grid: BeamGrid, generator: torch.Generator
) -> torch.Tensor:
    """Envelope [r, theta, phi] of scatterers and interfaces seen through the point spread.

    Args:
        scatter: RMS amplitude of the scatterers' echo, [r, theta, phi]; 1 gives an envelope of mean square 1.
        coherent: amplitude of specular echoes, added in phase, or None.
        grid: the beam grid.
        generator: source of the complex Gaussian scatterers (fully developed speckle, so that a homogeneous
            region has a Rayleigh envelope with mean/sd = 1.91).
    """
    # Half of the power in each quadrature.
    strength = scatter * (noise_gain(grid) / math.sqrt(2))[:, None, None]
    spread = gaussian_blur(grid, grid.widths, keep_constant=False)
    power: torch.Tensor | None = None
    for quadrature in range(2):
        echo = white_noise(tuple(scatter.shape), generator, scatter.device).mul_(strength)
        if quadrature == 0 and coherent is not None:
            echo += coherent
        part = spread(echo).square_()
        power = part if power is None else power.add_(part)
    assert power is not None
    return power.sqrt_()


def adaptive_filter(level_db: torch.Tensor, grid: BeamGrid, width_mm: float, strength: float) -> torch.Tensor:
    """Reduce speckle of a log-compressed image [r, theta, phi] in dB, keeping edges (Lee, IEEE PAMI 2:165, 1980).

    Fully developed speckle has a standard deviation of 5.57 dB after log compression; where the local variance is
    no larger the pixel moves by `strength` (0..1) towards the local mean, less where it is.
    """
    if strength <= 0:
        return level_db
    average = gaussian_blur(grid, torch.full_like(grid.widths, width_mm))
    mean = average(level_db)
    spread = average((level_db - mean).square_())
    speckle = 5.57**2
    share = (speckle / spread.clamp_(min=speckle)).mul_(strength)
    return torch.lerp(level_db, mean, share)
