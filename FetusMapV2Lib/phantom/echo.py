"""From tissue labels to the echoes along each beam: scatter, interfaces, shadows, clutter and noise.

Everything here lives on the beam grid [r, theta, phi], so it does not depend on the voxel size of the tissue map.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from FetusMapV2Lib.phantom import tissues
from FetusMapV2Lib.phantom.probe import Probe
from FetusMapV2Lib.phantom.speckle import BeamGrid, gaussian_blur, white_noise
from FetusMapV2Lib.phantom.style import VendorStyle

_FINEST_MM = 0.55  # maps finer than about this are averaged first: the beams cannot resolve more
_INTERFACE_MM = 0.8  # smoothing of the impedance before its gradient is taken
_SPECULAR = 40.0  # mm; sets a skin-fluid interface met squarely some 8 dB above the scatter of soft tissue
_DIRECTIVITY = 2.0  # exponent of the cosine between beam and normal, beyond the cosine of grad Z . beam
_LOBE_MOST = 3.0  # amplitude up to which an interface feeds the side lobes, limited by the array's apodisation
_EDGE_LOSS_DB = 3.0  # refraction at interfaces met at a grazing angle, dB per unit of ln Z across
_SOFT_LOSS = 0.7  # dB/cm/MHz; time-gain compensation is set for tissue, not for bone
#: The samples by which the gain is set: enough for a median.
EACH = (slice(None, None, 3), slice(None, None, 3), slice(None, None, 3))
_SCATTERING = 0.01  # power below which a medium counts as fluid for setting the gain


@dataclass(frozen=True, eq=False)
class Medium:
    """Acoustic properties at the samples of a beam grid, each [r, theta, phi].

    Attributes:
        power: scattered power, 1 = maternal soft tissue.
        attenuation: dB/cm/MHz, one way.
        log_impedance: natural logarithm of the impedance.
        in_box: whether every `EACH`-th sample lies in the tissue map (outside, the map's border goes on).
    """

    power: torch.Tensor
    attenuation: torch.Tensor
    log_impedance: torch.Tensor
    in_box: torch.Tensor


@dataclass(frozen=True, eq=False)
class Echoes:
    """Amplitudes before speckle, each [r, theta, phi].

    Attributes:
        scatter: RMS amplitude of everything that makes speckle (tissue, clutter, noise).
        specular: amplitude of interfaces.
        loss_db: two-way loss minus the gain that time-gain compensation gave back.
        tissue: which of every `EACH`-th sample is scattering medium inside the box: the gain is set by these.
    """

    scatter: torch.Tensor
    specular: torch.Tensor
    loss_db: torch.Tensor
    tissue: torch.Tensor


def _properties(tissue_map: torch.Tensor, block: int, fluid: float = 0.0, slab: int = 32) -> torch.Tensor:
    """Block means (1, 3, k, j, i) of scattered power, attenuation and ln(impedance) of a label map."""
    power = torch.from_numpy(tissues.ECHOGENICITY.copy()) ** 2
    power[1:].clamp_(min=fluid**2)
    table = torch.stack([
        power,
        torch.from_numpy(tissues.ATTENUATION.copy()),
        torch.from_numpy(tissues.IMPEDANCE.copy()).log(),
    ]).to(tissue_map.device)  # fmt: skip
    size = [n // block for n in tissue_map.shape]
    out = torch.empty((1, 3, *size), device=tissue_map.device)
    trimmed = tissue_map[: size[0] * block, : size[1] * block, : size[2] * block]
    for start in range(0, size[0], slab):
        stop = min(start + slab, size[0])
        labels = trimmed[start * block : stop * block].int()
        for channel in range(3):
            values = table[channel].index_select(0, labels.reshape(-1)).reshape(labels.shape)
            out[0, channel, start:stop] = F.avg_pool3d(values[None, None], block)[0, 0] if block > 1 else values
    return out


def sample_medium(
    tissue_map: torch.Tensor, spacing_mm: float, probe: Probe, grid: BeamGrid, fluid: float = 0.0
) -> Medium:
    """Acoustic properties along the beams, interpolated from a label map [k, j, i] (uint8).

    `fluid` is the least amplitude of any echo, see `VendorStyle`.
    """
    block = max(1, round(_FINEST_MM / spacing_mm))
    if min(tissue_map.shape) < 2 * block:
        block = 1
    properties = _properties(tissue_map, block, fluid)
    shape = tissue_map.shape
    points = probe.points(grid.r[:, None, None], grid.theta[None, :, None], grid.phi[None, None, :])
    # (i, j, k) mm from the box centre -> -1..1 between the outer faces of the averaged map's voxels.
    for axis in range(3):
        size = shape[2 - axis]
        used = size // block * block
        points[..., axis].add_((size - used) * spacing_mm / 2).mul_(2 / (used * spacing_mm))
    in_box = (points[EACH].abs() <= 1).all(dim=-1)
    sampled = F.grid_sample(properties, points[None], mode="bilinear", padding_mode="border", align_corners=False)
    return Medium(sampled[0, 0], sampled[0, 1], sampled[0, 2], in_box)


def smooth_field(
    shape: Sequence[int], cells: Sequence[int], generator: torch.Generator, device: torch.device | str
) -> torch.Tensor:
    """A smooth random field of this shape (3D) with about `cells` independent values along each axis; sd about 1."""
    coarse = white_noise((1, 1, *(max(2, n) for n in cells)), generator, device)
    fine = F.interpolate(coarse, size=tuple(shape), mode="trilinear", align_corners=True)[0, 0]
    return fine * 1.8  # linear interpolation averages away about two thirds of the variance in 3D


def interfaces(medium: Medium, grid: BeamGrid) -> tuple[torch.Tensor, torch.Tensor]:
    """Specular reflectivity and grazing gradient (both 1/mm), [r, theta, phi].

    The reflectivity is |grad ln Z . beam|, the reflection coefficient per length (times two), narrowed by a power
    of the cosine between beam and normal: a smooth interface sends its echo away from an oblique probe.
    """
    smooth = gaussian_blur(grid, torch.full_like(grid.widths, _INTERFACE_MM))(medium.log_impedance)
    along = _slope(smooth, 0).div_(grid.steps[0][:, None, None]).square_()
    across = _slope(smooth, 1).div_(grid.steps[1][:, None, None]).square_()
    across += _slope(smooth, 2).div_(grid.steps[2][:, None, None]).square_()
    cosine = along / (along + across).add_(1e-6)
    reflectivity = along.sqrt_().mul_(cosine.pow_(_DIRECTIVITY / 2))
    return reflectivity, across.sqrt_()


def _slope(image: torch.Tensor, axis: int) -> torch.Tensor:
    """Central difference per sample along an axis; zero at the two ends."""
    out = torch.zeros_like(image)
    size = image.shape[axis]
    inner = out.narrow(axis, 1, size - 2)
    torch.sub(image.narrow(axis, 2, size - 2), image.narrow(axis, 0, size - 2), out=inner)
    return out.mul_(0.5)


def contact(grid: BeamGrid, dropout: float, generator: torch.Generator) -> torch.Tensor:
    """Loss in dB (theta, phi) of poor contact and maternal shadows: about a share `dropout` of the aperture."""
    _, rows, columns = grid.shape
    coarse = white_noise((1, 1, 7, 6), generator, grid.r.device)
    pattern = F.interpolate(coarse, size=(rows, columns), mode="bicubic", align_corners=True)[0, 0]
    pattern = pattern * 1.25  # interpolation took a part of the unit variance
    if dropout <= 0:
        return torch.zeros_like(pattern)
    threshold = math.sqrt(2) * float(torch.erfinv(torch.tensor(1 - 2 * min(dropout, 0.49))))
    return F.softplus((pattern - threshold) * 4) * 3.0


def _reverberation(specular: torch.Tensor, strength: float, delay: int) -> torch.Tensor:
    """Repeated echoes: between probe and interface (twice the depth) and inside thin layers (`delay` samples)."""
    count = specular.shape[0]
    half = torch.arange(count, device=specular.device) // 2
    repeated = specular[half] * strength
    repeated[delay:] += specular[:-delay] * strength
    return repeated


def _side_lobes(power: torch.Tensor, grid: BeamGrid) -> torch.Tensor:
    """Power leaking from bright echoes into the neighbouring beams, some 12 mm wide."""
    coarse = F.avg_pool3d(power[None, None], (2, 4, 4), ceil_mode=True)[0, 0]
    lean = BeamGrid(
        grid.r[::2], grid.theta[::4], grid.phi[::4], grid.depth[::2],
        grid.widths[:, ::2], grid.steps[:, ::2] * torch.tensor([[2.0], [4.0], [4.0]], device=power.device),
    )  # fmt: skip
    widths = torch.tensor([[1.5], [12.0], [12.0]], device=power.device).expand(3, len(lean.r))
    wide = gaussian_blur(lean, widths)(coarse)
    return F.interpolate(wide[None, None], size=tuple(power.shape), mode="trilinear", align_corners=False)[0, 0]


def echoes(medium: Medium, probe: Probe, style: VendorStyle, grid: BeamGrid, generator: torch.Generator) -> Echoes:
    """Amplitudes along the beams after attenuation and time-gain compensation, with clutter and noise."""
    reflectivity, grazing = interfaces(medium, grid)
    two_way = 2 * probe.frequency_mhz * 0.1 * float(grid.steps[0, 0])  # dB per sample for 1 dB/cm/MHz
    soft = medium.attenuation.clamp(max=_SOFT_LOSS).mul_(two_way)
    gain = torch.cumsum(soft.mean(dim=(1, 2)), dim=0)
    loss = (medium.attenuation * two_way).add_(grazing, alpha=_EDGE_LOSS_DB * float(grid.steps[0, 0]))
    loss = loss.sub_(soft, alpha=style.adaptive_gain).cumsum_(dim=0)
    gain_error = style.tgc_error_db * (grid.depth / probe.depth_mm - 0.5)
    loss = loss.sub_((gain * (style.tgc - style.adaptive_gain) + gain_error)[:, None, None])
    depth_cells = max(2, round(probe.depth_mm / 5))
    middle = len(grid.r) // 2
    cells = [depth_cells] + [max(2, round(float(grid.steps[n, middle]) * grid.shape[n] / 6)) for n in (1, 2)]
    texture = smooth_field(grid.shape, cells, generator, grid.r.device).mul_(style.texture_db)
    level = (texture - loss).sub_(contact(grid, style.dropout, generator)[None])
    amplitude = torch.exp_(level.mul_(math.log(10) / 20))
    specular = reflectivity.mul_(amplitude).mul_(_SPECULAR * style.specular)
    if style.reverberation > 0:
        delay = max(1, round(3.0 / float(grid.steps[0, 0])))
        specular = specular + _reverberation(specular, style.reverberation, delay)
    tissue = medium.in_box & (medium.power[EACH] > _SCATTERING)
    power = amplitude.square_().mul_(medium.power)
    lobes = _side_lobes(power + specular.clamp(max=_LOBE_MOST).square_(), grid)
    noise = 10 ** ((style.noise_db + 0.5 * style.tgc * (gain - gain[-1])) / 10)
    near = 10 ** ((style.clutter_db + 14) / 10) * torch.exp(-grid.depth / 7.0)
    power = power.add_(lobes, alpha=10 ** (style.clutter_db / 10)).add_((noise + near)[:, None, None])
    return Echoes(power.sqrt_(), specular, loss, tissue)
