"""The pose engine: load a model once, estimate and refine poses many times, on a GPU or a CPU."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.laterality import resolve_sides, row_order
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.progress import OnProgress, ShouldCancel, Stages
from FetusMapV2Lib.estimation.body_search import BodySearch, SearchResult
from FetusMapV2Lib.estimation.detection import (
    MODELS_RULE,
    PresenceRule,
    PresenceThresholds,
    detection_score_of,
    grade_presence,
    torso_mass,
)
from FetusMapV2Lib.estimation.device_volume import DeviceVolume
from FetusMapV2Lib.estimation.estimate import (
    Estimate,
    RefineMode,
    Region,
    Status,
    TwoRegions,
    ViewPrediction,
    check_mode,
)
from FetusMapV2Lib.estimation.network_runner import NetworkRunner, choose_device, describe_device
from FetusMapV2Lib.estimation.refinement import Refiner, pinned_rows
from FetusMapV2Lib.estimation.requests import LocalEngine
from FetusMapV2Lib.estimation.resource_estimate import ResourceEstimate, expected_bytes
from FetusMapV2Lib.estimation.second_body import SECOND_SEEN, grade_second
from FetusMapV2Lib.imaging.fill_values import without_fill
from FetusMapV2Lib.imaging.skin_surface import landmarks_on_skin
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.models.calibration import SHARE_IN_DOUBT, Calibration, uncalibrated
from FetusMapV2Lib.models.model_file import Model, load_model
from FetusMapV2Lib.models.model_index import find_model

Array = NDArray[np.float64]

ALTERED_MODEL = (
    "The model's description or calibration was changed after its file was written; check where it comes from."
)
ACCEPTED = "It was accepted as found, as asked for."
#: From this unfamiliarity a picture is called unlike the training volumes; 1 is exceeded by one known picture in 20.
UNLIKE = 1.25
UNLIKE_TRAINING = (
    "Unlike the training volumes: the picture is {:.1f} times as unfamiliar to the model as known ones are at most. "
    "Radii are wider and confidences lower for that, but errors may be larger still; check every landmark."
)
SIDES_DISAGREE = "Arms and legs disagree about which side is left; check the sides."


class PoseEngine(LocalEngine):
    """Estimates poses with one model on one device: load it once, estimate many times.

    Examples:
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
        self._schema = default_schema()
        self._calibration: Calibration = model.calibration or uncalibrated(self._schema.count)
        self._thresholds = PresenceThresholds(
            self._calibration.detection_threshold, self._calibration.least_detection_score
        )
        self._search = BodySearch(model, self._runner, self._calibration.detection_threshold)
        self._refiner = Refiner(model, self._runner)
        #: what was done because the memory of the GPU was too small before the first estimate
        self._remarks: tuple[str, ...] = ()

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
        engine = cls(load_model(find_model(model)), chosen, reason, memory_budget)
        if chosen.type != "cpu":
            engine.warm_up()
        return engine

    def warm_up(self) -> None:
        """Look at an empty volume, so that a GPU does before the first estimate what it does only once.

        On a CPU that saves no time. Tuning (`refine="full"`) has more of its own.
        """
        self._remarks = self._search.warm_up()

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
        presence: PresenceRule = MODELS_RULE,
        on_progress: OnProgress | None = None,
        should_cancel: ShouldCancel | None = None,
    ) -> Estimate:
        """Estimate the pose of the fetus in a volume.

        Args:
            volume: of any size and orientation.
            before: estimate of the frame before. The body is searched near its pose first, which takes fewer views;
                if it is not seen there about as well, the whole volume is searched.
            refine: "full" tunes a copy of the network on this volume by the shape prior (Eq. 9-11), "prior" weighs
                heatmaps against the shape prior without back-propagation.
            presence: from which score a fetus counts as found, and whether a doubtful one does.
            on_progress: see `core.progress`.
            should_cancel: see `core.progress`.

        Raises:
            Cancelled: `should_cancel` said yes; nothing is kept.
            UserError: an unknown refinement, or a model without a pose library.
        """
        check_mode(refine)
        volume = without_fill(volume)
        stages = Stages(on_progress, should_cancel)
        placed = DeviceVolume(volume, self._runner.device)
        second_from = self._thresholds.with_rule(presence).doubtful
        search = self._search.run(placed, stages, before, second_from)
        stages.reach(0.95, "measuring")
        warnings = [*((ALTERED_MODEL,) if self.model.altered else ()), *self._remarks, *volume.warnings]
        estimate = self._conclusion(volume, search, presence, warnings)
        if refine != "off" and estimate.has_pose:
            others = [self._refined(placed, one, refine, (), stages) for one in estimate.others]
            estimate = self._refined(placed, replace(estimate, others=tuple(others)), refine, (), stages)
        stages.reach(1.0, "done")
        return estimate

    def resource_estimate(self, voxels: int, refine: RefineMode = "off") -> ResourceEstimate:
        """Where an estimate of a volume with this number of voxels would run, and what memory it would take.

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

        Pinned landmarks register the library too, and all others may move: one drag can correct several points.

        Args:
            volume: that the pose belongs to.
            estimate: an estimate, its pose as edited.
            pinned: landmark numbers, 1-22.
            mode: "prior" (no back-propagation) or "full".
            on_progress: see `core.progress`.
            should_cancel: see `core.progress`.

        Raises:
            Cancelled: `should_cancel` said yes.
            UserError: an unknown landmark or mode, a pinned landmark without a position, or no pose library.
        """
        check_mode(mode)
        rows = pinned_rows(estimate.pose, tuple(pinned))
        stages = Stages(on_progress, should_cancel)
        volume = without_fill(volume)
        result = estimate
        if mode != "off":
            placed = DeviceVolume(volume, self._runner.device)
            result = self._refined(placed, estimate, mode, rows, stages)
        if estimate.model not in ("", self.model.identity):
            warning = f"The pose was estimated with {estimate.model} and refined with {self.model.identity}."
            result = replace(result, warnings=(*result.warnings, warning))
        stages.reach(1.0, "done")
        return result

    @property
    def memory_plan(self) -> str:
        """How the network is kept within a budget, one sentence; empty without a budget."""
        return self._runner.memory_plan

    def _conclusion(
        self, volume: Volume, search: SearchResult, presence: PresenceRule, warnings: list[str]
    ) -> Estimate:
        """The estimate that a search in a volume leads to; `warnings` come before its own."""
        detection_score = detection_score_of(search.views)
        thresholds = self._thresholds.with_rule(presence)
        grade = grade_presence(search.views[-1], detection_score, thresholds, search.turned, search.one_grey)
        first = self._estimate_of(volume, search.views, search.tight, grade, detection_score, presence)
        warnings = [*warnings, *search.warnings]
        others: tuple[Estimate, ...] = ()
        if search.second and first.has_pose:
            warnings.append(SECOND_SEEN)
            score = torso_mass(search.second[-1])
            of_second = search.second, search.second_tight, grade_second(search.second[-1])
            others = (self._estimate_of(volume, *of_second, score, presence),)
        warnings += first.warnings
        estimate = replace(first, warnings=tuple(dict.fromkeys(warnings)), timings=search.timings, others=others)
        return estimate.showing_what_was_seen() if presence.show_seen else estimate

    def _estimate_of(
        self,
        volume: Volume,
        views: tuple[ViewPrediction, ...],
        tight: ViewPrediction | None,
        grade: tuple[Status, str],
        score: float,
        presence: PresenceRule,
    ) -> Estimate:
        """The estimate of one body, with the warnings that concern it alone."""
        (status, reason), warnings, last = grade, [], tight or views[-1]
        share = 1.0 if status == "found" else SHARE_IN_DOUBT
        if status == "doubtful" and presence.accept_doubtful:
            warnings.append(f"{reason} {ACCEPTED}")
            status, reason = "found", ""
        unfamiliarity = self._calibration.unfamiliarity(last.features)
        if unfamiliarity > UNLIKE:
            warnings.append(UNLIKE_TRAINING.format(unfamiliarity))
        seen = self._pose(volume, last, unfamiliarity, share)
        pose = Pose.missing() if status == "none" else replace(seen, doubt=reason)
        if pose.laterality is not None and pose.laterality.consistent is False:
            warnings.append(SIDES_DISAGREE)
        return Estimate(
            pose=pose,
            status=status,
            detection_score=score,
            mean_peak_mass=views[-1].mean_peak_mass,
            reason=reason,
            device=describe_device(self._runner.device),
            device_reason=self._runner.reason,
            timings={},
            warnings=tuple(warnings),
            model=self.model.identity,
            views=views if tight is None else (*views, tight),
            memory_plan=self.memory_plan,
            unfamiliarity=unfamiliarity,
            seen=seen if status == "none" else None,
            two_regions=self._two_regions(last, unfamiliarity, seen),
        )

    def _refined(
        self, placed: DeviceVolume, estimate: Estimate, mode: RefineMode, rows: tuple[int, ...], stages: Stages
    ) -> Estimate:
        """The estimate after refinement, in which landmarks lie where the network and the pose library have them."""
        pose = estimate.pose
        shift = self._calibration.shift_of(pose.positions, self.model.template)
        seen = pose.with_positions(pose.positions - shift)
        refined = self._refiner.refine(placed, replace(estimate, pose=seen), mode, rows, stages)
        found = refined.pose.positions
        # what was not refined stays to the last bit, above all what a person has placed
        moved = (found != seen.positions).any(axis=1, keepdims=True)
        positions = np.where(moved, self._at_skin(placed.volume, found + shift), pose.positions)
        return replace(refined, pose=refined.pose.with_positions(positions))

    def _at_skin(self, volume: Volume, positions: Array) -> Array:
        """Landmarks (22, 3) RAS mm, those of the skin at its edge where it is seen, if the model has them there."""
        if not self._calibration.on_skin:
            return positions
        placed = landmarks_on_skin(volume, positions)
        return np.where(np.isfinite(placed), placed, positions)

    def _pose(self, volume: Volume, view: ViewPrediction, unfamiliarity: float, share: float) -> Pose:
        """The pose that a view of a volume shows, its confidences this share of what the calibration says."""
        confidence = share * self._calibration.confidence(view.spread_mm, view.peak_mass, unfamiliarity)
        radius = self._calibration.radius90_mm(view.spread_mm, view.peak_mass, unfamiliarity)
        positions, laterality = resolve_sides(view.positions, self._schema, radius)
        order = row_order(laterality, self._schema)
        positions = self._at_skin(volume, positions + self._calibration.shift_mm(view.frame))
        return Pose(positions, confidence[order], radius[order], laterality)

    def _two_regions(self, view: ViewPrediction, unfamiliarity: float, pose: Pose) -> tuple[TwoRegions, ...]:
        peaks = view.second_peaks
        if peaks is None or pose.laterality is None:
            return ()
        first, second = self._calibration.radii_of_two_mm(
            view.spread_mm, view.peak_mass, peaks[:, 4], peaks[:, 3], unfamiliarity
        )
        shift = np.empty_like(view.positions)
        shift[row_order(pose.laterality, self._schema)] = self._calibration.shift_mm(view.frame)
        return tuple(
            TwoRegions(
                int(row),
                Region(view.positions[row] + shift[row], float(view.peak_mass[row]), float(first[row])),
                Region(peaks[row, :3] + shift[row], float(peaks[row, 3]), float(second[row])),
            )
            for row in np.flatnonzero(np.isfinite(second))
        )
