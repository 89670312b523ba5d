"""Online refinement (section 3.3 of the paper): by the pose library, and by tuning a copy of the network on one volume.

The model itself is never changed by a case.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from FetusMapV2Lib.anatomy.laterality import resolve_sides, row_order
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import Schema
from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.estimation.estimate import Refinement
from FetusMapV2Lib.estimation.shape_prior import PseudoLabels, ShapePrior
from FetusMapV2Lib.imaging.grid import Grid
from FetusMapV2Lib.memory.managed import ManagedNetwork
from FetusMapV2Lib.memory.plan import MemoryPlan
from FetusMapV2Lib.network.heatmap import decode
from FetusMapV2Lib.network.heatmap_loss import SlabHeatmapLoss, cross_entropy
from FetusMapV2Lib.network.onednn import small_convolutions_by_onednn

Array = NDArray[np.float64]

#: Of the paper, section 4.1.
ITERATIONS = 8
LEARNING_RATE = 5e-4
_BETAS = (0.5, 0.999)
TOO_LITTLE = "Too few landmarks or library poses to compare with; the pose was not refined by the pose library."
DROPPED = "Tuning the network moved the pose away from the pose library; what it gave was dropped."


@dataclass(frozen=True, eq=False)
class Iterate:
    """The pose (22, 3) RAS mm that the network saw after some steps, and its distance from the library (Eq. 9).

    Only landmarks that register or are refined are looked at; the others are NaN.
    """

    positions: Array
    residual_mm: float


@dataclass(frozen=True, eq=False)
class Tuned:
    """All iterates, the untuned network's first, the pseudo labels, and the loss before each step."""

    iterates: tuple[Iterate, ...]
    labels: PseudoLabels
    losses: tuple[float, ...]

    @property
    def best(self) -> int:
        """The iterate nearest to the library, the earliest of equal ones; 0 means that tuning made it worse."""
        return int(np.argmin([one.residual_mm for one in self.iterates]))


@dataclass(frozen=True, eq=False)
class Tuning:
    """Self-supervised tuning on one look at one volume: cross-entropy to pseudo labels, refined set only (Eq. 10, 11).

    The pseudo labels are made once, of what the untuned network sees: made anew after every step they follow the
    network that follows them, and both drift away from the picture.

    Attributes:
        network: copied, never changed.
        picture: (K, J, I) what the network sees.
        grid: where that lies.
        sigma: of the heatmaps, voxels.
        prior: gives the pseudo labels.
        channels: (22,) the heatmap of each landmark.
        pinned: landmark rows set by hand with their place (3,) RAS mm; the loss takes them for the truth.
        plan: how to keep the steps within a memory budget.
    """

    network: nn.Module
    picture: NDArray[np.float32]
    grid: Grid
    sigma: float
    prior: ShapePrior
    channels: Sequence[int]
    pinned: Mapping[int, Array] = field(default_factory=dict)
    plan: MemoryPlan | None = None

    def run(self, device: torch.device, before_step: Callable[[int], None] | None = None) -> Tuned | None:
        """Tune a copy for eight iterations.

        Args:
            device: where the copy runs.
            before_step: called with the number of each step, from 0; may raise to stop.

        Returns:
            None if the prior has nothing to say about what the network sees.
        """
        network = copy.deepcopy(self.network).requires_grad_(True).eval()
        managed = None if self.plan is None or self.plan.executor == "vanilla" else self._managed(network, self.plan)
        batch = torch.from_numpy(np.ascontiguousarray(self.picture))[None, None].to(device)
        # a plan counts on the convolutions that it knows
        with small_convolutions_by_onednn(network) if managed is None else nullcontext():
            return self._steps(network, managed, batch, before_step)

    def _steps(
        self,
        network: nn.Module,
        managed: ManagedNetwork | None,
        batch: Tensor,
        before_step: Callable[[int], None] | None,
    ) -> Tuned | None:
        optimiser = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, betas=_BETAS)
        iterates: list[Iterate] = []
        losses: list[float] = []
        labels: PseudoLabels | None = None
        for step in range(ITERATIONS):
            if before_step is not None:
                before_step(step)
            optimiser.zero_grad(set_to_none=True)
            # a managed network never holds gradients and whole heatmaps at once: it makes them twice
            logits = network(batch) if managed is None else _seen(managed, batch)
            positions = self._positions(logits.detach())
            now = self.prior.pseudo_labels(positions, tuple(self.pinned))
            labels = labels or now
            if now is None or labels is None:
                return None
            iterates.append(Iterate(positions, now.residual_mm))
            targets = self._targets(labels).to(batch.device)
            if managed is None:
                loss = self._loss(logits, targets)
            else:
                del logits
                loss = self._slab_loss(managed, batch, targets)
            loss.backward()
            losses.append(float(loss.detach()))
            optimiser.step()
        if labels is None:
            return None
        positions = self._positions(_seen(managed or network, batch))
        now = self.prior.pseudo_labels(positions, tuple(self.pinned))
        last = [] if now is None else [Iterate(positions, now.residual_mm)]
        return Tuned((*iterates, *last), labels, tuple(losses))

    @staticmethod
    def _managed(network: nn.Module, plan: MemoryPlan) -> ManagedNetwork:
        contiguous: nn.Module = network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        return ManagedNetwork(contiguous, plan)

    def _positions(self, logits: Tensor) -> Array:
        rows = sorted({*self.prior.registration_rows(self.pinned), *self.prior.refined_rows(self.pinned)})
        maps = logits[0, [self.channels[row] for row in rows]].float()
        positions = np.full((len(self.channels), 3), np.nan)
        positions[rows] = self.grid.to_world(decode(maps, sigma=self.sigma).points_ijk.cpu().double().numpy())
        for row, place in self.pinned.items():
            positions[row] = place
        return positions

    def _targets(self, labels: PseudoLabels) -> Tensor:
        """(1, 22, 3) voxels by heatmap: pseudo labels of the refined set, pinned places, else NaN."""
        wanted = labels.positions.copy()
        for row, place in self.pinned.items():
            wanted[row] = place
        by_channel = np.full_like(wanted, np.nan)
        by_channel[list(self.channels)] = self.grid.to_voxel(wanted)
        return torch.from_numpy(by_channel).float()[None]

    def _loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        known = torch.isfinite(targets[0]).all(dim=-1).nonzero().flatten()
        each = cross_entropy(logits[:, known], targets[:, known], _present(targets), self.sigma)
        return each.sum() / _count(targets)

    def _slab_loss(self, managed: ManagedNetwork, batch: Tensor, targets: Tensor) -> Tensor:
        loss = managed.loss(batch, SlabHeatmapLoss(targets, _present(targets), self.sigma))
        return loss * (targets.shape[1] / _count(targets))


def refine_with_prior(
    pose: Pose, prior: ShapePrior, pinned: Sequence[int] = (), rows: Sequence[int] = ()
) -> tuple[Pose, Refinement] | None:
    """A pose with doubtful landmarks moved to where the library wants them (`ShapePrior.weighed`).

    Confidences and radii stay those of the heatmaps.

    Returns:
        None if there is too little to compare.
    """
    positions = prior.weighed(pose.positions, pose.radius90_mm, pinned, rows)
    if positions is None:
        return None
    moved = np.flatnonzero((positions != pose.positions).any(axis=1) & pose.present)
    record = Refinement("prior", numbers_of(moved, prior.schema), numbers_of(pinned, prior.schema))
    return pose.with_positions(positions), record


def refine_with_tuning(pose: Pose, tuned: Tuned, prior: ShapePrior, record: Refinement) -> tuple[Pose, Refinement]:
    """A pose with its refined set as the best iterate saw it; the pose as it is if tuning made it worse.

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
    """A refined pose with its sides named anew, as the landmarks that name them have moved."""
    positions, found = resolve_sides(pose.positions, pose.schema, pose.radius90_mm)
    order = row_order(found, pose.schema)
    before = pose.laterality
    if before is not None:
        arms, legs = found.arms_swapped != before.arms_swapped, found.legs_swapped != before.legs_swapped
        found_twice = replace(found, arms_swapped=arms, legs_swapped=legs)
    else:
        found_twice = found
    return replace(
        pose,
        positions=positions,
        confidence=None if pose.confidence is None else pose.confidence[order],
        radius90_mm=None if pose.radius90_mm is None else pose.radius90_mm[order],
        laterality=found_twice,
    )


def numbers_of(rows: Iterable[int], schema: Schema) -> tuple[int, ...]:
    """Landmark numbers of rows, in their order."""
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


def _seen(network: nn.Module | ManagedNetwork, batch: Tensor) -> Tensor:
    with torch.no_grad():
        result: Tensor = network(batch)
        return result


def _present(targets: Tensor) -> Tensor:
    return torch.ones(len(targets), dtype=torch.bool, device=targets.device)


def _count(targets: Tensor) -> int:
    """How many landmarks have a target; Eq. 11 is a mean over those."""
    return max(1, int(torch.isfinite(targets).all(dim=-1).sum()))
