"""The ultrasound image of a tissue map: echoes, speckle, log compression, filter and scan conversion to 8 bit.

A convolutional model in the probe's toroidal space (Bamber and Dickinson, Phys. Med. Biol. 25:463, 1980).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.phantom.echo import EACH, Echoes, echoes, sample_medium
from FetusMapV2Lib.phantom.probe import Probe, box_coordinates, inside
from FetusMapV2Lib.phantom.speckle import BeamGrid, adaptive_filter, beam_grid, speckle_envelope
from FetusMapV2Lib.phantom.style import VendorStyle

_SLAB_VOXELS = 2_000_000  # scan conversion goes slab by slab: the memory of one, not of the volume


@torch.no_grad()
def acquire(
    tissue_map: torch.Tensor, spacing_mm: float, probe: Probe, style: VendorStyle, generator: torch.Generator
) -> torch.Tensor:
    """The 8-bit image of a tissue map as this probe and machine would show it.

    The speckle is made on a grid that depends on probe and style only: the same generator state gives the same
    image at every voxel size of the same map up to 0.75 mm. Coarser voxels get a wider point spread and fewer beams.

    Args:
        tissue_map: labels of `tissues.Tissue`, uint8 [k, j, i], on CPU or CUDA.
        spacing_mm: isotropic voxel size of map and image, mm.
        probe: where the probe stands, relative to the centre of the map.
        style: the machine's settings (its `spacing_mm` is advice to the caller, not used here).
        generator: source of randomness, on any device.

    Returns:
        uint8 [k, j, i] on the map's device, 0 outside the field of view.

    Raises:
        UserError: the map is not a 3D uint8 tensor, or the spacing is not positive.
    """
    envelope, grid, parts = acquire_envelope(tissue_map, spacing_mm, probe, style, generator)
    grey = compress(envelope, parts.tissue, grid, style)
    del envelope, parts
    return scan_convert(grey, tissue_map.shape, spacing_mm, probe)


@torch.no_grad()
def acquire_envelope(
    tissue_map: torch.Tensor, spacing_mm: float, probe: Probe, style: VendorStyle, generator: torch.Generator
) -> tuple[torch.Tensor, BeamGrid, Echoes]:
    """The envelope [r, theta, phi] before log compression, its beam grid, and the amplitudes it was made from."""
    if tissue_map.ndim != 3 or tissue_map.dtype != torch.uint8 or min(tissue_map.shape) < 2:
        raise UserError(
            "the tissue map is not a 3D array of 8-bit labels",
            where=f"{tuple(tissue_map.shape)} {tissue_map.dtype}",
            remedy="pass a uint8 tensor [k, j, i]",
        )
    if not spacing_mm > 0:
        raise UserError("the voxel size is not positive", where=f"{spacing_mm} mm", remedy="pass it in mm")
    grid = beam_grid(probe, style, tissue_map.device, spacing_mm)
    medium = sample_medium(tissue_map, spacing_mm, probe, grid, style.fluid)
    parts = echoes(medium, probe, style, grid, generator)
    return speckle_envelope(parts.scatter, parts.specular, grid, generator), grid, parts


def compress(envelope: torch.Tensor, tissue: torch.Tensor, grid: BeamGrid, style: VendorStyle) -> torch.Tensor:
    """Grey levels (float 0..255, [r, theta, phi]) of an envelope: filter, edge enhancement, gain, log, gamma.

    The operator's gain is imitated: the median of tissue gets the style's grey.
    """
    level = torch.log10(envelope.clamp(min=1e-6)).mul_(20)
    level = adaptive_filter(level, grid, style.filter_mm, style.speckle_filter)
    if style.sharpening > 0:
        level = _sharpened(level, style.sharpening)
    samples = level[EACH]
    chosen = samples[tissue] if bool(tissue.any()) else samples
    median = chosen.median()
    middle = (style.grey / 255) ** (1 / style.gamma)
    share = (level - median).div_(style.dynamic_range_db).add_(middle).clamp_(0, 1)
    return share.pow_(style.gamma).mul_(255)


def _sharpened(level: torch.Tensor, strength: float) -> torch.Tensor:
    """Axial unsharp mask over two samples, bounded so that speckle holes do not become outliers."""
    out = level.clone()
    detail = level[2:-2] - (level[:-4] + level[4:]) / 2
    out[2:-2] += strength * 0.5 * detail.clamp_(-8, 8)
    return out


def scan_convert(grey: torch.Tensor, shape: Sequence[int], spacing_mm: float, probe: Probe) -> torch.Tensor:
    """uint8 [k, j, i] of a beam-space image (float 0..255, [r, theta, phi]); 0 outside the field of view."""
    size_k, size_j, size_i = shape
    out = torch.zeros((size_k, size_j, size_i), dtype=torch.uint8, device=grey.device)
    slab = max(1, _SLAB_VOXELS // (size_j * size_i))
    for start in range(0, size_k, slab):
        stop = min(start + slab, size_k)
        phi, theta, r = box_coordinates(shape, spacing_mm, probe, grey.device, start, stop)
        seen = inside(phi, theta, r)
        where = torch.stack([phi, theta, r], dim=-1)
        values = F.grid_sample(grey[None, None], where[None], padding_mode="border", align_corners=True)[0, 0]
        # A grey of 0 is kept for what the probe does not see.
        out[start:stop] = values.round_().clamp_(1, 255).mul_(seen).to(torch.uint8)
    return out
