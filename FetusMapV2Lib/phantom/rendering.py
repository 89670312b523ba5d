"""From a scene to a picture of it: which renderers there are, and what each needs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.phantom.anatomy_map import build_tissue_map
from FetusMapV2Lib.phantom.drawn_shafts import drawn_shafts
from FetusMapV2Lib.phantom.label_map import build_label_map
from FetusMapV2Lib.phantom.placement import CaseGeometry
from FetusMapV2Lib.phantom.random_contrast import draw_contrast, painted, textured
from FetusMapV2Lib.phantom.second_former import draw_machine, form_image
from FetusMapV2Lib.phantom.style import VendorStyle
from FetusMapV2Lib.phantom.ultrasound import acquire
from FetusMapV2Lib.phantom.warps import draw_warp

#: Renderers that give pictures, and how often `mixed` draws each.
SHARES = {"physics": 0.45, "second": 0.2, "contrast": 0.35}
#: All that can be asked for: `mixed` draws one of the renderers, `labels` gives the label map itself.
CHOICES = (*SHARES, "mixed", "labels")
#: Random contrasts are textured on a grid no finer than this, mm: their speckle is no finer either.
_FINEST_MM = 0.6


@dataclass(frozen=True)
class Picture:
    """A picture of a scene and how it was made.

    Attributes:
        array: uint8 [k, j, i].
        record: JSON values: renderer, style, style_settings.
        landmarks: (22, 3) mm, where the picture shows them; NaN without a fetus.
        shafts: lengths and ends of the ossified shafts in the picture, see `drawn_shafts`.
        deforms: whether the scene was deformed (`warps`), so that lengths recorded of it do not hold.
    """

    array: NDArray[np.uint8]
    record: dict[str, Any]
    landmarks: NDArray[np.float64]
    shafts: dict[str, Any]
    deforms: bool = False


def chosen_renderer(name: str, generator: np.random.Generator) -> str:
    """A renderer, or `labels`, from one of `CHOICES`.

    Raises:
        InputError: there is none of that name.
    """
    if name not in CHOICES:
        raise InputError(f"no renderer {name!r}", remedy=f"Choose one of {', '.join(CHOICES)}")
    drawn = str(generator.choice(list(SHARES), p=list(SHARES.values())))
    return drawn if name == "mixed" else name


def render(
    geometry: CaseGeometry,
    shape_kji: tuple[int, int, int],
    spacing_mm: float,
    renderer: str,
    style: VendorStyle,
    seed: int,
    device: torch.device | str = "cpu",
) -> Picture:
    """The picture of a scene.

    Args:
        geometry: the scene.
        shape_kji: voxels along k, j, i.
        spacing_mm: isotropic voxel size.
        renderer: of `SHARES`, or `labels`.
        style: of the machine, for `physics`.
        seed: of everything random in the picture.
        device: of `physics` and `second`; the other renderers run on the CPU.
    """
    if renderer == "second":
        return _by_second_former(geometry, shape_kji, spacing_mm, seed, device)
    generator = torch.Generator(device=device if renderer == "physics" else "cpu").manual_seed(seed)
    record: dict[str, Any] = {"renderer": renderer, "style": renderer, "style_settings": {}}
    if renderer == "physics":
        tissue = build_tissue_map(geometry, shape_kji, spacing_mm, device)
        image = acquire(tissue, spacing_mm, geometry.probe, style, generator)
        record |= {"style": style.name, "style_settings": asdict(style)}
    elif renderer == "labels":
        image = build_label_map(geometry, shape_kji, spacing_mm, generator)
    else:
        image = _random_contrast(geometry, shape_kji, spacing_mm, generator)
    shafts = drawn_shafts(geometry.shapes, spacing_mm)
    return Picture(np.asarray(image.cpu().numpy(), dtype=np.uint8), record, geometry.landmarks, shafts)


def _by_second_former(
    geometry: CaseGeometry, shape_kji: tuple[int, int, int], spacing_mm: float, seed: int, device: torch.device | str
) -> Picture:
    """A picture of the deformed scene by the former that shares nothing with the model of beams."""
    draws = torch.Generator().manual_seed(seed)
    warp = draw_warp(np.random.default_rng(seed), (np.array(shape_kji[::-1]) - 1) * spacing_mm)
    tissue = warp.labels(build_tissue_map(geometry, shape_kji, spacing_mm, device))
    machine = draw_machine(draws)
    noise = torch.Generator(device=tissue.device).manual_seed(seed + 1)
    image = form_image(tissue, spacing_mm, machine, noise)
    record = {"renderer": "second", "style": machine.name, "style_settings": asdict(machine)}
    shafts = drawn_shafts(geometry.shapes, spacing_mm, warp.moved)
    return Picture(image.cpu().numpy(), record, warp.moved(geometry.landmarks), shafts, deforms=True)


def _random_contrast(
    geometry: CaseGeometry, shape_kji: tuple[int, int, int], spacing_mm: float, generator: torch.Generator
) -> torch.Tensor:
    """A picture with random contrast, uint8 [k, j, i]; finer voxels are interpolated."""
    shape = shape_kji
    if spacing_mm < _FINEST_MM:
        k, j, i = (max(2, round(size * spacing_mm / _FINEST_MM)) for size in shape_kji)
        shape = (k, j, i)
    step = spacing_mm * shape_kji[0] / shape[0]
    labels = build_label_map(geometry, shape, step, generator).numpy()
    draws = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
    contrast = draw_contrast(draws)
    grey = torch.from_numpy(painted(labels, contrast)).float().div_(255)
    image = textured(grey, labels, step, contrast, draws).mul_(255)
    if shape != shape_kji:
        image = F.interpolate(image[None, None], size=shape_kji, mode="trilinear", align_corners=False)[0, 0]
    return image.round_().to(torch.uint8)
