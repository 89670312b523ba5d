"""How long the ossified shafts of a scene really are, and where they end, as they are drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from FetusMapV2Lib.phantom.shapes import Array, Shape, Tube, unit


def shaft_tag(side: str, kind: str) -> str:
    """The tag of the shaft of a thigh or an upper arm: the key of the schema's bone, such as "left_femur"."""
    return f"{side}_{'humerus' if kind == 'arm' else 'femur'}"


def drawn_shafts(
    shapes: Sequence[Shape], spacing_mm: float, moved: Callable[[Array], Array] | None = None
) -> dict[str, dict[str, Any]]:
    """The shafts of femora and humeri among the shapes of a scene, by bone; of twins those of the one drawn last.

    Args:
        shapes: in the volume.
        spacing_mm: of the voxels that they are drawn into: thin bones become as thick as these allow.
        moved: where a deformation takes points (N, 3), if there is one.

    Returns:
        JSON values of each: "length" in mm along its middle line, with the round ends that it is drawn with, and
        "ends", two points in mm, the one at shoulder or hip first.
    """
    return {shape.tag: _shaft(shape, spacing_mm, moved) for shape in shapes if _is_shaft(shape)}


def _is_shaft(shape: Shape) -> bool:
    return isinstance(shape, Tube) and shape.tag.endswith(("_femur", "_humerus"))


def _shaft(shape: Shape, spacing_mm: float, moved: Callable[[Array], Array] | None) -> dict[str, Any]:
    assert isinstance(shape, Tube)
    line = shape.points if moved is None else moved(shape.points)
    first, *_, last = shape.drawn_radii(spacing_mm)
    ends = np.stack([line[0] + first * unit(line[0] - line[1]), line[-1] + last * unit(line[-1] - line[-2])])
    length = float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum() + first + last)
    return {"length": round(length, 4), "ends": [[round(float(value), 4) for value in end] for end in ends]}
