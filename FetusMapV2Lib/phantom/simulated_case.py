"""A whole simulated case: volume, true pose and the record of how it was made; and its files.

One seed and one index give one case; resolution and device do not change what is in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.atomic_files import write_json
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.core.publishing import published
from FetusMapV2Lib.imaging.markups import write_markups
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.imaging.writing import write_volume
from FetusMapV2Lib.phantom.placement import nominal_extent
from FetusMapV2Lib.phantom.rendering import chosen_renderer, render
from FetusMapV2Lib.phantom.scene_options import SceneOptions
from FetusMapV2Lib.phantom.scenes import sample_geometry, streams_of, torch_generator
from FetusMapV2Lib.phantom.style import MIXES, STYLES, TRAINING_MIX, StyleMix, VendorStyle, sample_style

FULL_SHAPE = (460, 313, 312)
FULL_SPACING_MM = 0.3
#: What is recorded of a scene and does not hold for a deformed one.
_OF_THE_UNDEFORMED = ("crl_mm", "bones_mm", "joint_angles_deg")
Style = VendorStyle | StyleMix | str | None


@dataclass(frozen=True, eq=False)
class SimulatedCase:
    """A simulated volume and the truth about it.

    Attributes:
        volume: uint8 [k, j, i], its centre at the RAS origin.
        pose: the landmarks, RAS mm; all missing without a fetus.
        truth: JSON values: seed, index, gestational_age_days, crl_mm, bones_mm, shafts_mm, joint_angles_deg,
            style, ...
    """

    volume: Volume
    pose: Pose
    truth: dict[str, Any]


def resolve_style(style: Style, generator: torch.Generator) -> VendorStyle:
    """A vendor style from a style, the name of one or of a mix, a mix to draw from, or None for the training mix.

    Raises:
        InputError: there is no style of that name.
    """
    if isinstance(style, VendorStyle):
        return style
    if style is None:
        return sample_style(generator, TRAINING_MIX)
    if isinstance(style, StyleMix):
        return sample_style(generator, style)
    if style in MIXES:
        return sample_style(generator, MIXES[style])
    if style not in STYLES:
        raise InputError(f"no vendor style {style!r}", remedy=f"Choose one of {', '.join([*MIXES, *STYLES])}")
    return sample_style(generator, StyleMix(weights={style: 1.0}))


def simulated_volume(array: np.ndarray, spacing_mm: float, name: str) -> Volume:
    """A volume of simulated greys [k, j, i], its centre at the RAS origin."""
    matrix = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    matrix[:3, 3] = -(np.array(array.shape[::-1]) - 1) / 2 * spacing_mm
    return Volume(array, matrix, name=name, source="simulated")


def simulate_case(
    seed: int,
    index: int,
    shape_kji: tuple[int, int, int] = FULL_SHAPE,
    spacing_mm: float = FULL_SPACING_MM,
    style: Style = None,
    device: torch.device | str = "cpu",
    scene: SceneOptions | None = None,
    gestational_age_days: float | None = None,
    renderer: str = "physics",
) -> SimulatedCase:
    """A simulated case; the same seed and index give the same scene at every resolution.

    Args:
        seed: of a set of cases.
        index: of the case within the set.
        shape_kji: voxels along k, j, i.
        spacing_mm: isotropic voxel size.
        style: vendor style, name of one ("A", "B", "C") or of a mix ("training", "held-out"), a mix, or None for the
            training mix.
        device: "cpu" or "cuda"; speckle differs between devices, the anatomy does not.
        scene: what it shows: a fetus of the current anatomy if None.
        gestational_age_days: drawn evenly between 10 and 15 weeks if None.
        renderer: "physics", "second" (another former, of a deformed scene), "contrast" (any grey for any tissue),
            "mixed" (one of them), or "labels": the volume
            then holds the label map (`label_map`) in place of a picture.

    Raises:
        InputError: the volume is too small for the fetus, or the style or the renderer is unknown.

    Examples:
        >>> case.volume.shape, case.pose.positions.shape  # of the case at the top of this page
        ((92, 63, 63), (22, 3))
        >>> case.truth["crl_mm"], case.truth["style"]
        (67.1826, 'B')
    """
    extent = nominal_extent(shape_kji, spacing_mm)
    scene = scene or SceneOptions()
    geometry = sample_geometry(seed, index, extent, scene=scene, gestational_age_days=gestational_age_days)
    streams = streams_of(seed, index)
    chosen = resolve_style(style, torch_generator(streams["style"]))
    image_seed = int(streams["image"].integers(2**62))
    by = chosen_renderer(renderer, streams["renderer"])
    picture = render(geometry, shape_kji, spacing_mm, by, chosen, image_seed, device)
    truth = {**geometry.truth, **case_record(seed, index, shape_kji, spacing_mm), **picture.record}
    truth |= {"anatomy": scene.anatomy, "shafts_mm": picture.shafts}
    if picture.deforms:
        truth = {name: value for name, value in truth.items() if name not in _OF_THE_UNDEFORMED}
        crown, rump = picture.landmarks[list(default_schema().crl_rows)]
        if scene.fetus_present:
            # Of a part of a body NaN, which JSON has not.
            length = float(np.linalg.norm(crown - rump))
            truth["crl_mm"] = round(length, 4) if np.isfinite(length) else None
    return SimulatedCase(
        simulated_volume(picture.array, spacing_mm, f"case-{index:04d}"), Pose(picture.landmarks), truth
    )


def case_record(seed: int, index: int, shape_kji: tuple[int, int, int], spacing_mm: float) -> dict[str, Any]:
    """The part of the truth that depends neither on the scene nor on the picture."""
    return {"seed": seed, "index": index, "shape_kji": list(shape_kji), "spacing_mm": spacing_mm}


def write_case(
    folder: str | PathLike[str], case: SimulatedCase, index: int, *, overwrite: bool = True
) -> tuple[Path, Path, Path]:
    """Write ``case-NNNN.nrrd``, ``case-NNNN.mrk.json`` (RAS) and ``case-NNNN.json`` (the truth), all or none.

    Returns:
        the three paths.

    Raises:
        OutputError: one of them exists and may not be overwritten, or cannot be written.
    """
    stem = f"case-{index:04d}"
    volume, landmarks, truth = (f"{stem}{suffix}" for suffix in (".nrrd", ".mrk.json", ".json"))
    with published(
        Path(folder), stem, expected=(volume, landmarks, truth), overwrite=overwrite, private=False
    ) as staging:
        write_volume(staging / volume, case.volume)
        write_markups(staging / landmarks, case.pose)
        write_json(staging / truth, case.truth)
    return Path(folder) / volume, Path(folder) / landmarks, Path(folder) / truth
