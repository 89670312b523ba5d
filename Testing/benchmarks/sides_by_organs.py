"""Whether greys tell left from right: the stomach's fluid on the left, the liver on the right, at true landmarks.

PYTHONPATH=. python Testing/benchmarks/sides_by_organs.py CASES [CASES ...]

Greys are compared at 180 pairs of points, mirror images of each other about the midsagittal plane of the trunk. A
linear filter of the differences is made from all cases but one and judged on that one.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scipy import ndimage

from FetusMapV2Lib import Volume
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.imaging.markups import read_markups
from FetusMapV2Lib.imaging.reading import read_volume

#: Places from hips to shoulders, to either side, and from front to back, in trunk lengths.
ALONG, ASIDE, DEPTH = np.linspace(0.1, 0.9, 9), (0.06, 0.12, 0.18, 0.24), np.linspace(-0.3, 0.1, 5)
#: Added to the variances of the filter, whose cases are few.
RIDGE = 0.3


def main() -> None:
    """Print how often the filter and the best single pair of points are right."""
    cases = [path for folder in sys.argv[1:] for path in sorted(Path(folder).glob("*.nrrd"))]
    poses = [(path, read_markups(path.with_suffix(".mrk.json")).positions) for path in cases]
    rows = np.array([asymmetry(read_volume(path), points) for path, points in poses if np.isfinite(points).all()])
    right = [rows[one] @ matched(np.delete(rows, one, 0)) > 0 for one in range(len(rows))]
    mean = rows.mean(axis=0)
    best = int(np.argmax(np.abs(mean) / rows.std(axis=0)))
    share = float((np.sign(rows[:, best]) == np.sign(mean[best])).mean())
    print(
        f"{len(rows)} cases: the filter is right in {np.mean(right):.0%}, the best pair of points, chosen on the same",
        end="",
    )
    print(f" cases, in {share:.0%}")


def matched(rows: np.ndarray) -> np.ndarray:
    """The weights that tell these differences from their opposites."""
    return np.asarray(rows.mean(axis=0) / (rows.var(axis=0) + RIDGE))


def asymmetry(volume: Volume, points: np.ndarray) -> np.ndarray:
    """Left minus right grey of each pair, in standard deviations of all of them."""
    place = default_schema().index
    shoulders, hips = (
        points[[place(f"{side}_{joint}") for side in ("left", "right")]] for joint in ("shoulder", "hip")
    )
    trunk = shoulders.mean(axis=0) - hips.mean(axis=0)
    length = float(np.linalg.norm(trunk))
    up = trunk / length
    left = shoulders[0] - shoulders[1] + hips[0] - hips[1]
    left -= up * (left @ up)
    left /= np.linalg.norm(left)
    back = np.cross(up, left)
    smooth = ndimage.gaussian_filter(volume.array.astype(np.float32), 0.8 / np.array(volume.spacing[::-1]))
    sides = [[u * up + sign * x * left + y * back for u in ALONG for x in ASIDE for y in DEPTH] for sign in (1.0, -1.0)]
    world = hips.mean(axis=0) + length * np.array(sides)
    to_voxel = np.linalg.inv(volume.ijk_to_ras)
    voxels = world @ to_voxel[:3, :3].T + to_voxel[:3, 3]
    greys = ndimage.map_coordinates(smooth, np.moveaxis(voxels[..., ::-1], -1, 0), order=1, mode="nearest")
    return np.asarray((greys[0] - greys[1]) / (greys.std() + 1e-6))


if __name__ == "__main__":
    main()
