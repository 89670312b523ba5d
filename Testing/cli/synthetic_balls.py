"""A world whose landmarks can be read off exactly: 22 balls of different grey, and a network that knows the greys."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from training.toy_cases import BODY

from FetusMapV2Lib.anatomy.body_frame import canonical_template
from FetusMapV2Lib.anatomy.landmark_shift import LandmarkShift
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.estimation.engine import PoseEngine
from FetusMapV2Lib.imaging.volume import Volume, ijk_to_ras_matrix
from FetusMapV2Lib.models.calibration import Calibration, uncalibrated
from FetusMapV2Lib.models.model_file import Model, ModelInfo

INPUT_SIZE = (80, 64, 64)
GREYS = 66 + 9 * np.arange(22)
_RADIUS_MM, _APART_MM = 6.0, 14.0


@lru_cache
def _layout() -> tuple[tuple[float, ...], ...]:
    """The toy body at twice its size, its landmarks pushed apart until the balls do not touch."""
    points = BODY * 2.0 + np.random.default_rng(3).normal(0, 0.1, BODY.shape)
    for _ in range(400):
        away = points[:, None] - points[None]
        distance = np.linalg.norm(away, axis=-1) + np.eye(22) * 1e3
        push = np.maximum(_APART_MM - distance, 0.0) / 2
        points = points + (away / distance[..., None] * push[..., None]).sum(axis=1)
    return tuple(map(tuple, points - points.mean(axis=0)))


def layout() -> np.ndarray:
    """(22, 3) RAS mm, centred."""
    return np.array(_layout())


def ball_volume(
    spacing: tuple[float, float, float] = (1.2, 1.5, 1.3), rotation: np.ndarray | None = None
) -> tuple[Volume, np.ndarray]:
    """A volume with a ball at every landmark, and their places (22, 3) RAS mm; `rotation` turns both."""
    points = layout()
    reach = np.abs(points).max(axis=0) + _RADIUS_MM + 4.0
    count = np.ceil(2 * reach / spacing).astype(int)
    first = -(count - 1) / 2 * np.asarray(spacing)
    array = np.zeros(count[::-1], np.uint8)
    for grey, centre in zip(GREYS, points, strict=True):
        low, high = (((centre - first + side * _RADIUS_MM) / spacing).astype(int) for side in (-1, 1))
        box = tuple(slice(a, b + 2) for a, b in zip(low[::-1], high[::-1], strict=True))
        k, j, i = np.meshgrid(*(np.arange(n)[part] for n, part in zip(array.shape, box, strict=True)), indexing="ij")
        local = np.stack([i, j, k], axis=-1) * spacing + first
        array[box][np.linalg.norm(local - centre, axis=-1) <= _RADIUS_MM] = grey
    turn = np.eye(3) if rotation is None else rotation
    middle = np.array([11.0, -7.0, 23.0])
    origin = middle + turn @ (-(count - 1) / 2 * np.asarray(spacing))
    volume = Volume(array, ijk_to_ras_matrix(spacing, tuple(origin), turn), "balls")
    return volume, points @ turn.T + middle


def rump_near_its_skin() -> LandmarkShift:
    """The rump lies near the end of its ball, not in its middle."""
    by_landmark = np.zeros((22, 3))
    by_landmark[default_schema().index("rump"), 2] = -0.03
    return LandmarkShift(tuple(map(tuple, by_landmark.tolist())))


class BallReader(nn.Module):
    """Logits that are high where a neighbourhood is flat and has the grey of the landmark's ball."""

    def greys(self, batch: Tensor) -> Tensor:
        """Of the volume, from a picture that shows the brightest ball."""
        return batch / batch.max().clamp_min(1e-6) * float(GREYS[-1])

    def forward(self, batch: Tensor) -> Tensor:
        grey = self.greys(batch)
        mean, square = (F.avg_pool3d(one, 3, stride=1, padding=1, count_include_pad=False) for one in (grey, grey**2))
        variance = square - mean**2
        levels = torch.as_tensor(GREYS, dtype=grey.dtype).to(grey.device)[None, :, None, None, None]
        away = (mean - levels).div_(2.0).square_()  # in place: it is as large as all heatmaps together
        return away.neg_().sub_(variance / 4.0)


class PatchReader(BallReader):
    """The same for a part of the volume; where there is no ball of a landmark, the landmark is outside."""

    def greys(self, batch: Tensor) -> Tensor:
        """Of the volume, as parts are normalised by the whole."""
        return batch * float(GREYS[-1])

    def forward(self, batch: Tensor) -> Tensor:
        return super().forward(batch) + 20.0


def model_of(
    network: nn.Module,
    *,
    views: tuple[str, ...] = ("whole",),
    patch_spacing_mm: float | None = None,
    input_size: tuple[int, int, int] = INPUT_SIZE,
    calibration: Calibration | None = None,
    decoding: str = "peaks",
) -> Model:
    """A model around any network; its template is the layout's own shape."""
    info = ModelInfo(
        name="stub", network={"kind": "stub"}, input_size=input_size, sigma=2.0, views=views,
        patch_spacing_mm=patch_spacing_mm, decoding=decoding,
    )  # fmt: skip
    template = canonical_template(layout()[None], default_schema())
    return Model(network, layout()[None], template, info, calibration or uncalibrated())  # type: ignore[arg-type]


def ball_engine(
    views: tuple[str, ...] = ("whole",),
    calibration: Calibration | None = None,
    input_size: tuple[int, int, int] = INPUT_SIZE,
) -> PoseEngine:
    """An engine that reads ball volumes, on the CPU."""
    model = model_of(BallReader(), views=views, calibration=calibration, input_size=input_size)
    return PoseEngine(model, torch.device("cpu"), "for a test")
