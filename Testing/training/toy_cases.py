"""Made-up training cases, quick to write and easy to learn: 22 bright balls of different size and brightness."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.core.atomic_files import write_json
from FetusMapV2Lib.imaging.markups import write_markups
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.imaging.writing import write_volume

#: A standing body, mm: x = fetal left, y = back, z = head.
BODY = np.array(
    [
        [0, 2, 30], [0, -9, 24], [0, -12, 19], [0, -9, 19], [0, -8, 13], [0, 9, 18],
        [0, 8, 6], [0, -8, -12], [0, 8, -16], [0, 3, -30],
        [10, 2, 6], [17, -4, -2], [14, -14, 4], [-10, 2, 6], [-17, -4, -2], [-14, -14, 4],
        [7, 0, -24], [11, -14, -26], [9, -16, -14], [-7, 0, -24], [-11, -14, -26], [-9, -16, -14],
    ],
    dtype=float,
)  # fmt: skip


def write_toy_cases(
    folder: Path, count: int, *, seed: int = 0, spacing: float = 3.0, shape: tuple[int, int, int] = (32, 24, 24)
) -> None:
    """Write `count` cases; the last one has no fetus if there are more than four."""
    generator = np.random.default_rng(seed)
    matrix = np.diag([spacing, spacing, spacing, 1.0])
    matrix[:3, 3] = -spacing * (np.array(shape[::-1]) - 1) / 2
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)[..., ::-1]
    world = grid * spacing + matrix[:3, 3]
    for number in range(count):
        empty = count > 4 and number == count - 1
        positions = BODY + generator.normal(0, 1.0, BODY.shape) + generator.uniform(-3, 3, 3)
        array = generator.uniform(0, 12, shape)
        for row, centre in enumerate(positions if not empty else []):
            distance = np.linalg.norm(world - centre, axis=-1)
            array += (60 + 8 * row) * np.exp(-(distance**2) / (2 * (2.5 + 0.08 * row) ** 2))
        volume = Volume(np.clip(array, 0, 255).astype(np.uint8), matrix)
        name = f"case-{number:02d}"
        write_volume(folder / f"{name}.nrrd", volume)
        write_markups(folder / f"{name}.mrk.json", Pose(np.full_like(BODY, np.nan) if empty else positions))
        write_json(folder / f"{name}.json", {"fetus_present": not empty, "style": "toy"})
