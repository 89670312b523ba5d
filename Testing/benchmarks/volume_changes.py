"""What robustness.py does to a volume, one change at a time. It shares no code with the distortions of training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.imaging.volume import Volume

WHITE = 255.0


@dataclass(frozen=True)
class Scene:
    """A volume and its landmarks, (22, 3) RAS mm."""

    volume: Volume
    truth: np.ndarray

    def with_grey(self, grey: np.ndarray) -> Scene:
        """The scene with other greys, clipped and rounded as an 8-bit file has them."""
        array = np.clip(np.rint(grey), 0, WHITE).astype(np.uint8)
        return Scene(self.volume.with_(array=array), self.truth)

    @property
    def grey(self) -> np.ndarray:
        """The greys as numbers, 0-255."""
        return np.asarray(self.volume.array, dtype=np.float32)

    @property
    def spacing_mm(self) -> float:
        """Of its voxels, which are cubes."""
        return self.volume.spacing[0]


Change = Callable[[Scene], Scene]


def noise(strength: float) -> Change:
    """Gaussian noise of a standard deviation in grey values of 255."""
    draw = np.random.default_rng(7)
    return lambda scene: scene.with_grey(scene.grey + strength * draw.standard_normal(scene.volume.shape))


def blur(sigma_mm: float) -> Change:
    """A Gaussian."""
    return lambda scene: scene.with_grey(ndimage.gaussian_filter(scene.grey, sigma_mm / scene.spacing_mm))


def curve(function: Callable[[np.ndarray], np.ndarray]) -> Change:
    """A function of the greys, 0 to 1."""
    return lambda scene: scene.with_grey(WHITE * function(scene.grey / WHITE))


def gamma(exponent: float) -> Change:
    """A power of the greys."""
    return curve(lambda grey: grey**exponent)


def s_curve(grey: np.ndarray) -> np.ndarray:
    """Steep in the middle of the greys that are there."""
    return np.asarray(1 / (1 + np.exp(-14 * (grey - 0.25))))


def haze(scene: Scene) -> Scene:
    """A veil that grows along the first axis."""
    depth = np.linspace(0, 1, scene.volume.shape[0], dtype=np.float32)[:, None, None]
    return scene.with_grey(scene.grey * (1 - 0.6 * depth) + 70 * depth)


def depth_bands(scene: Scene) -> Scene:
    """Bands of +- 8 decibels along the first axis."""
    depth = np.linspace(0, 3 * 2 * np.pi, scene.volume.shape[0], dtype=np.float32)[:, None, None]
    return scene.with_grey(scene.grey * 10 ** (8 * np.sin(depth) / 20))


def median(scene: Scene) -> Scene:
    """Of 3x3x3 voxels."""
    return scene.with_grey(ndimage.median_filter(scene.grey, 3))


def coarser(spacing_mm: float, axes: Sequence[int] = (0, 1, 2)) -> Change:
    """Larger voxels, along some of the axes (k, j, i)."""

    def change(scene: Scene) -> Scene:
        factor = max(1, round(spacing_mm / scene.spacing_mm))
        grey, matrix = scene.grey, scene.volume.ijk_to_ras.copy()
        for axis in axes:
            length = grey.shape[axis] // factor * factor
            grey = np.take(grey, range(length), axis)
            shape = [*grey.shape[:axis], length // factor, factor, *grey.shape[axis + 1 :]]
            grey = grey.reshape(shape).mean(axis=axis + 1)
            matrix[:3, 3] += matrix[:3, 2 - axis] * (factor - 1) / 2
            matrix[:3, 2 - axis] *= factor
        changed = scene.with_grey(grey)
        return Scene(changed.volume.with_(ijk_to_ras=matrix), scene.truth)

    return change


def field(margin_mm: float) -> Change:
    """A box at a distance from the landmarks; where it is larger than the volume, it is black there."""

    def change(scene: Scene) -> Scene:
        inside = _indices(scene)
        margin = margin_mm / scene.spacing_mm
        first = np.floor(inside.min(axis=0) - margin).astype(int)
        last = np.ceil(inside.max(axis=0) + margin).astype(int) + 1
        return _boxed(scene, first, last)

    return change


def larger(by_mm: float) -> Change:
    """The volume with black around it on all sides."""

    def change(scene: Scene) -> Scene:
        voxels = round(by_mm / scene.spacing_mm)
        return _boxed(scene, np.full(3, -voxels), np.array(scene.volume.shape) + voxels)

    return change


def legs_cut(scene: Scene) -> Scene:
    """What lies below the hips is outside the volume; the landmarks there are missing in the truth."""
    schema = default_schema()
    inside = _indices(scene)
    hips = inside[[schema.rows("ll")[0], schema.rows("rl")[0]]].mean(axis=0)
    knees = inside[[schema.rows("ll")[1], schema.rows("rl")[1]]].mean(axis=0)
    axis = int(np.argmax(np.abs(knees - hips)))
    at = round(float((hips + knees)[axis] / 2))
    grey, backwards = scene.grey.copy(), knees[axis] < hips[axis]
    np.moveaxis(grey, axis, 0)[slice(None, at) if backwards else slice(at, None)] = 0
    beyond = inside[:, axis] < at if backwards else inside[:, axis] > at
    return Scene(scene.with_grey(grey).volume, np.where(beyond[:, None], np.nan, scene.truth))


def blacked_out(scene: Scene) -> Scene:
    """Black wherever the skeleton is further than 14 mm."""
    return scene.with_grey(np.where(_near_skeleton(scene, 14.0), scene.grey, 0))


def replaced(scene: Scene) -> Scene:
    """Bright speckle wherever the skeleton is further than 14 mm."""
    speckle = np.random.default_rng(9).rayleigh(50.0, scene.volume.shape)
    return scene.with_grey(np.where(_near_skeleton(scene, 14.0), scene.grey, speckle))


def mirrored(scene: Scene) -> Scene:
    """The mirror image, as a wrong reader makes it: the fetus's left hand is still its left hand."""
    truth = scene.truth.copy()
    truth[:, 0] = 2 * scene.volume.centre_ras[0] - truth[:, 0]
    return Scene(scene.volume.mirrored(), truth)


def filled(value: int) -> Change:
    """Another value for the black around the sector."""

    def change(scene: Scene) -> Scene:
        named, _ = ndimage.label(scene.volume.array == 0)
        faces = [named.take(place, axis=axis).ravel() for axis in range(3) for place in (0, -1)]
        outside = np.isin(named, np.setdiff1d(np.concatenate(faces), [0]))
        return Scene(scene.volume.with_(array=np.where(outside, value, scene.grey).astype(np.int16)), scene.truth)

    return change


def _indices(scene: Scene) -> np.ndarray:
    """(22, 3) voxel indices (k, j, i) of the landmarks."""
    matrix = scene.volume.ras_to_ijk
    return np.asarray((scene.truth @ matrix[:3, :3].T + matrix[:3, 3])[:, ::-1])


def _boxed(scene: Scene, first: np.ndarray, last: np.ndarray) -> Scene:
    """The voxels from `first` to before `last` (k, j, i), black where there are none."""
    shape = np.array(scene.volume.shape)
    grey = np.zeros(last - first, dtype=np.float32)
    low, high = np.clip(first, 0, shape), np.clip(last, 0, shape)
    grey[tuple(slice(a, b) for a, b in zip(low - first, high - first, strict=True))] = scene.grey[
        tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    ]
    matrix = scene.volume.ijk_to_ras.copy()
    matrix[:3, 3] += matrix[:3, :3] @ first[::-1]
    return Scene(scene.with_grey(grey).volume.with_(ijk_to_ras=matrix), scene.truth)


def _near_skeleton(scene: Scene, within_mm: float) -> np.ndarray:
    """The voxels within a distance of the lines of the skeleton, bool (k, j, i)."""
    inside, marks = _indices(scene), np.ones(scene.volume.shape, dtype=bool)
    for edge in default_schema().edges:
        line = np.linspace(inside[edge.start], inside[edge.end], 60).round().astype(int)
        marks[tuple(np.clip(line, 0, np.array(marks.shape) - 1).T)] = False
    return np.asarray(ndimage.distance_transform_edt(marks, sampling=scene.spacing_mm) <= within_mm)


FACTORS: Mapping[str, Change] = {
    "unchanged": lambda scene: scene,
    "noise 12": noise(12),
    "noise 30": noise(30),
    "blur 3 mm": blur(3),
    "blur 5 mm": blur(5),
    "median": median,
    "gamma 0.5": gamma(0.5),
    "gamma 2.2": gamma(2.2),
    "S-curve": curve(s_curve),
    "gain 0.4": curve(lambda grey: 0.4 * grey),
    "gain 2.5": curve(lambda grey: 2.5 * grey),
    "black level +50": curve(lambda grey: grey + 50 / WHITE),
    "haze": haze,
    "depth bands": depth_bands,
    "voxel 2 mm": coarser(2.0),
    "slices 4 mm": coarser(4.0, axes=(0,)),
    "field 4 mm around the fetus": field(4),
    "field 15 mm around the fetus": field(15),
    "40 mm of black around": larger(40),
    "70 mm of black around": larger(70),
    "surroundings black": blacked_out,
    "surroundings speckle": replaced,
    "legs outside": legs_cut,
    "fill value -1000": filled(-1000),
    "fill value 255": filled(255),
    "mirrored": mirrored,
}
#: For a first look: what breaks a model most.
QUICK_FACTORS = ("unchanged", "gain 2.5", "field 4 mm around the fetus")
