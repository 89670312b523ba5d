"""Online refinement of an estimate (section 3.3 of the paper): by the pose library, and by tuning the network."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from FetusMapV2Lib.anatomy.body_frame import body_frame
from FetusMapV2Lib.anatomy.laterality import resolve_sides, row_order
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import Schema
from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.core.progress import Stages
from FetusMapV2Lib.estimation.device_volume import DeviceVolume
from FetusMapV2Lib.estimation.estimate import Estimate, Refinement, RefineMode
from FetusMapV2Lib.estimation.host_copy import host_copies
from FetusMapV2Lib.estimation.network_runner import NetworkRunner
from FetusMapV2Lib.estimation.network_tuning import ITERATIONS, Tuned, Tuning
from FetusMapV2Lib.estimation.network_views import close_view, whole_view
from FetusMapV2Lib.estimation.shape_prior import ShapePrior
from FetusMapV2Lib.imaging.grid import Grid
from FetusMapV2Lib.memory.plan import BudgetError
from FetusMapV2Lib.models.model_file import Model
from FetusMapV2Lib.network.heatmap import decode

Array = NDArray[np.float64]

TOO_LITTLE = "Too few landmarks or library poses to compare with; the pose was not refined by the pose library."
DROPPED = "Tuning the network moved the pose away from the pose library; its result was discarded."
PATCHES_NOT_TUNED = "A network of patches is not tuned on a volume; the pose library alone was used."
MEMORY_TOO_SMALL = "The memory was too small to tune the network; the pose library alone was used."


class Refiner:
    """Refines estimates of one model.

    Args:
        model: whose pose library and network are used; never changed.
        runner: of its network.
    """

    def __init__(self, model: Model, runner: NetworkRunner) -> None:
        self._model = model
        self._runner = runner

    def refine(
        self, volume: DeviceVolume, estimate: Estimate, mode: RefineMode, pinned: tuple[int, ...], stages: Stages
    ) -> Estimate:
        """The estimate after refinement.

        Args:
            volume: that the pose belongs to, where the network runs.
            estimate: with a pose.
            mode: "prior" or "full".
            pinned: rows set by hand (`pinned_rows`); they stay, and move their neighbours.
            stages: notified of each step of the tuning.

        Raises:
            Cancelled: see `Stages`.
            UserError: the model has no pose library.
        """
        started = time.perf_counter()
        prior = ShapePrior(self._model.poses, self._model.refined_schema)
        stages.reach(0.95, "refining")
        warnings = list(estimate.warnings)
        tuned = self._tuned(volume, estimate, prior, pinned, stages, warnings) if mode == "full" else None
        pose, record = estimate.pose, Refinement(pinned=numbers_of(pinned, estimate.pose.schema))
        if tuned is None or pinned:  # what was set by hand moves its neighbours in any case
            rows = [row for row in range(len(pose.positions)) if row not in pinned] if pinned else ()
            by_prior = refine_with_prior(pose, prior, pinned, rows)
            if by_prior is None:
                warnings.append(TOO_LITTLE)
            else:
                pose, record = by_prior
        if tuned is not None:
            if not tuned.best:
                warnings.append(DROPPED)
            pose, record = refine_with_tuning(pose, tuned, prior, record)
        return replace(
            estimate,
            pose=pose if pinned else reassign_sides(pose),
            refinement=record,
            timings={**estimate.timings, "refining": time.perf_counter() - started},
            warnings=tuple(dict.fromkeys(warnings)),
        )

    def _tuned(
        self,
        volume: DeviceVolume,
        estimate: Estimate,
        prior: ShapePrior,
        pinned: tuple[int, ...],
        stages: Stages,
        warnings: list[str],
    ) -> Tuned | None:
        """The network tuned on this volume; None if memory is short or the prior has no pseudo labels for it."""

        def report(step: int) -> None:
            stages.reach(0.95 + 0.05 * step / ITERATIONS, f"refining {step + 1}/{ITERATIONS}")

        if self._model.patch_spacing_mm is not None:
            warnings.append(PATCHES_NOT_TUNED)
            return None
        try:
            return self._tuning(volume, estimate, prior, pinned).run(self._runner.device, report)
        except (torch.cuda.OutOfMemoryError, BudgetError):
            warnings.append(MEMORY_TOO_SMALL)
            return None

    def _tuning(self, volume: DeviceVolume, estimate: Estimate, prior: ShapePrior, pinned: tuple[int, ...]) -> Tuning:
        grid = self._grid_for(volume, estimate)
        image = volume.image(grid, self._model.info.normalisation)
        plan = self._runner.training_plan()
        positions = estimate.pose.positions
        return Tuning(
            network=self._model.network,
            image=image,
            grid=grid,
            sigma=self._model.sigma,
            prior=prior,
            channels=matching_channels(positions, self._predicted(image, grid, estimate), estimate.pose.schema),
            pinned={row: positions[row] for row in pinned},
            plan=plan,
        )

    def _grid_for(self, volume: DeviceVolume, estimate: Estimate) -> Grid:
        """The grid of the last view, or the one that suits this pose."""
        if estimate.views and estimate.views[-1].grid is not None:
            return estimate.views[-1].grid
        frame = None
        if self._model.has_close_view:
            frame = body_frame(estimate.pose.positions, None, self._model.template, estimate.pose.schema)
        size = self._model.input_size
        return whole_view(volume.volume, size, volume.profiles()) if frame is None else close_view(frame, size)

    def _predicted(self, image: Tensor, grid: Grid, estimate: Estimate) -> Array:
        """(22, 3) RAS mm that the network itself sees in an image; of the last view if that was this one."""
        if estimate.views and estimate.views[-1].grid is grid and estimate.model == self._model.identity:
            return estimate.views[-1].positions
        points = self._runner.run_once(image, lambda logits: decode(logits, sigma=self._model.sigma).points_ijk)
        return grid.to_world(*host_copies([points]))


def refine_with_prior(
    pose: Pose, prior: ShapePrior, pinned: Sequence[int] = (), rows: Sequence[int] = ()
) -> tuple[Pose, Refinement] | None:
    """A pose with doubtful landmarks moved to where the library expects them (`ShapePrior.posterior`).

    Confidences and radii stay those of the heatmaps.

    Returns:
        None if there is too little to compare.
    """
    positions = prior.posterior(pose.positions, pose.radius90_mm, pinned, rows)
    if positions is None:
        return None
    moved = np.flatnonzero((positions != pose.positions).any(axis=1) & pose.present)
    record = Refinement("prior", numbers_of(moved, prior.schema), numbers_of(pinned, prior.schema))
    return pose.with_positions(positions), record


def refine_with_tuning(pose: Pose, tuned: Tuned, prior: ShapePrior, record: Refinement) -> tuple[Pose, Refinement]:
    """A pose with its refined set as the best iterate saw it; unchanged if tuning made it worse.

    Args:
        pose: perhaps refined by the library already.
        tuned: what the tuned network saw.
        prior: which landmarks are refined.
        record: what was done to `pose` before, with the landmarks set by hand.
    """
    residuals = [one.residual_mm for one in tuned.iterates]
    measured = replace(record, residual_before_mm=residuals[0], residual_after_mm=residuals[tuned.best])
    if not tuned.best:
        return pose, measured
    kept_rows = {mark.row for mark in prior.schema.landmarks if mark.number in record.pinned}
    rows = [row for row in prior.refined_rows(kept_rows) if pose.present[row]]
    positions = np.array(pose.positions)
    positions[rows] = tuned.iterates[tuned.best].positions[rows]
    moved = tuple(sorted({*record.moved, *numbers_of(rows, prior.schema)}))
    return pose.with_positions(positions), replace(measured, mode="full", moved=moved, iterations=tuned.best)


def reassign_sides(pose: Pose) -> Pose:
    """A refined pose with left and right determined from its new positions."""
    positions, found = resolve_sides(pose.positions, pose.schema, pose.radius90_mm)
    order = row_order(found, pose.schema)
    before = pose.laterality
    if before is not None:  # relative to the heatmaps: swapped twice is not swapped
        arms, legs = found.arms_swapped != before.arms_swapped, found.legs_swapped != before.legs_swapped
        found = replace(found, arms_swapped=arms, legs_swapped=legs)
    return replace(
        pose,
        positions=positions,
        confidence=None if pose.confidence is None else pose.confidence[order],
        radius90_mm=None if pose.radius90_mm is None else pose.radius90_mm[order],
        laterality=found,
    )


def matching_channels(positions: Array, seen: Array, schema: Schema) -> list[int]:
    """The heatmap of each landmark, left and right limbs by the distance to what the network sees.

    Args:
        positions: (22, 3) RAS mm, NaN = missing.
        seen: (22, 3) RAS mm by heatmap.
        schema: of both.

    Returns:
        (22,) numbers of heatmaps.
    """
    channels = np.arange(schema.count)
    mirror = np.asarray(schema.mirror_rows)
    own, other = (np.linalg.norm(positions - seen[rows], axis=1) for rows in (channels, mirror))
    for groups in (("la", "ra"), ("ll", "rl")):
        rows = [row for group in groups for row in schema.rows(group)]
        if np.nansum(other[rows]) < np.nansum(own[rows]):
            channels[rows] = mirror[rows]
    return [int(channel) for channel in channels]


def numbers_of(rows: Iterable[int], schema: Schema) -> tuple[int, ...]:
    """Landmark numbers of rows, ascending."""
    return tuple(schema.landmarks[row].number for row in sorted(rows))


def pinned_rows(pose: Pose, numbers: Sequence[int]) -> tuple[int, ...]:
    """Rows of landmark numbers that are set by hand.

    Raises:
        UserError: an unknown number, or a landmark without a position.
    """
    row_of = {landmark.number: landmark.row for landmark in pose.schema.landmarks}
    for number in numbers:
        if number not in row_of:
            raise UserError(f"there is no landmark {number}", remedy=f"Use numbers from 1 to {pose.schema.count}")
        if not pose.present[row_of[number]]:
            raise UserError(f"landmark {number} has no position", remedy="Place it first, or do not pin it")
    return tuple(sorted({row_of[number] for number in numbers}))
