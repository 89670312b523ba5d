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
        managed = None if self.plan is None or self.plan.executor == "vanilla" else self._managed(network, self.plan)
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
        optimiser = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, betas=_BETAS)
        iterates: list[Iterate] = []
        losses: list[float] = []
        labels: PseudoLabels | None = None
        for step in range(ITERATIONS):
            if before_step is not None:
                before_step(step)
            optimiser.zero_grad(set_to_none=True)
            # a managed network never holds gradients and whole heatmaps at once: it computes them twice
            logits = network(batch) if managed is None else _heatmaps(managed, batch)
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
            torch.autograd.backward(loss)
            losses.append(float(loss.detach()))
            optimiser.step()
        if labels is None:
            return None
        positions = self._positions(_heatmaps(managed or network, batch))
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
        for row, position in self.pinned.items():
            positions[row] = position
        return positions

    def _targets(self, labels: PseudoLabels) -> Tensor:
        """(1, 22, 3) voxels by heatmap: pseudo labels of the refined set, pinned positions, else NaN."""
        wanted = labels.positions.copy()
        for row, position in self.pinned.items():
            wanted[row] = position
        by_channel = np.full_like(wanted, np.nan)
        by_channel[list(self.channels)] = self.grid.to_voxel(wanted)
        return torch.from_numpy(by_channel).float()[None]

    def _loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        known = torch.isfinite(targets[0]).all(dim=-1).nonzero().flatten()
        each = cross_entropy(logits[:, known], targets[:, known], _present(targets), self.sigma)
        return each.sum() / _count(targets)

    def _slab_loss(self, managed: ManagedNetwork, batch: Tensor, targets: Tensor) -> Tensor:
        loss: Tensor = managed.loss(batch, SlabHeatmapLoss(targets, _present(targets), self.sigma))
        return loss * (targets.shape[1] / _count(targets))


def _heatmaps(network: nn.Module | ManagedNetwork, batch: Tensor) -> Tensor:
    with torch.no_grad():
        result: Tensor = network(batch)
        return result


def _present(targets: Tensor) -> Tensor:
    return torch.ones(len(targets), dtype=torch.bool, device=targets.device)


def _count(targets: Tensor) -> int:
    """How many landmarks have a target; Eq. 11 is a mean over those."""
    return max(1, int(torch.isfinite(targets).all(dim=-1).sum()))
