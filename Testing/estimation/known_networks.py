"""Networks whose answer is known, on grids of a few thousand voxels, with an engine and a model file of such."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from cli.synthetic_balls import layout, model_of
from torch import Tensor, nn

from FetusMapV2Lib.estimation.engine import PoseEngine
from FetusMapV2Lib.models.model_file import Model, save_model
from FetusMapV2Lib.network.heatmap import gaussian_target
from FetusMapV2Lib.network.unet import UNet3d

SMALL = (32, 24, 24)
CPU = torch.device("cpu")


class FixedPoints(nn.Module):
    """Gaussian heatmaps around the same grid points, whatever the image."""

    def __init__(self, points_ijk: np.ndarray, sigma: float = 2.0) -> None:
        super().__init__()
        self.points = torch.as_tensor(points_ijk, dtype=torch.float32)
        self.sigma = sigma

    def forward(self, batch: Tensor) -> Tensor:
        return torch.log(gaussian_target(self.points, batch.shape[2:], self.sigma) + 1e-30)[None]


class OutOfMemory(nn.Module):
    """A GPU that is too small for the first `times` calls."""

    def __init__(self, inner: nn.Module, times: int) -> None:
        super().__init__()
        self.inner, self.left = inner, times

    def forward(self, batch: Tensor) -> Tensor:
        if self.left:
            self.left -= 1
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return self.inner(batch)


def body_on_the_grid(shape: tuple[int, int, int], fill: float = 0.6) -> np.ndarray:
    """The layout as (i, j, k) grid points, lying along k."""
    points = layout() * fill * shape[0] / np.ptp(layout()[:, 2])
    return points + (np.array(shape[::-1]) - 1) / 2


def fixed_engine(network: nn.Module | None = None) -> tuple[PoseEngine, np.ndarray]:
    """An engine of a network, `FixedPoints` by default, and the points of these."""
    points = body_on_the_grid(SMALL)
    return PoseEngine(model_of(network or FixedPoints(points), input_size=SMALL), CPU, "for a test"), points


def untrained_model_file(folder: Path) -> Path:
    """A file of a network of random weights, always the same."""
    torch.manual_seed(1)
    network = UNet3d(widths=(2, 3, 4))
    model = model_of(UNet3d(), input_size=SMALL)
    model = Model(network, model.poses, model.template, replace(model.info, network=dict(network.config)))
    path = folder / "Modell ß.safetensors"
    save_model(path, model)
    return path
