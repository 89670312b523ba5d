"""Real 3D ultrasound volumes, where they are at hand: beside the checkout in shared/data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch

from FetusMapV2Lib.imaging.grid import Grid, resample
from FetusMapV2Lib.imaging.reading import read_volume
from FetusMapV2Lib.network.normalisation import normalised

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "real-ultrasound"
FILES = sorted(FOLDER.glob("*.mha"))


@pytest.mark.skipif(not FILES, reason="the real volumes are not beside this checkout")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_real_volume_is_read_and_sampled(path):
    volume = read_volume(path)
    image = sitk.ReadImage(str(path))
    assert volume.shape == image.GetSize()[::-1]
    assert np.allclose(volume.spacing, image.GetSpacing())
    corner = image.TransformIndexToPhysicalPoint([n - 1 for n in image.GetSize()])
    last = volume.ijk_to_ras @ [*[n - 1 for n in image.GetSize()], 1]
    assert np.allclose(last[:3] * [-1, -1, 1], corner)
    grid = Grid.fit(volume, (48, 32, 32))
    grey = normalised(torch.from_numpy(resample(volume, grid))).numpy()
    assert np.isfinite(grey).all() and 0.5 < grey.max() <= 1.5
