"""Samples for training and validation: one view of one case, a pure function of (seed, index).

No sample depends on a worker process, on the samples before it, or on any global random state.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler

from FetusMapV2Lib.anatomy.body_frame import body_frame
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.estimation.network_views import close_view, patch_grid, tight_view, whole_view
from FetusMapV2Lib.estimation.patch_stitching import part_of, patch_places
from FetusMapV2Lib.imaging.grid import Grid, Shape
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.network.normalisation import BRIGHTEST, GreyEnds, normalised
from FetusMapV2Lib.phantom.random_contrast import render_random_contrast
from FetusMapV2Lib.training.case_folder import Case, ReducedVolumes
from FetusMapV2Lib.training.distortions.field_of_view import Box, inside_of
from FetusMapV2Lib.training.distortions.picture import Picture
from FetusMapV2Lib.training.network_images import HostImages, NetworkImages, augmented
from FetusMapV2Lib.training.preset import Preset
from FetusMapV2Lib.training.random_views import (
    frame_of,
    random_close_view,
    random_part,
    random_patch,
    random_tight_view,
    random_whole_view,
)

Array = NDArray[np.float64]
#: image (1, K, J, I) float32; points (22, 3) voxels float32, NaN = missing or (but in patches) outside; present bool;
#: positions (22, 3) RAS mm and grid_to_ras (4, 4) float64; view = index in `VIEW_NAMES`; case = index of the case.
Sample = dict[str, torch.Tensor]
VIEW_NAMES = ("whole", "close", "patch", "tight")
_WHOLE, _CLOSE, _PATCH, _TIGHT = range(4)
#: The brightest grey of a reduced volume.
_WHITE = 255.0

# separate random streams for the order of the cases, their augmentation, and contrasts of held-out label maps
_ORDER, _AUGMENT, _CONTRAST = 1, 2, 3


class StepSampler(Sampler[int]):
    """Infinite sample indices from a step on: index n is the nth sample of the whole run.

    Args:
        step: the first step, from 0.
        batch: samples of a step.
        rank, ranks: which part of each batch, and of how many; together the parts are the batch, in its order.
    """

    def __init__(self, step: int, batch: int = 1, rank: int = 0, ranks: int = 1) -> None:
        self._step, self._batch = step, batch
        part = batch // ranks
        self._part = range(rank * part, (rank + 1) * part)

    def __iter__(self) -> Iterator[int]:
        step = self._step
        while True:
            for place in self._part:
                yield step * self._batch + place
            step += 1

    def __len__(self) -> int:
        return 1 << 40  # the trainer stops by steps


class TrainingViews(Dataset[Sample]):
    """Random views of the training cases; every case once per epoch, in a new random order.

    Args:
        cases: the training cases.
        volumes: their reduced volumes.
        preset: views, augmentation and input size.
        template: (22, 3) canonical pose for close views, None if the preset has none.
        seed: of the run.
        images: prepares the images, None = on the CPU.
        negatives: further cases, without a fetus; what they show also becomes the surroundings of others.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        volumes: ReducedVolumes,
        preset: Preset,
        template: Array | None,
        seed: int,
        images: NetworkImages | None = None,
        negatives: Sequence[Case] = (),
    ) -> None:
        self.cases = [*cases, *negatives]
        self.negatives = list(negatives)
        self.volumes = volumes
        self.images = images or HostImages()
        self.preset = preset
        self.template = template
        self.seed = seed
        views = preset.views
        of_bodies = views.close + views.tight if template is not None else 0.0
        alone = preset.sees_patches or not of_bodies
        self._whole_share = 1.0 if alone else views.whole / (views.whole + of_bodies)
        self._tight_share = views.tight / of_bodies if of_bodies else 0.0
        self._order: tuple[int, NDArray[np.int64]] | None = None
        self._fitted: dict[str, Grid] = {}
        self._ends: dict[str, GreyEnds] = {}

    def __getitem__(self, index: int) -> Sample:
        epoch, place = divmod(index, len(self.cases))
        number = int(self._epoch_order(epoch)[place])
        case = self.cases[number]
        generator = np.random.default_rng((self.seed, _AUGMENT, index))
        case, volume = self._proportioned(case, self.volumes.get(case), generator)
        distortions = self.preset.distortions
        distorts = distortions.active and generator.random() < distortions.share
        box = distortions.field_of_view.drawn(volume, case.positions, generator) if distorts else None
        if box is not None:
            case = case.seen_in(box)
        view, grid = self._draw(case, volume, box, generator)
        if case.is_label_map:
            image = render_random_contrast(volume, grid, generator).to(self.images.device)
        else:
            image = self.images.sampled(volume, grid)
        if distorts:
            image = self._distorted(image, case, volume, grid, box, generator)
        ends = self._ends_of(case, volume) if view == _PATCH else None
        image = normalised(image, self.preset.normalisation, ends)
        image = augmented(image, self.preset.augmentation, generator)
        sample = make_sample(image, grid, case, view, number)
        mirror = self.preset.augmentation.mirror
        return mirrored(sample) if mirror and generator.random() < mirror else sample

    def _proportioned(self, case: Case, volume: Volume, generator: np.random.Generator) -> tuple[Case, Volume]:
        """A case and its volume, now and then with other lengths of head, neck, trunk and pelvis."""
        proportions = self.preset.proportions
        stretch = proportions.drawn(case.positions, generator) if proportions.active else None
        if stretch is None:
            return case, volume
        return case.with_positions(stretch.points(case.positions)), stretch.volume(
            volume, self.images.device, labels=case.is_label_map
        )

    def _distorted(
        self,
        image: torch.Tensor,
        case: Case,
        volume: Volume,
        grid: Grid,
        box: Box | None,
        generator: np.random.Generator,
    ) -> torch.Tensor:
        """The greys of a view after distortions; what lies outside the box is padding."""
        inside = inside_of(volume, grid, box, image.device)
        other = self._view_of_another(grid, generator)
        points = grid.to_voxel(case.positions)
        picture = Picture(image / _WHITE, inside, grid.spacing_mm, points, other).with_grey(image / _WHITE)
        return self.preset.distortions.applied(picture, generator).grey * _WHITE

    def _view_of_another(self, grid: Grid, generator: np.random.Generator) -> torch.Tensor | None:
        """A random part of a volume without a fetus that a user gave, as bright as a picture; None if none was."""
        if not self.negatives:
            return None
        volume = self.volumes.get(self.negatives[generator.integers(len(self.negatives))])
        image = self.images.sampled(volume, random_part(volume, grid, generator))
        return normalised(image, self.preset.normalisation) / BRIGHTEST

    def _epoch_order(self, epoch: int) -> NDArray[np.int64]:
        if self._order is None or self._order[0] != epoch:
            order = np.random.default_rng((self.seed, _ORDER, epoch)).permutation(len(self.cases))
            self._order = (epoch, order)
        return self._order[1]

    def _draw(self, case: Case, volume: Volume, box: Box | None, generator: np.random.Generator) -> tuple[int, Grid]:
        options, shape = self.preset.augmentation, self.preset.input_size
        if self.preset.sees_patches:
            aimed = self.preset.views.patch_aimed
            return _PATCH, random_patch(self._fit(case, volume), shape, case.positions, aimed, options, generator)
        if generator.random() >= self._whole_share and self.template is not None:
            tight = self._tight_share > 0 and generator.random() < self._tight_share
            frame = frame_of(volume, case.positions, self.template, generator)
            if frame is not None and tight:
                return _TIGHT, random_tight_view(frame, case.positions, self.template, shape, options, generator)
            if frame is not None:
                return _CLOSE, random_close_view(frame, shape, options, generator)
        fitted = self._fit(case, volume) if box is None else box.grid(shape)
        return _WHOLE, random_whole_view(fitted, case.positions, options, generator)

    def _fit(self, case: Case, volume: Volume) -> Grid:
        """The grid of the whole volume, as the engine would choose it."""
        if case.name not in self._fitted:
            self._fitted[case.name] = _laid_out(volume, self.preset)
        return self._fitted[case.name]

    def _ends_of(self, case: Case, volume: Volume) -> GreyEnds:
        """Of the whole volume: a patch that shows only fluid must stay dark."""
        if case.name not in self._ends:
            self._ends[case.name] = self.images.ends(volume, self.preset.normalisation)
        return self._ends[case.name]


class ValidationViews(Dataset[Sample]):
    """The held-out cases as the engine would see them.

    The whole view and, if trained, the close and the tight view at the true body frame; for patches, the one with most
    landmarks.
    """

    def __init__(self, cases: Sequence[Case], volumes: ReducedVolumes, preset: Preset, template: Array | None) -> None:
        self.cases = list(cases)
        self.volumes = volumes
        self.preset = preset
        views = preset.views
        self.template = template if views.close > 0 else None
        drawn = (views.whole > 0, self.template is not None, preset.sees_patches, views.tight > 0)
        shown = [view for view, is_drawn in enumerate(drawn) if is_drawn]
        self._index = [(number, view) for number in range(len(self.cases)) for view in shown]

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, index: int) -> Sample:
        number, view = self._index[index]
        case = self.cases[number]
        volume = self.volumes.get(case)
        grid = None
        if view == _PATCH:
            grid = _fullest_patch(_laid_out(volume, self.preset), self.preset.input_size, case.positions)
        if view in (_CLOSE, _TIGHT) and self.template is not None:
            grid = self._along_body(view, case.positions, self.template)
        if grid is None:
            view, grid = _WHOLE, whole_view(volume, self.preset.input_size)
        images, how = HostImages(), self.preset.normalisation
        ends = images.ends(volume, how) if view == _PATCH else None
        if case.is_label_map:
            image = render_random_contrast(volume, grid, np.random.default_rng((_CONTRAST, number)))
        else:
            image = images.sampled(volume, grid)
        return make_sample(normalised(image, how, ends), grid, case, view, number)

    def _along_body(self, view: int, positions: Array, template: Array) -> Grid | None:
        """The close or the tight view at the true body frame; None if too few landmarks are known."""
        frame, size = body_frame(positions, None, template, default_schema()), self.preset.input_size
        if frame is None:
            return None
        return close_view(frame, size) if view == _CLOSE else tight_view(frame, positions, size)


def _laid_out(volume: Volume, preset: Preset) -> Grid:
    """The grid of the whole volume: the network's input, or the grid that its patches are cut from."""
    if preset.sees_patches:
        return patch_grid(volume, preset.input_size, preset.views.patch_spacing_mm)
    return whole_view(volume, preset.input_size)


def _fullest_patch(whole: Grid, patch_size: Shape, positions: Array) -> Grid:
    """The patch with most landmarks among those that the engine would use."""
    patches = [part_of(whole, place, patch_size) for place in patch_places(whole.shape, patch_size)]
    return max(patches, key=lambda patch: int(points_inside(patch.to_voxel(positions), patch.shape).sum()))


def points_inside(points_ijk: NDArray[Any], shape: Shape) -> NDArray[np.bool_]:
    """Which points (L, 3), in voxels (i, j, k), lie on a grid (k, j, i); missing ones (NaN) do not."""
    limits = np.array(shape[::-1], dtype=float) - 0.5
    with np.errstate(invalid="ignore"):
        return np.asarray(((points_ijk >= -0.5) & (points_ijk <= limits)).all(axis=1))


def make_sample(image: torch.Tensor, grid: Grid, case: Case, view: int, number: int) -> Sample:
    """One sample from a image (k, j, i); landmarks outside it count as missing, but in patches as outside."""
    points = grid.to_voxel(case.positions)
    if view != _PATCH:
        points[~points_inside(points, grid.shape)] = np.nan
    return {
        "image": image[None],
        "points": torch.from_numpy(points.astype(np.float32)),
        "present": torch.tensor(case.fetus_present),
        "positions": torch.from_numpy(case.positions.copy()),
        "grid_to_ras": torch.from_numpy(grid.grid_to_ras.copy()),
        "view": torch.tensor(view),
        "case": torch.tensor(number),
    }


def mirrored(sample: Sample) -> Sample:
    """The mirror image of a sample along i, with left and right landmarks exchanged.

    The grid becomes left-handed, so that it still maps the points to the positions.
    """
    last = sample["image"].shape[-1] - 1
    flip = torch.tensor([-1.0, 1.0, 1.0])
    rows = list(default_schema().mirror_rows)
    matrix = torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0], dtype=torch.float64))
    matrix[0, 3] = last
    return {
        **sample,
        "image": sample["image"].flip(-1),
        "points": sample["points"][rows] * flip + torch.tensor([float(last), 0.0, 0.0]),
        "positions": sample["positions"][rows],
        "grid_to_ras": sample["grid_to_ras"] @ matrix,
    }
