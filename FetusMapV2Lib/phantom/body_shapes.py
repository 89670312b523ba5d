"""All shapes of a fetus: skin, soft tissue, organs and bones, layer by layer.

Body frame, mm. The layers: `SKIN_LAYER` < `SOFT_LAYER` < `ORGAN_LAYER` < `BONE_LAYER`.
"""

from __future__ import annotations

import numpy as np

from FetusMapV2Lib.phantom.head_shapes import head_shapes
from FetusMapV2Lib.phantom.limb_shapes import limb_shapes
from FetusMapV2Lib.phantom.limbs import Limb
from FetusMapV2Lib.phantom.shapes import Shape
from FetusMapV2Lib.phantom.skeleton import Skeleton
from FetusMapV2Lib.phantom.trunk_shapes import trunk_shapes


def body_shapes(skeleton: Skeleton, limbs: tuple[Limb, ...], variation: np.random.Generator) -> list[Shape]:
    """All shapes of a fetus in painting order.

    Args:
        skeleton: spine, head and outline.
        limbs: arms and legs.
        variation: source of the individual's small differences.
    """
    shapes: list[Shape] = [*trunk_shapes(skeleton, variation), *head_shapes(skeleton, variation)]
    for limb in limbs:
        shapes += limb_shapes(skeleton.size, limb)
    return sorted(shapes, key=lambda shape: shape.order)
