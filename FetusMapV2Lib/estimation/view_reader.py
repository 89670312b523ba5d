"""Shows the network views of one volume, and reads landmarks and body frames from its heatmaps."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from FetusMapV2Lib.anatomy.body_frame import BodyFrame, body_frame
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.progress import Stages
from FetusMapV2Lib.estimation.body_hypotheses import frames_of, likely_frames
from FetusMapV2Lib.estimation.device_volume import DeviceVolume
from FetusMapV2Lib.estimation.estimate import View, ViewPrediction
from FetusMapV2Lib.estimation.host_copy import host_copies
from FetusMapV2Lib.estimation.limb_decoding import LimbPairs, decode_limbs, limb_peaks, second_peaks
from FetusMapV2Lib.estimation.network_runner import NetworkRunner
from FetusMapV2Lib.estimation.network_views import close_view, patch_grid, tight_view, whole_view
from FetusMapV2Lib.estimation.patch_stitching import Stitching, cut_patch
from FetusMapV2Lib.estimation.second_body import frame_beside
from FetusMapV2Lib.imaging.grid import Grid
from FetusMapV2Lib.models.model_file import Model
from FetusMapV2Lib.network.heatmap import Decoded, decode_maps, log_probabilities, probabilities

#: Landmarks without any probability mass still have a place in the body frame.
_LEAST_WEIGHT = 1e-6


@dataclass(frozen=True, eq=False)
class _Seen:
    """What is read off the heatmaps of a view where they are.

    Attributes:
        landmarks: each decoded by itself.
        peaks: of the limbs (`limb_peaks`); none if they are not decoded as wholes.
        frames: body hypotheses (`likely_frames`); none where no one asks.
        features: see `NetworkRunner.features`.
    """

    landmarks: Decoded
    peaks: Tensor
    frames: Tensor
    features: Tensor

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All of it, for one copy to the CPU."""
        found = self.landmarks
        return found.points_ijk, found.peak_mass, found.spread, self.peaks, self.frames, self.features


class ViewReader:
    """Views of one volume.

    Heatmaps are read where they are computed; the CPU waits once per view, for the little that is read off them.

    Args:
        model: whose network is shown them.
        runner: of that network.
        limbs: `limb_pairs` of the model if it decodes limbs as wholes, else nothing.
        volume: where the network runs.

    Attributes:
        timings: seconds by stage, summed over the views so far. What a GPU does counts for the stage that waits for it,
            unless `NetworkRunner.exact_timings` is set.
        warnings: what was done because the memory of the GPU was too small.
    """

    def __init__(self, model: Model, runner: NetworkRunner, limbs: LimbPairs, volume: DeviceVolume) -> None:
        self.timings: dict[str, float] = {}
        self.warnings: list[str] = []
        self._model = model
        self._runner = runner
        self._limbs = limbs
        self._volume = volume
        self._schema = default_schema()
        self._inner = 0.0  # seconds of the stages inside the present one
        self._whole: tuple[Tensor, Grid] | None = None  # heatmaps that the first hypotheses were read off, and grid

    def whole(self) -> ViewPrediction:
        """The whole volume as the only view."""
        return self._views("whole", [self._whole_grid()], self._limbs)[0]

    def whole_with_hypotheses(self, count: int) -> ViewPrediction:
        """The whole volume, with at most `count` body frames that explain its heatmaps."""
        return self._views("whole", [self._whole_grid()], (), count)[0]

    def turned_with_hypotheses(self, grids: Sequence[Grid], count: int) -> list[ViewPrediction]:
        """The whole volume on grids that are turned (`turned_views`), with at most `count` body frames each."""
        return self._views("whole", grids, (), count)

    def frame_beside(self, first: ViewPrediction) -> tuple[BodyFrame, float] | None:
        """The likeliest body beside that of a view, and how clear it is (`second_body.frame_beside`).

        None if `whole_with_hypotheses` has not been called.
        """
        if self._whole is None:
            return None
        with self._timed("reading heatmaps"):
            return frame_beside(*self._whole, first, self._model.template)

    def close(self, frame: BodyFrame) -> ViewPrediction:
        """A close view along a body frame."""
        return self.close_views([frame])[0]

    def close_views(self, frames: Sequence[BodyFrame]) -> list[ViewPrediction]:
        """A close view along each of some body frames; a GPU computes them one after the other without waiting."""
        return self._views("close", [close_view(frame, self._model.input_size) for frame in frames], self._limbs)

    def tight(self, close: ViewPrediction) -> ViewPrediction:
        """A tight view around the landmarks of a close view, which has a body frame."""
        assert close.frame is not None
        return self._views("tight", [tight_view(close.frame, close.positions, self._model.input_size)], self._limbs)[0]

    def surroundings(self, grid: Grid) -> ViewPrediction:
        """The surroundings of a body (`surroundings_view`)."""
        return self._views("surroundings", [grid], ())[0]

    def patches(self, spacing_mm: float, stages: Stages) -> ViewPrediction:
        """The whole volume through patches that cover it.

        Args:
            spacing_mm: voxel size of the patches.
            stages: notified of each patch.
        """
        with self._timed("resampling"):
            size = self._model.input_size
            grid = patch_grid(self._volume.volume, size, spacing_mm, self._volume.profiles())
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

    def _whole_grid(self) -> Grid:
        with self._timed("resampling"):
            return whole_view(self._volume.volume, self._model.input_size, self._volume.profiles())

    def _views(self, view: View, grids: Sequence[Grid], limbs: LimbPairs, hypotheses: int = 0) -> list[ViewPrediction]:
        """Views on some grids, with limbs decoded as wholes where a body is seen, and body hypotheses."""
        seen = [self._seen(grid, limbs, hypotheses) for grid in grids]
        with self._timed("reading heatmaps"):
            copies = iter(host_copies([tensor for one in seen for tensor in one.tensors]))
            return [
                self._read(view, grid, [next(copies) for _ in one.tensors])
                for one, grid in zip(seen, grids, strict=True)
            ]

    def _seen(self, grid: Grid, limbs: LimbPairs, hypotheses: int) -> _Seen:
        """What the network sees on a grid, still on its device."""
        model, image = self._model, self._image(grid)

        def read(logits: Tensor) -> _Seen:
            with self._timed("reading heatmaps"):
                maps = probabilities(logits)
                peaks = limb_peaks(maps, model.sigma, limbs)
                frames = self._hypotheses(maps, grid, hypotheses)
                return _Seen(decode_maps(maps, model.sigma), peaks, frames, self._runner.features)

        with self._timed("network"):
            return self._runner.run(image, read, self.warnings)

    def _image(self, grid: Grid) -> Tensor:
        with self._timed("resampling"):
            return self._volume.image(grid, self._model.info.normalisation)

    def _hypotheses(self, maps: Tensor, grid: Grid, count: int) -> Tensor:
        if self._model.anonymous_sides and count:  # either map of a pair may hold either limb
            maps = (maps + torch.stack([maps[row] for row in self._schema.mirror_rows])) / 2
        if count and self._whole is None:
            self._whole = maps, grid
        return likely_frames(maps, grid, self._model.template, count)

    def _read(self, view: View, grid: Grid, copies: Sequence[NDArray[np.float64]]) -> ViewPrediction:
        """The view prediction from copies of `_Seen.tensors`."""
        points, mass, spread, peaks, frames, features = copies
        found = Decoded(*(torch.from_numpy(one) for one in (points, mass, spread)))
        prediction = self._prediction(view, grid, found)
        if len(peaks) and prediction.frame is not None:
            length_mm = prediction.frame.length_mm
            found = decode_limbs(peaks, found, self._model.sigma, grid, length_mm, self._limbs)
            prediction = self._prediction(view, grid, found)
            second = second_peaks(peaks, found, self._model.sigma, self._limbs)
            places = np.column_stack((grid.to_world(second[:, :3]), second[:, 3], second[:, 4] * grid.spacing_mm))
            prediction = replace(prediction, second_peaks=places)
        return replace(prediction, hypotheses=tuple(frames_of(frames)), features=features if features.size else None)

    def _prediction(self, view: View, grid: Grid, found: Decoded) -> ViewPrediction:
        positions = grid.to_world(found.points_ijk.double().numpy())
        mass = found.peak_mass.double().numpy()
        spread = found.spread.double().numpy() * grid.spacing_mm
        frame = body_frame(positions, np.maximum(mass, _LEAST_WEIGHT), self._model.template, self._schema)
        return ViewPrediction(view, positions, spread, mass, frame, grid=grid)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        """Adds the time that this takes to a stage; of stages inside one another, each has its own time."""
        self._runner.settle()
        inner, self._inner = self._inner, 0.0
        started = time.perf_counter()
        yield
        self._runner.settle()
        passed = time.perf_counter() - started
        self.timings[stage] = self.timings.get(stage, 0.0) + passed - self._inner
        self._inner = inner + passed
