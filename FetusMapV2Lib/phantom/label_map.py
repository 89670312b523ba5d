"""Label maps: which tissue lies where, each tissue split into clusters, and nothing outside the probe's field of view.

A label is `tissue + STRIDE * cluster`. From one label map any number of pictures can be drawn (`random_contrast`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from FetusMapV2Lib.phantom.anatomy_map import build_tissue_map
from FetusMapV2Lib.phantom.echo import smooth_field
from FetusMapV2Lib.phantom.placement import CaseGeometry
from FetusMapV2Lib.phantom.probe import field_of_view
from FetusMapV2Lib.phantom.tissues import Tissue

#: Labels of neighbouring clusters of one tissue differ by this.
STRIDE = 64
#: Clusters of a tissue: parts of it that may differ in brightness.
CLUSTERS = 4
#: About the size of a cluster, mm.
_CLUSTER_MM = 14.0


def build_label_map(
    geometry: CaseGeometry, shape_kji: Sequence[int], spacing_mm: float, generator: torch.Generator
) -> torch.Tensor:
    """The label map of a scene.

    Args:
        geometry: the scene.
        shape_kji: (k, j, i) of the grid.
        spacing_mm: voxel size (isotropic).
        generator: source of the clusters.

    Returns:
        uint8 [k, j, i]: 0 (`Tissue.OUTSIDE`) outside the field of view.
    """
    labels = build_tissue_map(geometry, shape_kji, spacing_mm)
    cells = [max(2, round(size * spacing_mm / _CLUSTER_MM)) for size in shape_kji]
    for bit in range(CLUSTERS.bit_length() - 1):
        labels += (smooth_field(shape_kji, cells, generator, "cpu") > 0).to(torch.uint8) * (STRIDE << bit)
    labels[~field_of_view(shape_kji, spacing_mm, geometry.probe)] = int(Tissue.OUTSIDE)
    return labels
