"""Whole cases: a body, its surroundings and the image of both, with the landmarks, written for `find_cases`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.core.atomic_files import write_json
from FetusMapV2Lib.imaging.markups import write_markups
from FetusMapV2Lib.imaging.volume import Volume, ijk_to_ras_matrix
from FetusMapV2Lib.imaging.writing import write_volume

from .beam import draw_probe
from .body import Body, make_body
from .cord import cord_path, paint_cord
from .fields import Field
from .imaging import draw_machine, scan, scan_convert
from .posture import draw_posture
from .scene import Placing, Scene, body_skin, paint_body
from .sector import Sector, draw_sector, place_body
from .shapes import Array, Lattice
from .sizes import draw_sizes
from .styles import STYLES
from .surroundings import Around, draw_around, make_room, paint_surroundings
from .truth import landmarks

#: The scene is painted on a grid finer than the volume by this factor.
_FINER = 0.75


@dataclass(frozen=True)
class Grid:
    """Of a volume: number of voxels along i, j, k and their size in mm. The probe looks along j."""

    size: tuple[int, int, int] = (153, 104, 104)
    spacing: float = 0.9

    @property
    def extent(self) -> tuple[float, float, float]:
        """Between the centres of the first and last voxels, mm."""
        i, j, k = self.size
        return (i - 1) * self.spacing, (j - 1) * self.spacing, (k - 1) * self.spacing

    def lattice(self, step: float) -> Lattice:
        """Points over the same space, an odd number along every axis."""
        x, y, z = (2 * int(np.ceil(length / step / 2)) + 1 for length in self.extent)
        return Lattice((0.0, 0.0, 0.0), step, (z, y, x))


@dataclass(frozen=True, eq=False)
class Made:
    """A case in memory.

    Attributes:
        volume: greys, uint8.
        pose: the 22 landmarks, RAS mm.
        facts: all that was drawn.
        scene: tissues; its axes are the volume's without its origin.
        skin: distance to the skin on the lattice of the scene, mm.
    """

    volume: Volume
    pose: Pose
    facts: dict[str, Any]
    scene: Scene
    skin: Field


def make_case(
    seed: int, number: int, grid: Grid | None = None, style: str = "", directions: NDArray[np.float32] | None = None
) -> Made:
    """The case of a seed and number: the same every time.

    Args:
        seed: of the set.
        number: of the case.
        grid: of the volume.
        style: one of `STYLES`; drawn if empty.
        directions: of limbs in real poses, see `posture.read_directions`.
    """
    grid = grid or Grid()
    random = np.random.default_rng([seed, number])
    style = style or list(STYLES)[number % len(STYLES)]
    body, sector, placing = _placed(random, grid, directions)
    around = draw_around(random, body.weeks)
    scene, skin, nearest = _painted(body, placing, around, sector, grid, random)
    probe, machine = draw_probe(random, sector.depth), draw_machine(random)
    greys, rays = scan(scene, sector, probe, machine, STYLES[style], grid.spacing, random)
    voxels = grid.lattice(grid.spacing)
    voxels = Lattice(voxels.origin, voxels.step, grid.size[::-1])
    array = scan_convert(greys, rays, sector, voxels.points(), voxels.shape)
    origin = tuple(-length / 2 for length in grid.extent)
    volume = Volume(array, ijk_to_ras_matrix(grid.spacing, origin), name=f"case-{number:04d}")  # type: ignore[arg-type]
    points = placing.out(landmarks(body)) + np.array(origin)
    facts = {
        "fetus_present": True,
        "generator": "independent_world",
        "style": style,
        "seed": seed,
        "number": number,
        "weeks": round(body.sizes.days / 7, 2),
        "crl_mm": round(float(np.linalg.norm(points[0] - points[9])), 2),
        "sac_distance_mm": round(nearest, 2),
        "sizes": asdict(body.sizes),
        "posture": _posture_facts(body),
        "surroundings": asdict(around),
        "sector": asdict(sector),
        "probe": asdict(probe),
        "machine": asdict(machine),
    }
    return Made(volume, Pose(points), facts, scene, skin)


def _placed(
    random: np.random.Generator, grid: Grid, directions: NDArray[np.float32] | None
) -> tuple[Body, Sector, Placing]:
    """A body that fits into the volume; one that does not is drawn anew."""
    while True:
        sizes = draw_sizes(random)
        body = make_body(sizes, draw_posture(random, directions), random, directions)
        for _ in range(3):
            sector = draw_sector(random, grid.extent)
            placing = place_body(body, sector, grid.extent, random)
            if placing is not None:
                return body, sector, placing


def _painted(
    body: Body, placing: Placing, around: Around, sector: Sector, grid: Grid, random: np.random.Generator
) -> tuple[Scene, Field, float]:
    """The scene, the distance to the skin, and the mean distance in mm from the skin to the wall of the sac."""
    lattice = grid.lattice(_FINER * grid.spacing)
    skin = body_skin(body, placing, lattice)
    room = make_room(around, skin, lattice, random)
    scene = Scene.filled(lattice, "maternal")
    paint_surroundings(scene, around, room, sector, random)
    radius = 0.02 * body.sizes.crl
    path = cord_path(body, placing, room, random.uniform(0.6, 1.6) * body.sizes.crl, random)
    paint_cord(scene, path, radius, skin)
    paint_body(scene, body, placing, skin, random)
    shell = np.abs(skin[::2, ::2, ::2]) < lattice.step
    return scene, skin, float(np.mean(np.maximum(-room.sac[shell], 0)))


def _posture_facts(body: Body) -> dict[str, Any]:
    posture = body.posture
    limbs = {f"{side}_{part}": _rounded(direction) for (side, part), direction in posture.limbs.items()}
    return {name: round(getattr(posture, name), 2) for name in ("curl", "neck", "bend", "twist", "turn", "tilt")} | {
        "limbs": limbs
    }


def _rounded(values: Array) -> list[float]:
    return [round(float(value), 4) for value in values]


def write_case(folder: Path, made: Made) -> None:
    """Write volume, landmarks and facts."""
    stem = made.volume.name
    write_volume(folder / f"{stem}.nrrd", made.volume)
    write_markups(folder / f"{stem}.mrk.json", made.pose)
    write_json(folder / f"{stem}.json", made.facts)
