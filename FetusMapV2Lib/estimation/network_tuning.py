"""Tunes a copy of the network on one volume, self-supervised by the shape prior (section 3.3 of the paper, Eq. 9-11).

The model itself is never changed by a case.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from FetusMapV2Lib.estimation.host_copy import host_copies
from FetusMapV2Lib.estimation.shape_prior import PseudoLabels, ShapePrior
from FetusMapV2Lib.imaging.grid import Grid
from FetusMapV2Lib.memory.compiler import load_compiler
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


@dataclass(frozen=True, eq=False)
class Iterate:
    """The pose (22, 3) RAS mm that the network saw after some steps, and its distance from the library (Eq. 9).

    Landmarks that neither register nor are refined are NaN.
    """

    positions: Array
    residual_mm: float


@dataclass(frozen=True, eq=False)
class Tuned:
    """A tuning of the network.

    Attributes:
        iterates: the untuned network's first, then one after each step.
        labels: the pseudo labels.
        losses: before each step.
    """

    iterates: tuple[Iterate, ...]
    labels: PseudoLabels
    losses: tuple[float, ...]

    @property
    def best(self) -> int:
        """The iterate nearest to the library, the earliest of equal ones; 0 means that tuning made it worse."""
        return int(np.argmin([one.residual_mm for one in self.iterates]))


@dataclass(frozen=True, eq=False)
class _Targets:
    """Where landmarks are wanted, on the device; Eq. 11 is a mean over those.

    Attributes:
        points_ijk: (1, 22, 3) voxels by heatmap, NaN = nowhere.
        known: (R,) numbers of the other heatmaps.
        count: R, at least 1.
    """

    points_ijk: Tensor
    known: Tensor
    count: int


@dataclass(frozen=True, eq=False)
class Tuning:
    """Self-supervised tuning on one view of a volume: cross-entropy to pseudo labels, refined set only (Eq. 10, 11).

    The pseudo labels are computed once, from what the untuned network sees. Recomputed after every step, labels and
    network would follow one another and drift away from the image.

    Attributes:
        network: copied, never changed.
        image: (K, J, I) what the network sees.
        grid: where the image lies.
        sigma: of the heatmaps, voxels.
        prior: gives the pseudo labels.
        channels: (22,) the heatmap of each landmark.
        pinned: landmark rows set by hand with their position (3,) RAS mm, the truth for the loss.
        plan: keeps the steps within a memory budget; None = no budget.
    """

    network: nn.Module
    image: Tensor
    grid: Grid
    sigma: float
    prior: ShapePrior
    channels: Sequence[int]
    pinned: Mapping[int, Array] = field(default_factory=dict)
    plan: MemoryPlan | None = None

    def run(self, device: torch.device, before_step: Callable[[int], None] | None = None) -> Tuned | None:
        """Tune a copy for `ITERATIONS` steps.

        Args:
            device: where the copy runs.
            before_step: called with the number of each step, from 0; may raise to stop.

        Returns:
            None if the prior has no pseudo labels for what the network sees.
        """
        network = copy.deepcopy(self.network).requires_grad_(True).eval()
        managed = None if self.plan is None or not self.plan.manages else self._managed(network, self.plan)
        batch = self.image[None, None].to(device)
        # a plan is made for the convolutions that it replaces
        with small_convolutions_by_onednn(network) if managed is None else nullcontext():
            return self._steps(network, managed, batch, before_step)

    def _steps(
        self,
        network: nn.Module,
        managed: ManagedNetwork | None,
        batch: Tensor,
        before_step: Callable[[int], None] | None,
    ) -> Tuned | None:
        """The CPU waits for the device twice: for what the labels come from, and for what all steps have seen."""
        load_compiler()
        optimiser = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, betas=_BETAS)
        rows = sorted({*self.prior.registration_rows(self.pinned), *self.prior.refined_rows(self.pinned)})
        channels = torch.tensor([self.channels[row] for row in rows]).to(batch.device)
        seen: list[Tensor] = []
        losses: list[Tensor] = []
        labels: PseudoLabels | None = None
        targets: _Targets | None = None
        for step in range(ITERATIONS):
            if before_step is not None:
                before_step(step)
            optimiser.zero_grad(set_to_none=True)
            # a managed network never holds gradients and whole heatmaps at once: it computes them twice
            logits = network(batch) if managed is None else _heatmaps(managed, batch)
            seen.append(self._points(logits, channels))
            if targets is None:
                labels = self.prior.pseudo_labels(self._positions(host_copies(seen)[0], rows), tuple(self.pinned))
                if labels is None:
                    return None
                targets = self._targets(labels, batch.device)
            if managed is None:
                loss = self._loss(logits, targets)
            else:
                del logits
                loss = self._slab_loss(managed, batch, targets)
            torch.autograd.backward(loss)
            losses.append(loss.detach())
            optimiser.step()
        if labels is None:
            return None
        seen.append(self._points(_heatmaps(managed or network, batch), channels))
        *points, values = host_copies([*seen, torch.stack(losses)])
        iterates = self._iterates([self._positions(one, rows) for one in points])
        return None if len(iterates) < ITERATIONS else Tuned(iterates, labels, tuple(map(float, values)))

    @staticmethod
    def _managed(network: nn.Module, plan: MemoryPlan) -> ManagedNetwork:
        managed = ManagedNetwork(network, plan)
        device = next(network.parameters()).device
        network.to(memory_format=managed.layout_on(device))  # type: ignore[call-overload]
        return managed

    def _points(self, logits: Tensor, channels: Tensor) -> Tensor:
        """(R, 3) voxels that the network sees in some of its heatmaps, on the device."""
        return decode(logits.detach()[0].index_select(0, channels), sigma=self.sigma).points_ijk

    def _positions(self, points_ijk: Array, rows: Sequence[int]) -> Array:
        """(22, 3) RAS mm from the voxels (R, 3) of some rows and what was set by hand; the others are NaN."""
        positions = np.full((len(self.channels), 3), np.nan)
        positions[rows] = self.grid.to_world(points_ijk)
        for row, position in self.pinned.items():
            positions[row] = position
        return positions

    def _iterates(self, positions: Sequence[Array]) -> tuple[Iterate, ...]:
        """What was seen before and after each step, until too little was seen to compare it with the library."""
        iterates = []
        for one in positions:
            labels = self.prior.pseudo_labels(one, tuple(self.pinned))
            if labels is None:
                break
            iterates.append(Iterate(one, labels.residual_mm))
        return tuple(iterates)

    def _targets(self, labels: PseudoLabels, device: torch.device) -> _Targets:
        """Pseudo labels of the refined set and pinned positions, by heatmap."""
        wanted = labels.positions.copy()
        for row, position in self.pinned.items():
            wanted[row] = position
        by_channel = np.full_like(wanted, np.nan)
        by_channel[list(self.channels)] = self.grid.to_voxel(wanted)
        known = np.flatnonzero(np.isfinite(by_channel).all(axis=1))
        points = torch.from_numpy(by_channel).float()[None].to(device)
        return _Targets(points, torch.from_numpy(known).to(device), max(1, len(known)))

    def _loss(self, logits: Tensor, targets: _Targets) -> Tensor:
        maps, points = (one.index_select(1, targets.known) for one in (logits, targets.points_ijk))
        return cross_entropy(maps, points, _present(points), self.sigma).sum() / targets.count

    def _slab_loss(self, managed: ManagedNetwork, batch: Tensor, targets: _Targets) -> Tensor:
        points = targets.points_ijk
        loss: Tensor = managed.loss(batch, SlabHeatmapLoss(points, _present(points), self.sigma))
        return loss * (points.shape[1] / targets.count)


def _heatmaps(network: nn.Module | ManagedNetwork, batch: Tensor) -> Tensor:
    with torch.no_grad():
        result: Tensor = network(batch)
        return result


def _present(targets: Tensor) -> Tensor:
    return torch.ones(len(targets), dtype=torch.bool, device=targets.device)
