"""The voxel size of a volume node, corrected by the user where the file gives a wrong one or none."""

from __future__ import annotations

import re
from typing import Any

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.scene.volume_sequences import frame_nodes

#: Attribute of a volume whose voxel size the user gave, or of the browser of its sequence.
_GIVEN = "FetusMapV2.VoxelSizeGiven"
#: mm; no ultrasound device has smaller or larger voxels.
_SMALLEST, _LARGEST = 0.01, 20.0


def parse_voxel_size(text: str) -> tuple[float, float, float]:
    """One or three sizes in mm from a text such as "0.4", "0.4 x 0.4 x 0.5" or "0,4 0,4 0,5".

    Raises:
        InputError: these are not one or three sizes between 0.01 and 20 mm.
    """
    numbers = re.findall(r"\d+(?:[.,]\d+)?|[.,]\d+", text)
    rest = re.sub(r"\d+(?:[.,]\d+)?|[.,]\d+|mm|[\sx×;*]", "", text)
    sizes = [float(number.replace(",", ".")) for number in numbers]
    if rest or len(sizes) not in (1, 3) or not all(_SMALLEST <= size <= _LARGEST for size in sizes):
        raise InputError(
            f"{text.strip()!r} is no voxel size",
            remedy=f"Give one number or three in mm, each from {_SMALLEST:g} to {_LARGEST:g}, such as 0.4 x 0.4 x 0.5",
        )
    return (sizes[0], sizes[0], sizes[0]) if len(sizes) == 1 else (sizes[0], sizes[1], sizes[2])


def voxel_size_text(volume_node: Any) -> str:
    """The voxel size of a volume node, e.g. "0.4 x 0.4 x 0.5"."""
    return " x ".join(f"{size:.4g}" for size in volume_node.GetSpacing())


def set_voxel_size(volume_node: Any, size: tuple[float, float, float], browser: Any = None) -> None:
    """Give a volume node another voxel size; its first voxel and its axes stay where they are.

    Args:
        volume_node: the volume.
        size: mm along its three axes.
        browser: of the sequence whose frames it shows, if it shows one; all frames get the size.
    """
    for node in [volume_node, *(frame_nodes(browser) if browser is not None else [])]:
        node.SetSpacing(*size)
    (browser if browser is not None else volume_node).SetAttribute(_GIVEN, "1")


def is_voxel_size_given(volume_node: Any, browser: Any = None) -> bool:
    """Whether the user has given the voxel size of a volume, so that 1.0 mm is no longer suspicious."""
    return bool((browser if browser is not None else volume_node).GetAttribute(_GIVEN))
