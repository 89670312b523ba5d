"""A second fetus in a volume: where it may lie beside the first, and whether what a view shows of it is another body.

The heatmaps of the whole volume mostly mark one body. Cut where that one lies, what is left of them shows the second,
however faint it is beside the first.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from FetusMapV2Lib.anatomy.body_frame import BodyFrame
from FetusMapV2Lib.anatomy.planes import nearest_on_segment
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.estimation.body_hypotheses import frames_of, torso_frames, torso_rows
from FetusMapV2Lib.estimation.detection import torso_mass
from FetusMapV2Lib.estimation.estimate import Status, ViewPrediction
from FetusMapV2Lib.estimation.host_copy import host_copies
from FetusMapV2Lib.imaging.grid import Grid

Array = NDArray[np.float64]

#: What is cut out of the heatmap of a landmark: the first body, up to this distance from the axis between its crown
#: and rump, and what lies around the landmark's own place in it, up to the other (crown-rump lengths).
_BODY_REACH, _LANDMARK_REACH = 0.25, 0.7
#: How clear a body beside the first has to be for a close view of it (`frame_beside`).
LEAST_CLEARNESS = 3.5
#: Probability mass around head and trunk in its last close view from which a second fetus is doubtful, and found.
_DOUBTFUL, _FOUND = 0.78, 0.85
#: Two bodies differ in length by at most this factor, and their centres are apart by this share of their mean length.
_GREATEST_RATIO, _LEAST_APART = 1.6, 0.45
#: Landmarks of head and trunk this near to the axis of the other body lie inside it (crown-rump lengths), and how many
#: of them may.
_INSIDE, _MOST_INSIDE = 0.2, 2

#: What an estimate says when it has a second one.
SECOND_SEEN = "A second fetus was seen; it has a pose of its own."
_DOUBTFUL_REASON = (
    "It is doubtful whether this is a second fetus: head and trunk stand out with {:.2f} in its close view, below the "
    "{:.2f} from which it counts as found; check every landmark."
)


def frame_beside(maps: Tensor, grid: Grid, first: ViewPrediction, template: Array) -> tuple[BodyFrame, float] | None:
    """The likeliest body frame beside a body, from the heatmaps of the whole volume.

    Args:
        maps: (22, K, J, I) probabilities, each summing to one.
        grid: of the maps.
        first: the last view of the body that is cut out of them.
        template: (22, 3) canonical pose.

    Returns:
        The frame, and how clear it is: the mean logarithm by which the heatmaps, cut, are higher where the frame puts
        head and trunk than if they were flat. None if the first view has no body, or nothing is left beside it.
    """
    if first.frame is None:
        return None
    rows = list(torso_rows(default_schema()))
    torso = torch.stack([maps[row] for row in rows])
    torso *= _outside(grid, first.frame, first.positions[rows], torso.device)
    torso /= torso.sum(dim=(1, 2, 3), keepdim=True).clamp_min(torch.finfo(torso.dtype).tiny)
    (found,) = host_copies([torso_frames(torso, grid, template, 1)])
    frames = frames_of(found)
    return (frames[0], float(found[0, -1])) if frames else None


def _outside(grid: Grid, body: BodyFrame, places: Array, device: torch.device) -> Tensor:
    """(L, K, J, I) float32: 1 where a voxel is neither of a body nor near the place (L, 3) of the landmark in it."""
    points = grid.to_voxel(np.concatenate([*(end[None] for end in _ends(body)), places]))[:, ::-1]
    crown, rump, *own = torch.from_numpy(points.astype(np.float32)).to(device, non_blocking=True)
    steps = [torch.arange(size, dtype=torch.float32, device=device) for size in grid.shape]
    voxels = torch.stack(torch.meshgrid(*steps, indexing="ij"), dim=-1)
    line, length = crown - rump, body.length_mm / grid.spacing_mm
    share = ((voxels - rump) @ line / (line @ line)).clamp(0, 1)
    from_axis = torch.linalg.vector_norm(voxels - rump - share[..., None] * line, dim=-1)
    beside = from_axis > _BODY_REACH * length
    squares = [[(step - at) ** 2 for step, at in zip(steps, one, strict=True)] for one in own]
    away = torch.stack([k[:, None, None] + j[:, None] + i for k, j, i in squares])
    outside: Tensor = (beside & (away > (_LANDMARK_REACH * length) ** 2)).float()
    return outside


def is_second_body(view: ViewPrediction, first: ViewPrediction) -> bool:
    """Whether a close view shows a body of its own, large enough, apart from the first, and clear enough.

    Args:
        view: the last close view of the second body.
        first: the last view of the first body.
    """
    if view.frame is None or first.frame is None or not torso_mass(view) >= _DOUBTFUL:
        return False
    lengths = view.frame.length_mm, first.frame.length_mm
    apart = float(np.linalg.norm(view.frame.centre - first.frame.centre))
    if abs(math.log(lengths[0] / lengths[1])) > math.log(_GREATEST_RATIO) or apart < _LEAST_APART * np.mean(lengths):
        return False
    return max(_inside(view, first.frame), _inside(first, view.frame)) <= _MOST_INSIDE


def grade_second(view: ViewPrediction) -> tuple[Status, str]:
    """The grade of presence of a second body (`is_second_body`), and why it is not "found"."""
    mass = torso_mass(view)
    return ("found", "") if mass >= _FOUND else ("doubtful", _DOUBTFUL_REASON.format(mass, _FOUND))


def _inside(view: ViewPrediction, body: BodyFrame) -> int:
    """How many landmarks of head and trunk lie inside a body."""
    points = view.positions[list(default_schema().rows("ht"))]
    distance = np.linalg.norm(points - nearest_on_segment(points, *_ends(body)), axis=1)
    return int((distance < _INSIDE * body.length_mm).sum())


def _ends(body: BodyFrame) -> tuple[Array, Array]:
    """Crown and rump (RAS mm) on the axis through the centre of a body."""
    half = body.axes[:, 2] * body.length_mm / 2
    return body.centre + half, body.centre - half
