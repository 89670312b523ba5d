"""Second fetuses: how many twins are seen, how well, and how many single fetuses are given a second one.

PYTHONPATH=. python Testing/benchmarks/twins.py --twins TWINS --single SINGLE

The folders are those of `fetusmap simulate TWINS --twins 1 ...` and of `fetusmap simulate SINGLE ...`. A volume shows
both twins if it has 8 of the 10 landmarks of head and trunk of each. Only cases with a first pose are counted.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from FetusMapV2Lib import PoseEngine, Volume
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.imaging.markups import read_markups
from FetusMapV2Lib.imaging.reading import read_volume

TORSO = list(default_schema().rows("ht"))
#: Landmarks of head and trunk that the volume must have of a twin, and the mean error up to which a pose is its own.
ENOUGH_INSIDE, HIT_MM = 8, 10.0


def main() -> None:
    """Print a line per case, then the rates."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--twins", type=Path, required=True, help="folder of simulated twins")
    parser.add_argument("--single", type=Path, required=True, help="folder of simulated single fetuses")
    parser.add_argument("--model", default=None, help="name or file; the default model")
    options = parser.parse_args()
    engine = PoseEngine.load(options.model, device="cpu")
    single, twins = measured(engine, options.single), list(measured(engine, options.twins))
    shown = [(estimate, truths) for estimate, truths in single if estimate.has_pose]
    false = sum(bool(estimate.others) for estimate, _ in shown)
    print(f"single fetuses shown: {len(shown)}, of them with a second one: {false}")
    shown = [(estimate, truths) for estimate, truths in twins if estimate.has_pose]
    print(f"twins with a first pose: {len(shown)} of {len(twins)}")
    for name, least in (("of which the volume shows both", ENOUGH_INSIDE), ("of all", 0)):
        chosen = [estimate for estimate, truths in shown if all(inside >= least for _, inside in truths)]
        seen = sum(bool(estimate.others) for estimate in chosen)
        print(f"{name}: {len(chosen)}, a second fetus seen in {seen}")
    errors = [second_error(estimate, [truth for truth, _ in truths]) for estimate, truths in shown if estimate.others]
    if errors:
        print(f"second poses within {HIT_MM:g} mm of a fetus of their own: {sum(np.array(errors) <= HIT_MM)}")
        print(f"mean error of these: {np.mean([error for error in errors if error <= HIT_MM]):.2f} mm")


def measured(engine: PoseEngine, folder: Path) -> Iterator[tuple[Estimate, list[tuple[np.ndarray, int]]]]:
    """Per case the estimate, and of each fetus its landmarks and how many of head and trunk the volume has."""
    for path in sorted(folder.glob("*.nrrd")):
        volume = read_volume(path)
        started = time.process_time()
        estimate = engine.estimate(volume)
        seconds = time.process_time() - started
        truths = [read_markups(path.with_suffix(".mrk.json")).positions]
        twin = json.loads(path.with_suffix(".json").read_text(encoding="utf-8")).get("twin_landmarks_mm")
        truths += [np.array(twin)] if twin else []
        line = ", ".join(f"{one.status} {one.detection_score:.2f}" for one in (estimate, *estimate.others))
        error = f", second {second_error(estimate, truths):.1f} mm" if estimate.others and twin else ""
        inside = [count_inside(volume, truth) for truth in truths]
        print(
            f"{folder.name} {path.stem}: head and trunk inside {inside}; {line}{error}; {seconds:.2f} s CPU", flush=True
        )
        yield estimate, list(zip(truths, inside, strict=True))


def second_error(estimate: Estimate, truths: list[np.ndarray]) -> float:
    """Mean distance of the second pose from the fetus that the first pose is not of."""
    distances = [[distance(one.pose.positions, truth) for truth in truths] for one in (estimate, *estimate.others)]
    other = 1 - int(np.argmin(distances[0]))
    return distances[1][other]


def distance(positions: np.ndarray, truth: np.ndarray) -> float:
    """Mean distance of the landmarks in mm."""
    return float(np.nanmean(np.linalg.norm(positions - truth, axis=1)))


def count_inside(volume: Volume, points: np.ndarray) -> int:
    """How many landmarks of head and trunk lie inside a volume."""
    voxels = (points[TORSO] - volume.ijk_to_ras[:3, 3]) @ np.linalg.inv(volume.ijk_to_ras[:3, :3]).T
    return int(((voxels >= 0) & (voxels <= np.array(volume.shape[::-1]) - 1)).all(axis=1).sum())


if __name__ == "__main__":
    main()
