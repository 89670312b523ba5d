"""`Proportions`: head, neck, trunk and pelvis of a case stretched against one another, picture and landmarks alike.

Against networks that learn from one build where the shoulders are between head and rump, and not from the picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.training.distortions.picture import Range, logarithmic
from FetusMapV2Lib.training.preset_options import Checked

Array = NDArray[np.float64]

#: A body so curled that one of its parts is shorter than this, in crown-rump lengths, stays as it is.
_SHORTEST = 0.04
#: How far beyond crown and rump places are tabulated, in crown-rump lengths, and in how many steps.
_REACH, _STEPS = 4.0, 4096


@dataclass(frozen=True)
class Proportions(Checked):
    """How far the parts of a body are stretched against one another; the crown-rump length stays.

    All factors are drawn on a logarithmic scale.

    Attributes:
        probability: that a case is stretched.
        head, neck, trunk, pelvis: ranges of a factor on a part's length along the line from crown to rump: crown to
            nape, nape to shoulders, shoulders to L5/S1, L5/S1 to rump.
        girth: range of a factor on the width across that line, drawn for each end of a part.
    """

    probability: float = 0.0
    head: Range = (0.6, 1.2)
    neck: Range = (0.6, 1.5)
    trunk: Range = (0.85, 1.4)
    pelvis: Range = (0.6, 1.5)
    girth: Range = (0.85, 1.2)

    def rules(self) -> dict[str, bool]:
        """See `Checked`."""
        ranges = (self.head, self.neck, self.trunk, self.pelvis, self.girth)
        return {
            "proportions.probability must lie in 0-1": 0 <= self.probability <= 1,
            "the ranges of proportions must be positive and rising": all(0 < low <= high for low, high in ranges),
        }

    @property
    def active(self) -> bool:
        """Whether any case is stretched."""
        return self.probability > 0

    def drawn(self, positions: Array, draw: np.random.Generator) -> BodyStretch | None:
        """A stretch of the body with these landmarks (22, 3) RAS mm; None to leave it as it is.

        Bodies without crown, nape, shoulders, L5/S1 or rump, or too curled for an order of these, stay.
        """
        stays = draw.random() >= self.probability
        factors = np.array([logarithmic(draw, one) for one in (self.head, self.neck, self.trunk, self.pelvis)])
        girths = np.array([logarithmic(draw, self.girth) for _ in range(len(factors) + 1)])
        knots = _ends_of_parts(positions)
        if stays or knots is None:
            return None
        row = default_schema().index
        crown, rump = positions[row("cranial_crest")], positions[row("rump")]
        lengths = np.diff(knots) * factors
        moved = np.concatenate([[0.0], np.cumsum(lengths / lengths.sum())])
        return BodyStretch(crown, rump - crown, knots, moved, girths)


def between_crown_and_rump(positions: Array) -> Array:
    """(22,) where landmarks (22, 3) lie along the line from the crown (0) to the rump (1)."""
    row = default_schema().index
    crown = positions[row("cranial_crest")]
    return _along_line(positions, crown, positions[row("rump")] - crown)


def _along_line(points: Array, start: Array, line: Array) -> Array:
    """Where points (n, 3) lie along a line, 0 = its start, 1 = its end."""
    return np.asarray((points - start) @ line / (line @ line))


def _ends_of_parts(positions: Array) -> Array | None:
    """Where the parts end between crown and rump (5,), from 0 to 1; None if that is not known or not in this order."""
    row, place = default_schema().index, between_crown_and_rump(positions)
    shoulders = (place[row("left_shoulder")] + place[row("right_shoulder")]) / 2
    knots = np.array([0.0, place[row("hind_neck")], shoulders, place[row("lumbosacral_spine")], 1.0])
    return knots if np.diff(knots).min() >= _SHORTEST else None


class BodyStretch:
    """Space stretched along the line from crown to rump, and across it by a factor that changes along it.

    Args:
        crown: (3,) RAS mm.
        along: (3,) from the crown to the rump, mm.
        knots: (5,) where the parts end, rising, 0 = crown, 1 = rump.
        moved: (5,) where they end afterwards, from 0 to 1.
        girths: (5,) factors of the width at these ends, held beyond them.
    """

    def __init__(self, crown: Array, along: Array, knots: Array, moved: Array, girths: Array) -> None:
        from scipy.interpolate import PchipInterpolator  # which most trainings need not load

        self._crown, self._along = crown, along
        self._before = np.linspace(-_REACH, 1 + _REACH, _STEPS)
        curve = PchipInterpolator(_framed(knots), _framed(moved))
        self._after = np.asarray(curve(self._before), dtype=np.float64)
        self._girths = np.asarray(PchipInterpolator(knots, girths)(np.clip(self._before, 0, 1)), dtype=np.float64)

    def points(self, positions: Array) -> Array:
        """Where landmarks (n, 3) RAS mm lie afterwards; missing ones (NaN) stay missing."""
        place = _along_line(positions, self._crown, self._along)
        across = positions - self._crown - place[:, None] * self._along
        after = np.interp(place, self._before, self._after)
        girth = np.interp(place, self._before, self._girths)
        return np.asarray(self._crown + after[:, None] * self._along + girth[:, None] * across)

    def volume(self, volume: Volume, device: torch.device, *, labels: bool = False) -> Volume:
        """The volume on the same voxels afterwards; what comes from outside it is 0.

        It has no name, as no cache shall take it for the one that it comes from.

        Args:
            volume: 8-bit greys or labels.
            device: to compute on.
            labels: whether each voxel takes one of the values that it had, not a mean of them.
        """
        values = torch.from_numpy(np.ascontiguousarray(volume.array)).to(device, torch.float32)
        places = self._source(volume, device)
        mode = "nearest" if labels else "bilinear"  # which is trilinear in space
        found = F.grid_sample(values[None, None], places[None], mode, align_corners=True)[0, 0]
        array = found.round_().clamp_(0, 255).to(torch.uint8).cpu().numpy()
        return volume.with_(array=array, name="")

    def _source(self, volume: Volume, device: torch.device) -> Tensor:
        """Where each voxel comes from, (k, j, i, 3) in the coordinates of `grid_sample`."""
        to_index = volume.ras_to_ijk
        first = (to_index[:3, :3] @ self._crown + to_index[:3, 3]).tolist()
        step = (to_index[:3, :3] @ self._along).tolist()
        per_voxel = (volume.ijk_to_ras[:3, :3].T @ self._along / (self._along @ self._along)).tolist()
        k, j, i = (torch.arange(n, device=device, dtype=torch.float32) for n in volume.shape)
        offsets = (i[None, None] - first[0], j[None, :, None] - first[1], k[:, None, None] - first[2])
        place = per_voxel[0] * offsets[0] + per_voxel[1] * offsets[1] + per_voxel[2] * offsets[2]
        # equal steps of the place afterwards, so that a voxel finds its own by arithmetic
        afterwards = np.linspace(self._after[0], self._after[-1], _STEPS)
        before = np.interp(afterwards, self._after, self._before)
        thinner = 1 / np.interp(before, self._before, self._girths)
        at = (place - float(afterwards[0])).mul_((_STEPS - 1) / float(afterwards[-1] - afterwards[0]))
        at = at.clamp_(0, _STEPS - 1.001)
        index = at.int()
        share = at - index
        source = _looked_up(before, index, share)
        factor = _looked_up(thinner, index, share)
        parts = [first[axis] + source * step[axis] + (offsets[axis] - place * step[axis]) * factor for axis in range(3)]
        return torch.stack(
            [part * (2 / max(1, n - 1)) - 1 for part, n in zip(parts, volume.shape[::-1], strict=True)], dim=-1
        )


def _framed(knots: Array) -> Array:
    """Knots between two far ends that stay where they are."""
    return np.concatenate([[-_REACH], knots, [1 + _REACH]])


def _looked_up(table: Array, index: Tensor, share: Tensor) -> Tensor:
    values = torch.from_numpy(table.astype(np.float32)).to(index.device)
    return torch.lerp(values[index], values[index + 1], share)
