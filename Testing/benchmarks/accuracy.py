"""Accuracy of a model on full-size simulated volumes it never saw: seeds and a vendor style mix kept out of training.

Prints the table per landmark that the documentation shows. Cases already done are kept, so a cut costs one case.

    .venv/bin/python Testing/benchmarks/accuracy.py [--model NAME] [--cases 50] [--anatomy A] [--output runs/accuracy]
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.atomic_files import write_json
from FetusMapV2Lib.core.serialisation import to_json
from FetusMapV2Lib.estimation.engine import PoseEngine
from FetusMapV2Lib.evaluation.accuracy_table import accuracy_table
from FetusMapV2Lib.imaging.markups import read_markups
from FetusMapV2Lib.imaging.reading import read_volume
from FetusMapV2Lib.phantom.scene_options import ANATOMIES, CURRENT, SceneOptions
from FetusMapV2Lib.phantom.simulated_case import simulate_case, write_case

#: Never used for training, calibration or choosing anything.
HELD_OUT_SEED = 990_001
FULL_SIZE = ((460, 313, 312), 0.3)


@dataclass
class Outcome:
    """One case's truth and estimate."""

    truth: np.ndarray
    estimate: np.ndarray
    radius: np.ndarray
    found: bool
    seconds: float
    weeks: float


def main() -> None:
    """Run the benchmark and print its tables."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    if arguments.simulate_only:
        for index in range(arguments.cases):
            print(simulated(arguments.output / "cases", index, arguments.anatomy), flush=True)
        return
    engine = None if arguments.report_only else PoseEngine.load(arguments.model)
    outcomes = []
    for index in range(arguments.cases):
        record = arguments.output / f"outcome-{index:04d}.json"
        if not record.exists() and engine is not None:
            write_json(record, _run(engine, arguments.output / "cases", index, arguments.anatomy))
        if record.exists():
            outcomes.append(_load(record))
            print(f"case {index}: {_case_line(outcomes[-1])}", flush=True)
    print(report(outcomes))


def simulated(folder: Path, index: int, anatomy: str) -> Path:
    """The case's volume on disk, simulated if it is not there yet."""
    path = folder / f"case-{index:04d}.nrrd"
    if not (folder / f"case-{index:04d}.json").exists():
        shape, spacing = FULL_SIZE
        bodies = SceneOptions(anatomy=anatomy)
        case = simulate_case(HELD_OUT_SEED, index, shape_kji=shape, spacing_mm=spacing, style="held-out", scene=bodies)
        write_case(folder, case, index, overwrite=True)
    return path


def _run(engine: PoseEngine, folder: Path, index: int, anatomy: str) -> dict:
    path = simulated(folder, index, anatomy)
    truth = json.loads((folder / f"case-{index:04d}.json").read_text(encoding="utf-8"))
    volume = read_volume(path)
    started = time.perf_counter()
    estimate = engine.estimate(volume)
    pose = estimate.seen or estimate.pose  # what the engine saw last where it found no fetus
    return {
        "model": estimate.model,
        "truth": _truth_positions(folder, index),
        "estimate": pose.positions.tolist(),
        "radius90": to_json(pose.radius90_mm),
        "found": estimate.found,
        "seconds": time.perf_counter() - started,
        "weeks": truth["gestational_age_days"] / 7,
    }


def _truth_positions(folder: Path, index: int) -> list:
    return read_markups(folder / f"case-{index:04d}.mrk.json").positions.tolist()


def _load(record: Path) -> Outcome:
    data = json.loads(record.read_text(encoding="utf-8"))
    return Outcome(
        truth=np.array(data["truth"]),
        estimate=np.array(data["estimate"]),
        radius=np.array(data["radius90"]),
        found=data["found"],
        seconds=data["seconds"],
        weeks=data["weeks"],
    )


def _case_line(outcome: Outcome) -> str:
    error = np.linalg.norm(outcome.truth - outcome.estimate, axis=1)
    sign = "" if outcome.found else " (not found)"
    return f"{outcome.weeks:4.1f} weeks, mean ED {error.mean():5.2f} mm, worst {error.max():5.1f} mm{sign}"


def report(outcomes: list[Outcome]) -> str:
    """The tables in Markdown. A case in which no fetus was found counts with the points the network saw."""
    truth = np.stack([outcome.truth for outcome in outcomes])
    estimate = np.stack([outcome.estimate for outcome in outcomes])
    radius = np.stack([outcome.radius for outcome in outcomes])
    table = accuracy_table(estimate, truth, default_schema(), radius)
    found = sum(outcome.found for outcome in outcomes)
    seconds = np.median([outcome.seconds for outcome in outcomes])
    return f"{table.markdown()}\nFetus found in {found} of {len(outcomes)}; {seconds:.1f} s per estimate (median).\n"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=None, help="name or path of the model (default: the bundled one)")
    parser.add_argument("--cases", type=int, default=50)
    parser.add_argument("--anatomy", choices=ANATOMIES, default=CURRENT, help="of the bodies (default: today's)")
    parser.add_argument("--output", type=Path, default=Path("runs/accuracy"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--simulate-only", action="store_true", help="only write the volumes")
    parser.add_argument("--report-only", action="store_true", help="only print the table of what is there")
    return parser.parse_args()


if __name__ == "__main__":
    main()
