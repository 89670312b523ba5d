"""Random views of a case: the whole volume rotated and scaled, close and tight views of an imperfect body, a patch.

Everything is a pure function of the given generator.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from FetusMapV2Lib.anatomy.body_frame import BodyFrame, body_frame
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.estimation.network_views import close_view, tight_view
from FetusMapV2Lib.imaging.grid import Grid
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.training.preset_options import AugmentationOptions

Array = NDArray[np.float64]
Shape = tuple[int, int, int]

#: Voxels left free between the landmarks and the border of a view, where the volume is larger than the view.
_MARGIN_VOXELS = 3.0
#: What a tight view is aimed at: error of the frame's turn as a share of that of a close view, and standard deviation
#: of that of each landmark, in crown-rump lengths; range of the margin; probability that some limbs were not seen.
_TIGHT_TURN, _TIGHT_MISS, _TIGHT_MARGINS, _LIMBS_UNSEEN = 0.5, 0.03, (0.07, 0.16), 0.3
#: Crown-rump length of the random body frame in a volume without a fetus, mm.
_EMPTY_LENGTH_MM = (30.0, 95.0)


def quarter_turns() -> Array:
    """The 24 proper rotations by multiples of 90 degrees about the axes, (24, 3, 3), identity first."""
    matrices = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            matrix = np.zeros((3, 3))
            matrix[range(3), order] = signs
            if np.linalg.det(matrix) > 0:
                matrices.append(matrix)
    matrices.sort(key=lambda m: -np.trace(m))
    return np.stack(matrices)


_TURNS = quarter_turns()
_LONG_AXIS_TURNS = _TURNS[np.abs(_TURNS[:, 2, 2]) == 1]


def random_whole_view(
    fitted: Grid, positions: Array, options: AugmentationOptions, generator: np.random.Generator
) -> Grid:
    """The whole view of a volume, rotated, scaled and shifted at random.

    Quarter turns may rotate the volume's long side away from the view's long side; the view is then shifted along the
    volume so that the landmarks stay inside where possible.

    Args:
        fitted: `Grid.fit` of the volume, or the grid of a box of it.
        positions: (22, 3) RAS mm, NaN = missing; may be all missing.
        options: see `AugmentationOptions`.
        generator: source of randomness.
    """
    axes, spacing = _turned_and_scaled(fitted, options, generator)
    size = spacing * np.array(fitted.shape[::-1], dtype=float)
    centre = axes.T @ fitted.centre_ras + generator.uniform(-1, 1, 3) * options.shift * size
    known = positions[np.isfinite(positions).all(axis=1)]
    if len(known):
        room = size / 2 - _MARGIN_VOXELS * spacing
        along = known @ axes
        # all landmarks inside if they fit, otherwise centred
        low, high = along.max(axis=0) - room, along.min(axis=0) + room
        centre = np.where(low <= high, np.clip(centre, low, high), (low + high) / 2)
    return Grid.around(axes @ centre, axes, spacing, fitted.shape)


def random_patch(
    whole: Grid,
    patch_size: Shape,
    positions: Array,
    aimed: float,
    options: AugmentationOptions,
    generator: np.random.Generator,
) -> Grid:
    """A patch of a volume, rotated and scaled at random, inside the volume where it fits.

    Args:
        whole: `patch_grid` of the volume.
        patch_size: (k, j, i) voxels.
        positions: (22, 3) RAS mm, NaN = missing; may be all missing.
        aimed: probability that the patch holds a landmark, one of those that are known, anywhere in it.
        options: see `AugmentationOptions`; quarter turns, turn and scale as for whole views.
        generator: source of randomness.
    """
    axes, spacing = _turned_and_scaled(whole, options, generator)
    half = spacing * np.array(patch_size[::-1], dtype=float) / 2
    volume_half = np.abs(axes.T @ whole.axes) @ (whole.spacing_mm * np.array(whole.shape[::-1], dtype=float)) / 2
    middle = axes.T @ whole.centre_ras
    free = np.maximum(volume_half - half, 0.0)
    place = generator.uniform(-1, 1, 3)
    known = positions[np.isfinite(positions).all(axis=1)]
    if len(known) and generator.random() < aimed:
        landmark = axes.T @ known[generator.integers(len(known))]
        centre = np.clip(landmark + place * half, middle - free, middle + free)
    else:
        centre = middle + place * free
    return Grid.around(axes @ centre, axes, spacing, patch_size)


def _turned_and_scaled(grid: Grid, options: AugmentationOptions, generator: np.random.Generator) -> tuple[Array, float]:
    """Axes and spacing of a grid after a random rotation and scaling."""
    turns = {"all": _TURNS, "long-axis": _LONG_AXIS_TURNS}.get(options.quarter_turns, _TURNS[:1])
    axes = grid.axes @ turns[generator.integers(len(turns))]
    axes = axes @ _random_turn(options.rotation_deg, generator)
    return axes, grid.spacing_mm * generator.uniform(*options.scale)


def frame_of(volume: Volume, positions: Array, template: Array, generator: np.random.Generator) -> BodyFrame | None:
    """The body frame of some landmarks; None if they are too few, and without any (no fetus) a random one."""
    if np.isfinite(positions).all(axis=1).any():
        return body_frame(positions, None, template, default_schema())
    return _empty_frame(volume, generator)


def random_close_view(
    frame: BodyFrame, shape: Shape, options: AugmentationOptions, generator: np.random.Generator
) -> Grid:
    """A close view around an imperfect body frame, as after a whole view."""
    factor = 3.0 if generator.random() < options.close_wild else 1.0
    aimed = frame.jittered(
        generator,
        factor * options.close_rotation_deg,
        factor * options.close_log_scale,
        factor * options.close_shift,
    )
    return close_view(aimed, shape)


def random_tight_view(
    frame: BodyFrame,
    positions: Array,
    template: Array,
    shape: Shape,
    options: AugmentationOptions,
    generator: np.random.Generator,
) -> Grid:
    """A tight view around imperfect landmarks, as after a close view; without any those of the template.

    Now and then limbs were not seen where they are, and may lie outside.
    """
    aimed = frame.jittered(generator, _TIGHT_TURN * options.close_rotation_deg, 0.0, 0.0)
    seen = positions if np.isfinite(positions).any() else frame.centre + frame.length_mm * template @ frame.axes.T
    seen = seen + generator.normal(0, _TIGHT_MISS * frame.length_mm, seen.shape)
    if generator.random() < _LIMBS_UNSEEN:
        schema = default_schema()
        for limb in generator.permutation(["la", "ra", "ll", "rl"])[: generator.integers(1, 4)]:
            seen[list(schema.rows(str(limb))[1:])] = np.nan
    return tight_view(aimed, seen, shape, generator.uniform(*_TIGHT_MARGINS))


def random_part(volume: Volume, like: Grid, generator: np.random.Generator) -> Grid:
    """A grid of the shape of another, of about its spacing, anywhere in a volume and turned at random."""
    inside = generator.uniform(0.25, 0.75, 3) * (np.array(volume.shape[::-1]) - 1)
    centre = volume.ijk_to_ras[:3, :3] @ inside + volume.ijk_to_ras[:3, 3]
    # a volume smaller than the view is enlarged rather than surrounded by black
    largest = 1.2 * max(volume.extent_mm) / max(like.shape)
    spacing = min(like.spacing_mm, largest) * generator.uniform(0.6, 1.0)
    turn = Rotation.from_quat(generator.normal(size=4))
    return Grid.around(centre, turn.as_matrix(), spacing, like.shape)


def _empty_frame(volume: Volume, generator: np.random.Generator) -> BodyFrame:
    inside = generator.uniform(0.25, 0.75, 3) * (np.array(volume.shape[::-1]) - 1)
    centre = volume.ijk_to_ras[:3, :3] @ inside + volume.ijk_to_ras[:3, 3]
    turn = Rotation.from_quat(generator.normal(size=4))
    return BodyFrame(centre, turn.as_matrix(), float(generator.uniform(*_EMPTY_LENGTH_MM)))


def _random_turn(degrees: float, generator: np.random.Generator) -> Array:
    axis = generator.normal(size=3)
    angle = np.radians(degrees) * generator.normal()
    return np.asarray(Rotation.from_rotvec(axis / np.linalg.norm(axis) * angle).as_matrix())
