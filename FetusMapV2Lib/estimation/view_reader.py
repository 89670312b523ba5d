"""Shows the network views of one volume, and reads landmarks and body frames from its heatmaps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from FetusMapV2Lib.anatomy.body_frame import BodyFrame, body_frame
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.progress import Stages
from FetusMapV2Lib.estimation.body_hypotheses import body_hypotheses
from FetusMapV2Lib.estimation.estimate import View, ViewPrediction
from FetusMapV2Lib.estimation.limb_decoding import LimbPairs, decode_limbs
from FetusMapV2Lib.estimation.network_runner import NetworkRunner
from FetusMapV2Lib.estimation.network_views import close_view, patch_grid, whole_view
from FetusMapV2Lib.estimation.patch_stitching import Stitching, cut_patch
from FetusMapV2Lib.imaging.grid import Grid, resample
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.models.model_file import Model
from FetusMapV2Lib.network.heatmap import Decoded, decode, log_probabilities
from FetusMapV2Lib.network.normalisation import normalised

Image = NDArray[np.float32]

#: Landmarks without any probability mass still have a place in the body frame.
_LEAST_WEIGHT = 1e-6


class ViewReader:
    """Views of one volume.

    Args:
        model: whose network is shown them.
        runner: of that network.
        limbs: `limb_pairs` of the model if it decodes limbs as wholes, else nothing.
        volume: of any size and orientation.

    Attributes:
        timings: seconds by stage, summed over the views so far.
        warnings: what was done because the memory of the GPU was too small.
    """

    def __init__(self, model: Model, runner: NetworkRunner, limbs: LimbPairs, volume: Volume) -> None:
        self.timings: dict[str, float] = {}
        self.warnings: list[str] = []
        self._model = model
        self._runner = runner
        self._limbs = limbs
        self._volume = volume
        self._schema = default_schema()

    def whole(self) -> ViewPrediction:
        """The whole volume as the only view."""
        return self._with_limbs("whole", whole_view(self._volume, self._model.input_size))

    def whole_with_hypotheses(self, count: int) -> ViewPrediction:
        """The whole volume, with at most `count` body frames that explain its heatmaps."""
        grid = whole_view(self._volume, self._model.input_size)
        found, logits = self._run(grid)
        with self._timed("reading heatmaps"):
            prediction = self._prediction("whole", grid, found)
            frames = body_hypotheses(self._probabilities(logits), grid, self._model.template, count)
            return replace(prediction, hypotheses=tuple(frames))

    def close(self, frame: BodyFrame) -> ViewPrediction:
        """A close view along a body frame."""
        return self._with_limbs("close", close_view(frame, self._model.input_size))

    def patches(self, spacing_mm: float, stages: Stages) -> ViewPrediction:
        """The whole volume through patches that cover it.

        Args:
            spacing_mm: voxel size of the patches.
            stages: notified of each patch.
        """
        grid = patch_grid(self._volume, self._model.input_size, spacing_mm)
        stages.reach(0.0, "preparing the volume")
        image = self._image(grid)
        stitching = Stitching(grid.shape, self._model.input_size, self._schema.count, self._model.sigma)
        count = len(stitching.places)
        for number, place in enumerate(stitching.places):
            stages.reach(0.05 + 0.9 * number / count, f"patch {number + 1} of {count}")
            with self._timed("network"):
                patch = cut_patch(image, place, self._model.input_size)
                maps = self._runner.run(patch, lambda logits: log_probabilities(logits).cpu(), self.warnings)
            with self._timed("reading heatmaps"):
                stitching.add(place, maps)
        return self._prediction("patch", grid, stitching.landmarks())

    def _with_limbs(self, view: View, grid: Grid) -> ViewPrediction:
        """A view with its limbs decoded as wholes if the model asks for that and a body is seen."""
        found, logits = self._run(grid)
        with self._timed("reading heatmaps"):
            prediction = self._prediction(view, grid, found)
            if not self._limbs or prediction.frame is None:
                return prediction
            length_mm = prediction.frame.length_mm
            found = decode_limbs(logits, found, self._model.sigma, grid, length_mm, self._limbs)
            return self._prediction(view, grid, found)

    def _run(self, grid: Grid) -> tuple[Decoded, Tensor]:
        """Landmarks decoded each by itself, and the heatmaps (22, K, J, I) where they were computed."""
        image = self._image(grid)
        with self._timed("network"):
            return self._runner.run(
                image, lambda logits: (decode(logits, sigma=self._model.sigma).cpu(), logits), self.warnings
            )

    def _image(self, grid: Grid) -> Image:
        with self._timed("resampling"):
            image = torch.from_numpy(resample(self._volume, grid))
            return normalised(image, self._model.info.normalisation).numpy()

    def _probabilities(self, logits: Tensor) -> Image:
        """Heatmaps (22, K, J, I) that each sum to one."""
        # one by one: all probabilities at once would take as much memory as the logits
        maps = np.stack([torch.softmax(one.flatten(), dim=0).view_as(one).cpu().numpy() for one in logits])
        if self._model.anonymous_sides:  # either map of a pair may hold either limb
            maps = (maps + maps[self._schema.mirror_rows]) / 2
        return maps

    def _prediction(self, view: View, grid: Grid, found: Decoded) -> ViewPrediction:
        positions = grid.to_world(found.points_ijk.double().numpy())
        mass = found.peak_mass.double().numpy()
        spread = found.spread.double().numpy() * grid.spacing_mm
        frame = body_frame(positions, np.maximum(mass, _LEAST_WEIGHT), self._model.template, self._schema)
        return ViewPrediction(view, positions, spread, mass, frame, grid=grid)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.timings[stage] = self.timings.get(stage, 0.0) + time.perf_counter() - started
