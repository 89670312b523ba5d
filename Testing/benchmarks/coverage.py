"""How radii and confidences hold in a world that the calibration has not seen, and which pictures are unfamiliar.

The worlds are the model's own simulator, changes of it one factor at a time, and the second former. Prints the
calibration of the model file, and the one that is fitted to all other worlds. Every case is a file of its own: a run
that was cut goes on. The model file is not changed.

    .venv/bin/python Testing/benchmarks/coverage.py [--model NAME] [--cases 6] [--own 24] [--output runs/coverage]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from FetusMapV2Lib.core.atomic_files import write_json
from FetusMapV2Lib.core.json_files import read_json
from FetusMapV2Lib.core.serialisation import to_json
from FetusMapV2Lib.estimation.engine import PoseEngine
from FetusMapV2Lib.evaluation.accuracy_table import decimal, markdown_table, percent
from FetusMapV2Lib.evaluation.calibrating import observed
from FetusMapV2Lib.models.world_calibration import (
    Observations,
    WorldCoverage,
    calibrate,
    coverage,
    left_out_coverages,
)
from FetusMapV2Lib.phantom.scene_options import SceneOptions
from FetusMapV2Lib.phantom.simulated_case import simulate_case

sys.path.append(str(Path(__file__).resolve().parents[1]))  # run as a script, it finds its neighbours as the tests do
from benchmarks.volume_changes import FACTORS, Scene

#: Never used for training or calibration.
SEED = 910_001
OWN, EMPTY = "own", "empty"
#: Worlds of other renderers than the own.
RENDERERS = {"second former": "second", "random contrast": "contrast"}
CHANGED = (
    "noise 30", "blur 3 mm", "gamma 0.5", "gamma 2.2", "gain 2.5", "black level +50", "haze",
    "field 15 mm around the fetus", "surroundings black",
)  # fmt: skip
WORLDS = (OWN, EMPTY, *RENDERERS, *CHANGED)
SHAPE, SPACING_MM = (172, 117, 117), 0.8
FIELDS = ("errors_mm", "spread_mm", "peak_mass", "detection_score", "features")


def scene_of(world: str, index: int) -> Scene:
    """A case of a world; no two worlds show the same fetus."""
    number = 1000 * WORLDS.index(world) + index
    style, renderer = "held-out" if index % 2 else "training", RENDERERS.get(world, "physics")
    case = simulate_case(
        SEED, number, shape_kji=SHAPE, spacing_mm=SPACING_MM, style=style, renderer=renderer,
        scene=SceneOptions("empty" if world == EMPTY else "fetus", anatomy="2026-1"),
    )  # fmt: skip
    scene = Scene(case.volume, np.array(case.pose.positions))
    return FACTORS[world](scene) if world in FACTORS else scene


def record_of(engine: PoseEngine, scene: Scene) -> dict[str, object]:
    """What a calibration needs of one case; without a fetus its truth is missing."""
    seen = observed(engine, scene.volume, scene.truth)
    return {name: to_json(getattr(seen, name)) for name in FIELDS}


def world_of(engine: PoseEngine, world: str, count: int, folder: Path) -> list[dict[str, object]]:
    """The observations of a world, each computed once."""
    records = []
    for index in range(count):
        path = folder / world.replace(" ", "-") / f"{index:03d}.json"
        if not path.exists():
            write_json(path, record_of(engine, scene_of(world, index)))
            print(f"{world} {index + 1}/{count}", flush=True)
        records.append(read_json(path, "a record"))
    return records


def observations(records: Sequence[dict[str, object]], empty: Sequence[dict[str, object]] = ()) -> Observations:
    """The observations of a world as arrays."""
    columns = [np.array([record[name] for record in records], dtype=float) for name in FIELDS]
    errors, spread, mass, score, features = columns
    return Observations(errors, spread, mass, score, np.array([one["detection_score"] for one in empty]), features)


def table(rows: Sequence[WorldCoverage], before: dict[str, WorldCoverage]) -> str:
    """One row per world: with the calibration of the model file, and with the new one."""
    head = (
        "world", "cases", "ED (mm)", "unfamiliarity", "in 90 % radius, model file", "in 90 % radius",
        "sure, > 5 mm, model file", "sure, > 5 mm", "ECE, model file", "ECE",
    )  # fmt: skip
    lines = []
    for row in rows:
        old = before[row.name]
        lines.append(
            (row.name, str(row.cases), decimal(row.error_mm), decimal(row.unfamiliarity), percent(old.inside_radius),
             percent(row.inside_radius), percent(old.sure_but_wrong), percent(row.sure_but_wrong),
             decimal(old.confidence_error), decimal(row.confidence_error))
        )  # fmt: skip
    return markdown_table(head, lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=None, help="name or path of the model (default: the bundled one)")
    parser.add_argument("--cases", type=int, default=6, help="of each world but the own")
    parser.add_argument("--own", type=int, default=24, help="cases of the own world")
    parser.add_argument("--output", type=Path, default=Path("runs/coverage"))
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    engine, folder = PoseEngine.load(arguments.model, "cpu"), arguments.output
    counts = {world: arguments.own if world == OWN else arguments.cases for world in WORLDS}
    records = {world: world_of(engine, world, count, folder) for world, count in counts.items()}
    empty = records.pop(EMPTY)
    worlds = {name: observations(seen, empty if name == OWN else ()) for name, seen in records.items()}
    before = {name: coverage(name, world, engine.calibration) for name, world in worlds.items()}
    fitted = calibrate(worlds, own=OWN, on_remark=print)
    print(table([coverage(OWN, worlds[OWN], fitted), *left_out_coverages(worlds, own=OWN)], before))
    print(
        f"\nWidening {fitted.widening:.2f}; found from {fitted.detection_threshold:.3f}, doubtful from "
        f"{fitted.least_detection_score:.3f}. The own world is not left out; all others are."
    )


if __name__ == "__main__":
    main()
