"""The pose engine: load a model once, estimate poses many times, on a GPU or a CPU.

It looks at the whole volume first, then closer along the body's own axes if the model was trained for that.
"""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.laterality import resolve_sides, row_order
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import Schema, default_schema
from FetusMapV2Lib.estimation.calibration import Calibration, uncalibrated
from FetusMapV2Lib.estimation.estimate import Estimate, Look, Refinement, RefineMode, check_mode
from FetusMapV2Lib.estimation.hypotheses import body_hypotheses
from FetusMapV2Lib.estimation.limbs import limb_pairs, settle_limbs
from FetusMapV2Lib.estimation.model_file import Model, load_model
from FetusMapV2Lib.estimation.model_index import find_model
from FetusMapV2Lib.estimation.refinement import (
    DROPPED,
    ITERATIONS,
    TOO_LITTLE,
    Tuned,
    Tuning,
    by_prior,
    by_tuning,
    numbers_of,
    pinned_rows,
    sides_again,
)
from FetusMapV2Lib.estimation.shape_prior import ShapePrior
from FetusMapV2Lib.estimation.views import BodyFrame, body_frame, close_view, whole_view
from FetusMapV2Lib.foundation.errors import UserError
from FetusMapV2Lib.foundation.progress import OnProgress, ShouldCancel, Stages
from FetusMapV2Lib.imaging.grid import Grid, normalise, resample
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.memory.costing import Machine
from FetusMapV2Lib.memory.managed import ManagedNetwork
from FetusMapV2Lib.memory.plan import BudgetError, MemoryPlan
from FetusMapV2Lib.memory.planner import plan_inference, plan_training
from FetusMapV2Lib.network.heatmap import Decoded, decode
from FetusMapV2Lib.network.unet import UNet3d

Array = NDArray[np.float64]

#: Close looks stop when the body frame has settled, and after this many at the latest.
MAXIMUM_CLOSE_LOOKS = 5
#: So many ways in which the body may lie are followed at most, until one is seen as clearly as this.
MAXIMUM_HYPOTHESES = 6
CLEAR = 0.85
_SETTLED_DEGREES = 5.0
_SETTLED_SCALE = 0.05
#: When a GPU is full, the next plan takes this share of the memory of the last one.
_NEXT_SHARE = 0.75
#: A crown-rump length outside this range is no fetus of 10-15 weeks, whatever the heatmaps say.
PLAUSIBLE_LENGTH_MM = (15.0, 140.0)


class PoseEngine:
    """Estimates poses with one model on one device.

    Example:
        >>> engine = PoseEngine.load()                      # doctest: +SKIP
        >>> estimate = engine.estimate(read_volume("case.nrrd"))   # doctest: +SKIP
    """

    def __init__(
        self, model: Model, device: torch.device, device_reason: str, memory_budget: int | None = None
    ) -> None:
        self.model = model
        self._budget = memory_budget
        self._asked: MemoryPlan | None = None
        if memory_budget is not None:
            self._asked = plan_inference(
                model.network, model.input_size, budget_bytes=memory_budget, machine=Machine.of(device)
            )
        self._manage(self._asked)
        self.device_reason = device_reason
        self._schema: Schema = default_schema()
        self._calibration: Calibration = model.calibration or uncalibrated(self._schema.count)
        self._limbs = limb_pairs(model.poses, model.template) if model.settles_limbs else ()
        self._move_to(device)

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
        refine: RefineMode = "off",
        on_progress: OnProgress | None = None,
        should_cancel: ShouldCancel | None = None,
    ) -> Estimate:
        """Estimate the pose of the fetus in a volume.

        Args:
            volume: of any size and orientation.
            refine: "full" tunes a copy of the network on this volume by the shape prior (Eq. 9-11), "prior" weighs
                heatmaps against the shape prior without back-propagation.
            on_progress, should_cancel: see `foundation.progress`.

        Raises:
            Cancelled: `should_cancel` said yes; nothing is kept.
            UserError: an unknown refinement, or a model without a pose library.
        """
        check_mode(refine)
        stages = Stages(on_progress, should_cancel)
        timings: dict[str, float] = {}
        warnings = list(volume.warnings)
        stages.reach(0.0, "looking at the whole volume")
        first = self._look("whole", whole_view(volume, self.model.input_size), volume, timings, warnings)
        looks = [first]
        if self.model.looks_closer:
            looks += self._look_closer(first, volume, stages, timings, warnings)
        stages.reach(0.95, "measuring")
        estimate = self._conclude(tuple(looks), timings, warnings)
        if refine != "off" and estimate.found:
            estimate = self._refined(volume, estimate, refine, (), stages)
        stages.reach(1.0, "done")
        return estimate

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
            on_progress, should_cancel: see `foundation.progress`.

        Raises:
            Cancelled: `should_cancel` said yes.
            UserError: an unknown landmark or mode, a pinned landmark without a place, or no pose library.
        """
        check_mode(mode)
        rows = pinned_rows(estimate.pose, tuple(pinned), self._schema)
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
            found = by_prior(pose, prior, pinned, rows)
            if found is None:
                warnings.append(TOO_LITTLE)
            else:
                pose, record = found
        if tuned is not None and not tuned.best:
            warnings.append(DROPPED)
        if tuned is not None:
            pose, record = by_tuning(pose, tuned, prior, record)
        return replace(
            estimate,
            pose=pose if pinned else sides_again(pose, self._schema),
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

        try:
            return self._tuning(volume, self._grid_for(volume, estimate), estimate, prior, pinned).run(
                self._device, tell
            )
        except (torch.cuda.OutOfMemoryError, BudgetError):
            warnings.append("The memory was too small to tune the network; the pose library alone was used.")
            return None

    def _grid_for(self, volume: Volume, estimate: Estimate) -> Grid:
        """What the network was last shown, or would be for this pose."""
        if estimate.looks and estimate.looks[-1].grid is not None:
            return estimate.looks[-1].grid
        frame = body_frame(estimate.pose.positions, None, self.model.template) if self.model.looks_closer else None
        return whole_view(volume, self.model.input_size) if frame is None else close_view(frame, self.model.input_size)

    def _tuning(
        self, volume: Volume, grid: Grid, estimate: Estimate, prior: ShapePrior, pinned: tuple[int, ...]
    ) -> Tuning:
        picture = normalise(resample(volume, grid))
        plan = None
        if self._asked is not None:
            budget = max(self._asked.prediction.peak_bytes, self._budget or 0)
            plan = plan_training(
                self.model.network, self.model.input_size, budget_bytes=budget, machine=Machine.of(self._device)
            )
        seen = grid.to_world(self._forward(picture)[0].points_ijk.double().numpy())
        return Tuning(
            network=self.model.network,
            picture=picture,
            grid=grid,
            sigma=self.model.sigma,
            prior=prior,
            channels=_matching_channels(estimate.pose.positions, seen, self._schema),
            pinned={row: estimate.pose.positions[row] for row in pinned},
            plan=plan,
        )

    def _look_closer(
        self, first: Look, volume: Volume, stages: Stages, timings: dict[str, float], warnings: list[str]
    ) -> list[Look]:
        """Follow the ways in which the body may lie, most likely first, until one is seen clearly."""
        best: list[Look] = []
        most = len(first.hypotheses) * MAXIMUM_CLOSE_LOOKS
        for number, frame in enumerate(first.hypotheses):
            looks: list[Look] = []
            for again in range(MAXIMUM_CLOSE_LOOKS):
                stages.reach(0.3 + 0.6 * (number * MAXIMUM_CLOSE_LOOKS + again) / most, "looking closer")
                grid = close_view(frame, self.model.input_size)
                looks.append(self._look("close", grid, volume, timings, warnings))
                following = looks[-1].frame
                if following is None or _settled(frame, following):
                    break
                frame = following
            if not best or looks[-1].clarity > best[-1].clarity:
                best = looks
            if best[-1].clarity >= CLEAR:
                break
        return best

    def _look(self, view: str, grid: Grid, volume: Volume, timings: dict[str, float], warnings: list[str]) -> Look:
        started = time.perf_counter()
        picture = normalise(resample(volume, grid))
        resampled = time.perf_counter()
        found, logits = self._infer(picture, warnings)
        seen = time.perf_counter()
        template = self.model.template
        positions = grid.to_world(found.points_ijk.double().numpy())
        mass = found.peak_mass.double().numpy()
        frame = body_frame(positions, np.maximum(mass, 1e-6), template)
        if self._limbs and frame is not None and (view == "close" or not self.model.looks_closer):
            found = settle_limbs(logits, found, self.model.sigma, grid, frame.length_mm, self._limbs)
            positions = grid.to_world(found.points_ijk.double().numpy())
            mass = found.peak_mass.double().numpy()
        spread = found.spread.double().numpy() * grid.spacing_mm
        hypotheses = []
        if view == "whole" and self.model.looks_closer:
            # one by one: all probabilities at once would take as much memory as the logits
            maps = np.stack([torch.softmax(one.flatten(), dim=0).view_as(one).cpu().numpy() for one in logits])
            if self.model.sides_anonymous:  # either map of a pair may hold either limb
                maps = (maps + maps[self._schema.mirror_rows]) / 2
            hypotheses = body_hypotheses(maps, grid, template, MAXIMUM_HYPOTHESES)
        _add(timings, "resampling", resampled - started)
        _add(timings, "network", seen - resampled)
        _add(timings, "reading heatmaps", time.perf_counter() - seen)
        return Look(view, positions, spread, mass, frame, tuple(hypotheses), grid)

    def _infer(self, picture: NDArray[np.float32], warnings: list[str]) -> tuple[Decoded, torch.Tensor]:
        """Landmarks and logits; a full GPU is met with leaner and leaner plans, then with the CPU."""
        found = self._attempt(picture)
        if found is not None:
            return found
        while self._take_less_memory():
            found = self._attempt(picture)
            if found is not None:
                warnings.append(f"The GPU's memory was too small; the network was run by a {self.memory_plan}.")
                return found
        warnings.append("The GPU's memory was too small for this model; the estimate was made on the CPU.")
        self.device_reason = "the GPU ran out of memory"
        self._manage(self._asked)
        self._move_to(torch.device("cpu"))
        return self._forward(picture)

    def _attempt(self, picture: NDArray[np.float32]) -> tuple[Decoded, torch.Tensor] | None:
        """`_forward`, None if the GPU is full."""
        try:
            return self._forward(picture)
        except torch.cuda.OutOfMemoryError:
            pass  # until here the error holds on to the tensors of the attempt
        torch.cuda.empty_cache()
        return None

    @property
    def memory_plan(self) -> str:
        """How the network is kept within a budget, one sentence; empty without one."""
        return "" if self._managed is None else self._managed.plan.summary()

    def _manage(self, plan: MemoryPlan | None) -> None:
        lean = plan is not None and plan.executor != "vanilla"
        self._managed = ManagedNetwork(self.model.network, plan) if plan is not None and lean else None

    def _take_less_memory(self) -> bool:
        """Turn to the next leaner plan, if there is one."""
        if not isinstance(self.model.network, UNet3d):
            return False
        plan = self._leaner_plan(self.model.network)
        if plan is None:
            return False
        self._manage(plan)
        self._move_to(self._device)
        return True

    def _leaner_plan(self, network: UNet3d) -> MemoryPlan | None:
        size = self.model.input_size
        if self._managed is None:
            return plan_inference(network, size)
        peak = self._managed.plan.prediction.peak_bytes
        try:
            return plan_inference(network, size, budget_bytes=int(_NEXT_SHARE * peak))
        except BudgetError as error:
            least = error.smallest_bytes
        return plan_inference(network, size, budget_bytes=least) if least < peak else None

    @torch.inference_mode()
    def _forward(self, picture: NDArray[np.float32]) -> tuple[Decoded, torch.Tensor]:
        """Landmarks on the CPU, and the heatmap logits (22, K, J, I) where they were made."""
        batch = torch.from_numpy(np.ascontiguousarray(picture))[None, None].to(self._device)
        if self._managed is not None:
            logits = self._managed(batch)[0].float()
        else:
            logits = self._network(batch.contiguous(memory_format=torch.channels_last_3d))[0].float()
        return decode(logits, sigma=self.model.sigma).cpu(), logits

    def _move_to(self, device: torch.device) -> None:
        self._device = device
        network = self.model.network.to(device).eval()
        # slices of channels want them one after the other; plain convolutions are faster the other way
        layout = torch.contiguous_format if self._managed is not None else torch.channels_last_3d
        self._network = network.to(memory_format=layout)  # type: ignore[call-overload]

    def _conclude(self, looks: tuple[Look, ...], timings: dict[str, float], warnings: list[str]) -> Estimate:
        last = looks[-1]
        confidence = self._calibration.confidence(last.spread_mm, last.peak_mass)
        presence = presence_in(looks)
        reason = self._reason_against(last, presence)
        nowhere = Pose(np.full((self._schema.count, 3), np.nan))
        pose = nowhere if reason else self._pose(last, confidence, warnings)
        return Estimate(
            pose=pose,
            found=not reason,
            presence=presence,
            reason=reason,
            device=describe_device(self._device),
            device_reason=self.device_reason,
            timings=timings,
            warnings=tuple(dict.fromkeys(warnings)),
            model=self.model.identity,
            looks=looks,
            memory_plan=self.memory_plan,
        )

    def _pose(self, look: Look, confidence: Array, warnings: list[str]) -> Pose:
        radius = self._calibration.radius90_mm(look.spread_mm, look.peak_mass)
        positions, laterality = resolve_sides(look.positions, self._schema, radius)
        order = row_order(laterality, self._schema)
        if laterality.consistent is False:
            warnings.append("Arms and legs disagree about which side is left; check the sides.")
        pose = Pose(positions, confidence=confidence[order], radius90_mm=radius[order])
        return replace(pose, laterality=laterality)

    def _reason_against(self, look: Look, presence: float) -> str:
        if presence < self._calibration.presence_threshold:
            return (
                f"No fetus found: head and trunk stand out with a score of {presence:.2f}, "
                f"below the {self._calibration.presence_threshold:.2f} that this model needs."
            )
        low, high = PLAUSIBLE_LENGTH_MM
        if look.frame is None or not low <= look.frame.length_mm <= high:
            return "No fetus found: the landmarks do not make up a body of 10-15 weeks."
        return ""


def presence_in(looks: Sequence[Look]) -> float:
    """How clearly head and trunk stand out, 0-1: probability mass around them, geometric mean of first and last look.

    A close look at nothing may imagine a body; the first look at the whole volume then has seen none.
    """
    rows = list(default_schema().rows("ht"))
    first, last = (float(look.peak_mass[rows].mean()) for look in (looks[0], looks[-1]))
    return math.sqrt(max(first, 0.0) * max(last, 0.0))


def choose_device(device: str) -> tuple[torch.device, str]:
    """The torch device for "auto", "cpu", "cuda" or "cuda:N", and why it was chosen.

    Raises:
        UserError: a GPU was asked for and there is none, or the name is unknown.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", 0), "a CUDA GPU is available"
        return torch.device("cpu"), "no CUDA GPU was found"
    # Not left to torch.device, which wraps numbers beyond 127 around.
    named = re.fullmatch(r"cpu|cuda(?::(\d{1,4}))?", device)
    if named is None:
        raise UserError(f"unknown device {device!r}", remedy="Use auto, cpu, cuda or cuda:N")
    if device == "cpu":
        return torch.device("cpu"), "chosen by the user"
    number = int(named[1] or 0)
    if number >= torch.cuda.device_count():
        raise UserError("there is no such CUDA GPU", where=device, remedy="Use --device auto or cpu")
    return torch.device("cuda", number), "chosen by the user"


def describe_device(device: torch.device) -> str:
    """A device as a user knows it."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return str(device)


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


def _settled(before: BodyFrame, after: BodyFrame | None) -> bool:
    if after is None:
        return True
    turned = before.angle_to(after) > _SETTLED_DEGREES
    resized = abs(np.log(after.length_mm / before.length_mm)) > _SETTLED_SCALE
    return not (turned or resized)


def _add(timings: dict[str, float], stage: str, seconds: float) -> None:
    timings[stage] = timings.get(stage, 0.0) + seconds
