"""The pose engine: load a model once, estimate poses many times, on a GPU or a CPU.

It looks at the whole volume first, then closer along the body's own axes if the model was trained for that; or part
by part, with a model of patches.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.body_frame import BodyFrame, body_frame
from FetusMapV2Lib.anatomy.laterality import resolve_sides, row_order
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import Schema, default_schema
from FetusMapV2Lib.core.progress import OnProgress, ShouldCancel, Stages
from FetusMapV2Lib.estimation.body_hypotheses import body_hypotheses
from FetusMapV2Lib.estimation.estimate import Estimate, Refinement, RefineMode, ViewPrediction, check_mode
from FetusMapV2Lib.estimation.limb_decoding import decode_limbs, limb_pairs
from FetusMapV2Lib.estimation.network_runner import NetworkRunner, choose_device, describe_device
from FetusMapV2Lib.estimation.network_views import close_view, patch_grid, whole_view
from FetusMapV2Lib.estimation.patch_stitching import Stitching, cut_patch
from FetusMapV2Lib.estimation.refinement import (
    DROPPED,
    ITERATIONS,
    TOO_LITTLE,
    Tuned,
    Tuning,
    numbers_of,
    pinned_rows,
    reassign_sides,
    refine_with_prior,
    refine_with_tuning,
)
from FetusMapV2Lib.estimation.resource_estimate import ResourceEstimate, expected_bytes
from FetusMapV2Lib.estimation.shape_prior import ShapePrior
from FetusMapV2Lib.imaging.grid import Grid, normalise, resample
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.memory.plan import BudgetError
from FetusMapV2Lib.models.calibration import Calibration, uncalibrated
from FetusMapV2Lib.models.model_file import Model, load_model
from FetusMapV2Lib.models.model_index import find_model
from FetusMapV2Lib.network.heatmap import Decoded, decode, log_probabilities

Array = NDArray[np.float64]

#: Close looks stop when the body frame has settled, and after this many at the latest.
MAXIMUM_CLOSE_LOOKS = 5
#: From where it was a moment ago the body is reached sooner, or not at all.
MAXIMUM_LOOKS_AGAIN = 3
#: It must be seen clearly there, or with this share of the clarity a moment ago; below the least it is lost.
_AS_CLEAR, _LEAST_CLEAR = 0.9, 0.75
#: So many ways in which the body may lie are followed at most, until one is seen as clearly as this.
MAXIMUM_HYPOTHESES = 6
CLEAR = 0.85
#: Two looks less clear than this fraction of the presence threshold, and a way in which the body may lie is given up:
#: of 76 simulated volumes with a fetus no look was so unclear, of 12 without one most were.
_HOPELESS = 0.75
#: A crown-rump length outside this range is no fetus of 10-15 weeks, whatever the heatmaps say.
PLAUSIBLE_LENGTH_MM = (15.0, 140.0)


#: Said of a model whose description is no longer what was written.
ALTERED = "The model's description or calibration was changed after its file was written; check where it comes from."


class PoseEngine:
    """Estimates poses with one model on one device: load it once, estimate many times.

    Example:
        >>> estimate = engine.estimate(case.volume, refine="prior")
        >>> estimate.status, estimate.device, estimate.refinement.mode
        ('found', 'cpu', 'prior')
        >>> error_mm = np.linalg.norm(estimate.pose.positions - case.pose.positions, axis=1)
        >>> bool(error_mm.mean() < 4)  # of a volume as coarse as this one
        True

        A landmark that was set by hand stays where it is, and the others may follow:

        >>> positions = estimate.pose.positions.copy()
        >>> positions[9] = case.pose.positions[9]  # landmark 10, the rump
        >>> edited = replace(estimate, pose=estimate.pose.with_positions(positions))
        >>> engine.refine(case.volume, edited, pinned=[10]).refinement.pinned
        (10,)
    """

    def __init__(
        self, model: Model, device: torch.device, device_reason: str, memory_budget: int | None = None
    ) -> None:
        self.model = model
        self._runner = NetworkRunner(model.network, model.input_size, device, device_reason, memory_budget)
        self._schema: Schema = default_schema()
        self._calibration: Calibration = model.calibration or uncalibrated(self._schema.count)
        self._limbs = limb_pairs(model.poses, model.template, self._schema) if model.decodes_limbs else ()

    @classmethod
    def load(
        cls,
        model: str | os.PathLike[str] | None = None,
        device: str = "auto",
        memory_budget: int | None = None,
    ) -> PoseEngine:
        """Load a model by name or path onto a device.

        Args:
            model: name in the model index, path of a model file, or None for the default model.
            device: "auto" (a GPU if there is one), "cpu", "cuda" or "cuda:N".
            memory_budget: bytes that the network may take, its weights included; None = as much as it takes.

        Raises:
            ModelError: the model cannot be used.
            UserError: the device is not there.
            BudgetError: the network does not fit the budget.
        """
        chosen, reason = choose_device(device)
        return cls(load_model(find_model(model)), chosen, reason, memory_budget)

    @property
    def calibration(self) -> Calibration:
        """How heatmap shapes turn into radii and confidences."""
        return self._calibration

    def estimate(
        self,
        volume: Volume,
        *,
        before: Estimate | None = None,
        refine: RefineMode = "off",
        on_progress: OnProgress | None = None,
        should_cancel: ShouldCancel | None = None,
    ) -> Estimate:
        """Estimate the pose of the fetus in a volume.

        Args:
            volume: of any size and orientation.
            before: the estimate a moment ago: the body is looked for there first, which takes fewer looks. If it is
                not seen there as clearly as then, it is looked for in the whole volume as ever.
            refine: "full" tunes a copy of the network on this volume by the shape prior (Eq. 9-11), "prior" weighs
                heatmaps against the shape prior without back-propagation.
            on_progress, should_cancel: see `core.progress`.

        Raises:
            Cancelled: `should_cancel` said yes; nothing is kept.
            UserError: an unknown refinement, or a model without a pose library.
        """
        check_mode(refine)
        stages = Stages(on_progress, should_cancel)
        timings: dict[str, float] = {}
        warnings = [*((ALTERED,) if self.model.altered else ()), *volume.warnings]
        looks = self._looks(before, volume, stages, timings, warnings)
        stages.reach(0.95, "measuring")
        estimate = self._conclude(looks, timings, warnings)
        if refine != "off" and estimate.found:
            estimate = self._refined(volume, estimate, refine, (), stages)
        stages.reach(1.0, "done")
        return estimate

    def resource_estimate(self, voxels: int, refine: RefineMode = "off") -> ResourceEstimate:
        """What an estimate of a volume of so many voxels would take.

        Raises:
            UserError: an unknown refinement.
        """
        check_mode(refine)
        runner = self._runner
        return ResourceEstimate(
            device=describe_device(runner.device),
            device_reason=runner.reason,
            model=self.model.identity,
            memory_bytes=expected_bytes(
                runner.expected_bytes(refine == "full"), voxels, runner.total_bytes is not None
            ),
            device_bytes=runner.total_bytes,
            memory_plan=self.memory_plan,
        )

    def reduce_memory(self) -> bool:
        """Switch to the next smaller memory plan; false if there is none."""
        return self._runner.reduce_memory()

    def refine(
        self,
        volume: Volume,
        estimate: Estimate,
        pinned: Collection[int] = (),
        *,
        mode: RefineMode = "prior",
        on_progress: OnProgress | None = None,
        should_cancel: ShouldCancel | None = None,
    ) -> Estimate:
        """Refine a pose around landmarks that were set by hand; these stay exactly where they are.

        Pinned landmarks register the library too, and all others may move: one drag can mend several points.

        Args:
            volume: that the pose belongs to.
            estimate: an estimate, its pose as edited.
            pinned: landmark numbers, 1-22.
            mode: "prior" (no back-propagation) or "full".
            on_progress, should_cancel: see `core.progress`.

        Raises:
            Cancelled: `should_cancel` said yes.
            UserError: an unknown landmark or mode, a pinned landmark without a place, or no pose library.
        """
        check_mode(mode)
        rows = pinned_rows(estimate.pose, tuple(pinned))
        stages = Stages(on_progress, should_cancel)
        result = self._refined(volume, estimate, mode, rows, stages) if mode != "off" else estimate
        if estimate.model not in ("", self.model.identity):
            warning = f"The pose was estimated with {estimate.model} and refined with {self.model.identity}."
            result = replace(result, warnings=(*result.warnings, warning))
        stages.reach(1.0, "done")
        return result

    def _refined(
        self, volume: Volume, estimate: Estimate, mode: RefineMode, pinned: tuple[int, ...], stages: Stages
    ) -> Estimate:
        """The estimate after refinement around pinned rows."""
        started = time.perf_counter()
        prior = ShapePrior(self.model.poses, self.model.refined_schema)
        stages.reach(0.95, "refining")
        warnings = list(estimate.warnings)
        tuned = self._tuned(volume, estimate, prior, pinned, stages, warnings) if mode == "full" else None
        pose, record = estimate.pose, Refinement(pinned=numbers_of(pinned, self._schema))
        if tuned is None or pinned:  # what was set by hand moves its neighbours in any case
            rows = [row for row in range(self._schema.count) if row not in pinned] if pinned else ()
            found = refine_with_prior(pose, prior, pinned, rows)
            if found is None:
                warnings.append(TOO_LITTLE)
            else:
                pose, record = found
        if tuned is not None and not tuned.best:
            warnings.append(DROPPED)
        if tuned is not None:
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
        volume: Volume,
        estimate: Estimate,
        prior: ShapePrior,
        pinned: tuple[int, ...],
        stages: Stages,
        warnings: list[str],
    ) -> Tuned | None:
        """The network tuned on this volume; None if memory is short or the prior has nothing to say."""

        def tell(step: int) -> None:
            stages.reach(0.95 + 0.05 * step / ITERATIONS, f"refining {step + 1}/{ITERATIONS}")

        if self.model.patch_spacing_mm is not None:
            warnings.append("A network of patches is not tuned on a volume; the pose library alone was used.")
            return None
        try:
            return self._tuning(volume, self._grid_for(volume, estimate), estimate, prior, pinned).run(
                self._runner.device, tell
            )
        except (torch.cuda.OutOfMemoryError, BudgetError):
            warnings.append("The memory was too small to tune the network; the pose library alone was used.")
            return None

    def _grid_for(self, volume: Volume, estimate: Estimate) -> Grid:
        """What the network was last shown, or would be for this pose."""
        if estimate.views and estimate.views[-1].grid is not None:
            return estimate.views[-1].grid
        frame = None
        if self.model.has_close_view:
            frame = body_frame(estimate.pose.positions, None, self.model.template, self._schema)
        return whole_view(volume, self.model.input_size) if frame is None else close_view(frame, self.model.input_size)

    def _tuning(
        self, volume: Volume, grid: Grid, estimate: Estimate, prior: ShapePrior, pinned: tuple[int, ...]
    ) -> Tuning:
        picture = normalise(resample(volume, grid))
        plan = self._runner.training_plan()
        return Tuning(
            network=self.model.network,
            picture=picture,
            grid=grid,
            sigma=self.model.sigma,
            prior=prior,
            channels=_matching_channels(estimate.pose.positions, self._seen(picture, grid, estimate), self._schema),
            pinned={row: estimate.pose.positions[row] for row in pinned},
            plan=plan,
        )

    def _looks(
        self, before: Estimate | None, volume: Volume, stages: Stages, timings: dict[str, float], warnings: list[str]
    ) -> tuple[ViewPrediction, ...]:
        """All looks at a volume, the last one the best."""
        spacing = self.model.patch_spacing_mm
        if spacing is not None:
            grid = patch_grid(volume, self.model.input_size, spacing)
            return (self._look_at_patches(grid, volume, stages, timings, warnings),)
        again = self._look_again(before, volume, stages, timings, warnings)
        if again:
            return tuple(again)
        stages.reach(0.0, "searching the whole volume")
        first = self._look("whole", whole_view(volume, self.model.input_size), volume, timings, warnings)
        if not self.model.has_close_view:
            return (first,)
        return (first, *self._look_closer(first, volume, stages, timings, warnings))

    def _seen(self, picture: NDArray[np.float32], grid: Grid, estimate: Estimate) -> Array:
        """(22, 3) RAS mm that the network itself sees in a picture: of the last look, if that was this one."""
        if estimate.views and estimate.views[-1].grid is grid and estimate.model == self.model.identity:
            return estimate.views[-1].positions
        return grid.to_world(self._runner.run_once(picture, self._decoded).points_ijk.double().numpy())

    def _look_again(
        self, before: Estimate | None, volume: Volume, stages: Stages, timings: dict[str, float], warnings: list[str]
    ) -> list[ViewPrediction]:
        """Look where the body was a moment ago; nothing if it is not clearly there."""
        if before is None or not before.found or not self.model.has_close_view:
            return []
        frame = body_frame(before.pose.positions, None, self.model.template, self._schema)
        if frame is None:
            return []
        stages.reach(0.0, "searching near the previous pose")
        looks = list(self._follow(frame, volume, MAXIMUM_LOOKS_AGAIN, timings, warnings))
        enough = (
            max(_LEAST_CLEAR, min(CLEAR, _AS_CLEAR * before.mean_peak_mass))
            if math.isfinite(before.mean_peak_mass)
            else CLEAR
        )
        return looks if looks[-1].mean_peak_mass >= enough and frame.is_near(looks[-1].frame) else []

    def _look_closer(
        self, first: ViewPrediction, volume: Volume, stages: Stages, timings: dict[str, float], warnings: list[str]
    ) -> list[ViewPrediction]:
        """Follow the ways in which the body may lie, most likely first, until one is seen clearly."""
        best: list[ViewPrediction] = []
        hopeless = _HOPELESS * self._calibration.detection_threshold
        most = len(first.hypotheses) * MAXIMUM_CLOSE_LOOKS
        for number, frame in enumerate(first.hypotheses):
            looks: list[ViewPrediction] = []
            stages.reach(0.3 + 0.6 * number * MAXIMUM_CLOSE_LOOKS / most, "close view")
            for look in self._follow(frame, volume, MAXIMUM_CLOSE_LOOKS, timings, warnings):
                looks.append(look)
                if len(looks) > 1 and all(one.mean_peak_mass < hopeless for one in looks):
                    break  # there is nobody to follow
                stages.reach(0.3 + 0.6 * (number * MAXIMUM_CLOSE_LOOKS + len(looks)) / most, "close view")
            if not best or looks[-1].mean_peak_mass > best[-1].mean_peak_mass:
                best = looks
            if best[-1].mean_peak_mass >= CLEAR:
                break
        return best

    def _follow(
        self, frame: BodyFrame, volume: Volume, most: int, timings: dict[str, float], warnings: list[str]
    ) -> Iterator[ViewPrediction]:
        """Look along a body frame, and along what is found there, until it has settled."""
        for _ in range(most):
            look = self._look("close", close_view(frame, self.model.input_size), volume, timings, warnings)
            yield look
            if look.frame is None or frame.is_settled_in(look.frame):
                return
            frame = look.frame

    def _look(
        self, view: str, grid: Grid, volume: Volume, timings: dict[str, float], warnings: list[str]
    ) -> ViewPrediction:
        started = time.perf_counter()
        picture = normalise(resample(volume, grid))
        resampled = time.perf_counter()
        found, logits = self._runner.run(picture, lambda logits: (self._decoded(logits), logits), warnings)
        seen = time.perf_counter()
        look = self._look_of(view, grid, found)
        if self._limbs and look.frame is not None and (view == "close" or not self.model.has_close_view):
            found = decode_limbs(logits, found, self.model.sigma, grid, look.frame.length_mm, self._limbs)
            look = self._look_of(view, grid, found)
        if view == "whole" and self.model.has_close_view:
            # one by one: all probabilities at once would take as much memory as the logits
            maps = np.stack([torch.softmax(one.flatten(), dim=0).view_as(one).cpu().numpy() for one in logits])
            if self.model.anonymous_sides:  # either map of a pair may hold either limb
                maps = (maps + maps[self._schema.mirror_rows]) / 2
            hypotheses = body_hypotheses(maps, grid, self.model.template, MAXIMUM_HYPOTHESES)
            look = replace(look, hypotheses=tuple(hypotheses))
        _add(timings, "resampling", resampled - started)
        _add(timings, "network", seen - resampled)
        _add(timings, "reading heatmaps", time.perf_counter() - seen)
        return look

    def _look_at_patches(
        self, grid: Grid, volume: Volume, stages: Stages, timings: dict[str, float], warnings: list[str]
    ) -> ViewPrediction:
        """A look at the whole volume through patches that cover its grid."""
        stages.reach(0.0, "preparing the volume")
        started = time.perf_counter()
        picture = normalise(resample(volume, grid))
        _add(timings, "resampling", time.perf_counter() - started)
        stitching = Stitching(grid.shape, self.model.input_size, self._schema.count, self.model.sigma)
        for number, place in enumerate(stitching.places):
            count = len(stitching.places)
            stages.reach(0.05 + 0.9 * number / count, f"patch {number + 1} of {count}")
            started = time.perf_counter()
            patch = cut_patch(picture, place, self.model.input_size)
            maps = self._runner.run(patch, lambda logits: log_probabilities(logits).cpu(), warnings)
            seen = time.perf_counter()
            stitching.add(place, maps)
            _add(timings, "network", seen - started)
            _add(timings, "reading heatmaps", time.perf_counter() - seen)
        return self._look_of("patch", grid, stitching.landmarks())

    def _decoded(self, logits: torch.Tensor) -> Decoded:
        return decode(logits, sigma=self.model.sigma).cpu()

    def _look_of(self, view: str, grid: Grid, found: Decoded) -> ViewPrediction:
        positions = grid.to_world(found.points_ijk.double().numpy())
        mass = found.peak_mass.double().numpy()
        spread = found.spread.double().numpy() * grid.spacing_mm
        frame = body_frame(positions, np.maximum(mass, 1e-6), self.model.template, self._schema)
        return ViewPrediction(view, positions, spread, mass, frame, grid=grid)

    @property
    def memory_plan(self) -> str:
        """How the network is kept within a budget, one sentence; empty without one."""
        return self._runner.memory_plan

    def _conclude(self, looks: tuple[ViewPrediction, ...], timings: dict[str, float], warnings: list[str]) -> Estimate:
        last = looks[-1]
        confidence = self._calibration.confidence(last.spread_mm, last.peak_mass)
        detection_score = detection_score_of(looks)
        reason = self._reason_against(last, detection_score)
        nowhere = Pose(np.full((self._schema.count, 3), np.nan))
        pose = nowhere if reason else self._pose(last, confidence, warnings)
        return Estimate(
            pose=pose,
            status="none" if reason else "found",
            detection_score=detection_score,
            mean_peak_mass=last.mean_peak_mass,
            reason=reason,
            device=describe_device(self._runner.device),
            device_reason=self._runner.reason,
            timings=timings,
            warnings=tuple(dict.fromkeys(warnings)),
            model=self.model.identity,
            views=looks,
            memory_plan=self.memory_plan,
        )

    def _pose(self, look: ViewPrediction, confidence: Array, warnings: list[str]) -> Pose:
        radius = self._calibration.radius90_mm(look.spread_mm, look.peak_mass)
        positions, laterality = resolve_sides(look.positions, self._schema, radius)
        order = row_order(laterality, self._schema)
        if laterality.consistent is False:
            warnings.append("Arms and legs disagree about which side is left; check the sides.")
        pose = Pose(positions, confidence=confidence[order], radius90_mm=radius[order])
        return replace(pose, laterality=laterality)

    def _reason_against(self, look: ViewPrediction, detection_score: float) -> str:
        if detection_score < self._calibration.detection_threshold:
            return (
                f"No fetus found: head and trunk stand out with a score of {detection_score:.2f}, "
                f"below the {self._calibration.detection_threshold:.2f} that this model needs."
            )
        low, high = PLAUSIBLE_LENGTH_MM
        if look.frame is None or not low <= look.frame.length_mm <= high:
            return "No fetus found: the landmarks do not make up a body of 10-15 weeks."
        return ""


def detection_score_of(looks: Sequence[ViewPrediction]) -> float:
    """How clearly head and trunk stand out, 0-1: probability mass around them, geometric mean of first and last look.

    A close look at nothing may imagine a body; the first look at the whole volume then has seen none.
    """
    rows = list(default_schema().rows("ht"))
    first, last = (float(look.peak_mass[rows].mean()) for look in (looks[0], looks[-1]))
    return math.sqrt(max(first, 0.0) * max(last, 0.0))


def _matching_channels(positions: Array, seen: Array, schema: Schema) -> list[int]:
    """The heatmap of each landmark (22, 3): left and right limbs as they lie nearest to what the network sees."""
    channels = np.arange(schema.count)
    mirror = np.asarray(schema.mirror_rows)
    own, other = (np.linalg.norm(positions - seen[rows], axis=1) for rows in (channels, mirror))
    for groups in (("la", "ra"), ("ll", "rl")):
        rows = [row for group in groups for row in schema.rows(group)]
        if np.nansum(other[rows]) < np.nansum(own[rows]):
            channels[rows] = mirror[rows]
    return [int(channel) for channel in channels]


def _add(timings: dict[str, float], stage: str, seconds: float) -> None:
    timings[stage] = timings.get(stage, 0.0) + seconds
