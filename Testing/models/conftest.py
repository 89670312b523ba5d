"""A small model for the tests of model files."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from FetusMapV2Lib.models.model_file import Model, ModelInfo
from FetusMapV2Lib.network.unet import UNet3d


@pytest.fixture
def model() -> Model:
    torch.manual_seed(0)
    network = UNet3d(widths=(2, 3, 4))
    poses = np.random.default_rng(0).normal(size=(5, 22, 3)).astype(np.float32).astype(float)
    poses[2, 4] = np.nan
    info = ModelInfo(
        name="toy", network=dict(network.config), input_size=(32, 16, 16), sigma=2.0, views=("whole", "close"),
        decoding="limbs", anonymous_sides=True, preset={"name": "toy"},
        training={"cases": 3, "command": "fetusmap train …"},
    )  # fmt: skip
    return Model(network, poses, poses[0] / 3, info)
