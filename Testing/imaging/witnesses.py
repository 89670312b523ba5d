"""Where other programs put a volume."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk  # noqa: N813

from FetusMapV2Lib.imaging.volume import LPS_TO_RAS


def itk_matrix(image: sitk.Image) -> np.ndarray:
    """IJK to RAS of the first three axes of a SimpleITK image."""
    rank = image.GetDimension()
    matrix = np.eye(4)
    directions = np.array(image.GetDirection()).reshape(rank, rank)[:3, :3]
    matrix[:3, :3] = directions * np.array(image.GetSpacing())[:3]
    matrix[:3, 3] = image.GetOrigin()[:3]
    return LPS_TO_RAS @ matrix
