"""How often a model takes something else for a fetus: more than two hundred volumes without one.

Every renderer shows empty uteri, heads alone, organs, spine phantoms and plain tissue; then come noise and shapes,
and pieces of real ultrasound volumes, turned at random, if `--real` names a folder. Prints a table with intervals.
Volumes are kept, and every record is a file of its own, written whole: a run that was cut goes on.

    .venv/bin/python Testing/benchmarks/negatives.py [--model NAME ...] [--real FOLDER] [--output runs/negatives]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from FetusMapV2Lib.core.atomic_files import write_json
from FetusMapV2Lib.core.json_files import read_json
from FetusMapV2Lib.estimation.engine import PoseEngine
from FetusMapV2Lib.evaluation.accuracy_table import decimal, markdown_table, percent
from FetusMapV2Lib.evaluation.predictions import ModelChoice, chosen_models
from FetusMapV2Lib.evaluation.statistics import share_interval
from FetusMapV2Lib.imaging.grid import Grid, resample
from FetusMapV2Lib.imaging.reading import read_volume
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.imaging.writing import write_volume
from FetusMapV2Lib.phantom.scene_options import WITHOUT_FETUS, SceneOptions
from FetusMapV2Lib.phantom.simulated_case import simulate_case, simulated_volume

sys.path.append(str(Path(__file__).resolve().parents[1]))  # run as a script, it finds its neighbours as the tests do

#: Never used for training or calibration.
SEED = 930_001
#: Of the heads, as in the table of docs/accuracy.md.
ANATOMY = "2026-2"
#: Renderer and vendor styles of each world.
WORLDS = {
    "own renderer": ("physics", "held-out"),
    "own renderer, wide styles": ("physics", "wide"),
    "second renderer": ("second", "training"),
    "random contrast": ("contrast", "training"),
}
#: Half of the simulated scenes fill a volume of a late pregnancy, half one of an early.
EXTENTS_MM = ((138.0, 94.0, 94.0), (110.0, 76.0, 76.0))
SUFFIXES = (".mha", ".nrrd", ".nii.gz", ".nii")


@dataclass(frozen=True)
class Sizes:
    """How many volumes, and how fine.

    Attributes:
        scenes: of each kind of scene in each world.
        noises: of each kind of noise or shape.
        pieces: of each real volume.
        spacing_mm: of the voxels.
        first: number of the first volume of each kind; from 20 on none is of the table.
    """

    scenes: int = 8
    noises: int = 6
    pieces: int = 20
    spacing_mm: float = 1.2
    first: int = 0

    def numbers(self, count: int) -> range:
        """Of so many volumes of a kind."""
        return range(self.first, self.first + count)


@dataclass(frozen=True)
class Negative:
    """A volume without a fetus.

    Attributes:
        world: a row of the table.
        shows: what is in it.
        number: among those of its kind.
        make: the volume.
    """

    world: str
    shows: str
    number: int
    make: Callable[[], Volume]


def negatives(sizes: Sizes, real: Sequence[Path]) -> Iterator[Negative]:
    """All volumes, none of them made yet."""
    for row, world in enumerate(WORLDS):
        for kind, shows in enumerate(WITHOUT_FETUS):
            for number in sizes.numbers(sizes.scenes):
                index = 10_000 * row + 1_000 * kind + number
                yield Negative(world, shows, number, lambda w=world, s=shows, i=index: scene(w, s, i, sizes.spacing_mm))
    for shows, draw in NOISES.items():
        for number in sizes.numbers(sizes.noises):
            yield Negative("noise and shapes", shows, number, lambda d=draw, n=number: noise(d, n, sizes.spacing_mm))
    for path in real:
        for number in sizes.numbers(sizes.pieces):
            yield Negative(f"real: {path.name.split('.')[0]}", "piece", number, lambda p=path, n=number: piece(p, n))


def scene(world: str, shows: str, index: int, spacing_mm: float) -> Volume:
    """A simulated scene without a fetus."""
    extent = EXTENTS_MM[index % 2]
    k, j, i = (round(side / spacing_mm) for side in extent)
    renderer, style = WORLDS[world]
    options = SceneOptions(shows, ANATOMY)
    case = simulate_case(SEED, index, (k, j, i), spacing_mm, style=style, scene=options, renderer=renderer)
    return case.volume


# --- noise and shapes: greys from a random generator and millimetres (k, j, i) from the centre


def _grains(generator: np.random.Generator, place: np.ndarray) -> np.ndarray:
    real, imaginary = (gaussian_filter(generator.normal(size=place.shape[1:]), generator.uniform(0.5, 3)) for _ in "ri")
    amplitude = np.hypot(real, imaginary)
    return np.asarray(60 * amplitude / amplitude.mean())


def _white(generator: np.random.Generator, place: np.ndarray) -> np.ndarray:
    return generator.uniform(0, 255, place.shape[1:])


def _clouds(generator: np.random.Generator, place: np.ndarray) -> np.ndarray:
    cloud = gaussian_filter(generator.normal(size=place.shape[1:]), generator.uniform(5, 12))
    return np.asarray(110 + 60 * cloud / cloud.std())


def _ramp(generator: np.random.Generator, place: np.ndarray) -> np.ndarray:
    return 120 + 2 * np.tensordot(generator.normal(size=3), place, 1)


def _ball(generator: np.random.Generator, place: np.ndarray) -> np.ndarray:
    """An ellipsoid with a bright rim in a dark sac in tissue: the outline of a fetus without anything in it."""
    turn = Rotation.random(random_state=generator).as_matrix()
    radius = np.linalg.norm(np.tensordot(turn, place, 1) / np.array([28, 14, 14])[:, None, None, None], axis=0)
    grey = np.select([radius < 0.9, radius < 1, radius < 1.6], [80.0, 200.0, 8.0], 110.0)
    return grey * generator.gamma(4, 0.25, grey.shape)


NOISES = {"grains": _grains, "white noise": _white, "clouds": _clouds, "ramp": _ramp, "ellipsoid in a sac": _ball}


def noise(draw: Callable[[np.random.Generator, np.ndarray], np.ndarray], number: int, spacing_mm: float) -> Volume:
    """A volume of one kind of noise."""
    shape = [round(side / spacing_mm) for side in EXTENTS_MM[number % 2]]
    axes = [spacing_mm * (np.arange(n) - (n - 1) / 2) for n in shape]
    place = np.stack(np.meshgrid(*axes, indexing="ij"))
    grey = draw(np.random.default_rng([SEED, number]), place)
    return simulated_volume(np.clip(grey, 0, 255).astype(np.uint8), spacing_mm, "noise")


def piece(path: Path, number: int) -> Volume:
    """A box out of a real volume, turned at random; its voxels are said to be larger than they are, or smaller.

    The first piece is the volume itself.
    """
    whole = read_volume(path)
    if number == 0:
        return whole
    generator = np.random.default_rng([SEED, number])
    centre = whole.ijk_to_ras[:3] @ [*(generator.uniform(0.3, 0.7, 3) * whole.shape[::-1]), 1]
    side = generator.uniform(0.4, 1.0) * max(whole.extent_mm)
    shape = (80, 56, 56)
    grid = Grid.around(centre, Rotation.random(random_state=generator).as_matrix(), side / shape[0], shape)
    grey = np.nan_to_num(resample(whole, grid)).clip(0, 255).astype(np.uint8)
    return simulated_volume(grey, generator.uniform(80, 180) / shape[0], path.name)


# --- the run


def table(folder: Path, model: ModelChoice, listed: Sequence[Negative]) -> str:
    """Of the records that there are, in Markdown: a row per world, and all together."""
    rows: dict[str, list[tuple[str, float]]] = {}
    for one in listed:
        path = record_path(folder, model, one)
        if path.exists():
            record = read_json(path)
            entry = (record["status"], record["score"])
            rows.setdefault(one.world, []).append(entry)
    together = [entry for entries in rows.values() for entry in entries]
    heads = ["what", "volumes", "found", "95 % interval", "doubtful", "95 % interval", "highest score"]
    return markdown_table(heads, [_row(what, entries) for what, entries in [*rows.items(), ("all", together)]])


def _row(what: str, entries: Sequence[tuple[str, float]]) -> list[str]:
    cells = [what, str(len(entries))]
    for status in ("found", "doubtful"):
        hits = sum(entry[0] == status for entry in entries)
        bounds = share_interval(hits, len(entries))
        cells += [str(hits), f"{percent(bounds.low)}-{percent(bounds.high)}"]
    return [*cells, decimal(max((entry[1] for entry in entries), default=float("nan")))]


def record_path(folder: Path, model: ModelChoice, one: Negative) -> Path:
    """Where the record of an estimate is kept."""
    return folder / f"{model.name}-{model.sha256[:8]}" / f"{_stem(one)}.json"


def kept(folder: Path, one: Negative) -> Volume:
    """The volume, made and written on first use."""
    path = folder / "volumes" / f"{_stem(one)}.nrrd"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_volume(path, one.make())
    return read_volume(path)


def _stem(one: Negative) -> Path:
    world, shows = (name.replace(" ", "-").replace(":", "").replace(",", "") for name in (one.world, one.shows))
    return Path(world) / f"{shows}-{one.number:03d}"


def real_volumes(folder: Path | None) -> list[Path]:
    """The volumes in a folder."""
    return [] if folder is None else sorted(p for p in folder.iterdir() if p.name.lower().endswith(SUFFIXES))


def main(arguments: Sequence[str] | None = None) -> None:
    """Estimate every volume with every model, and print a table per model."""
    chosen = _arguments(arguments)
    torch.set_num_threads(chosen.threads)
    sizes = Sizes(1, 1, 1, 4.0) if chosen.quick else Sizes(first=chosen.first)
    every = negatives(sizes, real_volumes(chosen.real))
    listed = [one for one in every if chosen.only in f"{one.world}, {one.shows}"]
    models = chosen_models(chosen.model, "off")
    engines = {model.name: PoseEngine.load(model.path, chosen.device) for model in models}
    for one in listed:
        missing = [model for model in models if not record_path(chosen.output, model, one).exists()]
        volume = kept(chosen.output, one) if missing else None
        for model in missing:
            estimate = engines[model.name].estimate(volume)
            record = {"status": estimate.status, "score": float(estimate.detection_score)}
            write_json(record_path(chosen.output, model, one), record)
            if estimate.status != "none":
                print(f"{model.name}, {one.world}, {one.shows} {one.number}: {record}", flush=True)
    for model in models:
        print(f"\n{model.name}\n\n{table(chosen.output, model, listed)}")


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", default=[], help="NAME, FILE or LABEL=FILE, repeatable")
    parser.add_argument("--real", type=Path, help="folder of real volumes without a fetus")
    parser.add_argument("--only", default="", help="those whose row of the table, or what they show, has this in it")
    parser.add_argument("--first", type=int, default=0, help="number of the first of each kind; 20 = none of the table")
    parser.add_argument("--output", type=Path, default=Path("runs/negatives"))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="one volume of each kind, coarse")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
