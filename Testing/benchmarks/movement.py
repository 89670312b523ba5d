"""A simulated moving fetus: the sequence estimated as one, beside every frame on its own, frame by frame in one run.

Prints the tables that docs/movement.md shows, and fills them in with --page. Simulated sequences are kept in the
output folder.

    .venv/bin/python Testing/benchmarks/movement.py [--sequences 2] [--frames 12] [--page docs/movement.md]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from FetusMapV2Lib.anatomy.joint_angles import angle_list, joint_angles
from FetusMapV2Lib.anatomy.movement import analyse_movement
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.anatomy.side_tracking import track_sides
from FetusMapV2Lib.estimation.engine import PoseEngine
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.estimation.sequence import stacked, with_tracked_sides
from FetusMapV2Lib.evaluation.metrics import distances_mm, limb_sides_right
from FetusMapV2Lib.evaluation.movement_figure import write_movement_figure
from FetusMapV2Lib.evaluation.page_blocks import fill_page
from FetusMapV2Lib.imaging.markups import read_markups
from FetusMapV2Lib.imaging.reading import Frames, read_sequence
from FetusMapV2Lib.phantom.motion import simulate_sequence, write_moving_case

SCHEMA = default_schema()

#: Never used for training, calibration or choosing anything.
SEED = 990_501
SHAPE, SPACING_MM, INTERVAL_S = (276, 188, 187), 0.5, 0.25
#: True speeds, mm per frame, from which a part counts as moving and below which it rests.
MOVES_MM, RESTS_MM = 0.5, 0.05
#: Share of frames in which the names of a limb pair are exchanged, to see whether they are corrected.
EXCHANGED_SHARE = 0.25
_JOINTS = ("neck", "shoulder", "elbow", "hip", "knee")


@dataclass
class Run:
    """One sequence: truth, and what both ways made of it."""

    truths: np.ndarray
    alone: list[Estimate]
    together: list[Estimate]
    alone_s: list[float]
    together_s: list[float]


def main() -> None:
    """Run the benchmark and print its tables."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    engine = PoseEngine.load(arguments.model, arguments.device)
    runs = []
    for index in range(arguments.sequences):
        path = _simulated(arguments.output, index, arguments.frames)
        runs.append(_run(engine, read_sequence(path), path))
        print(f"{path.name}: done", flush=True)
    blocks = {"movement-accuracy": _accuracy(runs), "movement-time": _times(runs), "movement-sides": _sides(runs)}
    for block in blocks.values():
        print(f"\n{block}")
    if arguments.page is not None:
        fill_page(arguments.page, blocks)
    if arguments.figure is not None:
        positions, radii = stacked([estimate.pose for estimate in runs[0].together])
        times = INTERVAL_S * np.arange(len(positions))
        write_movement_figure(
            arguments.figure, analyse_movement(positions, SCHEMA, times, radii), "A simulated moving fetus"
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequences", type=int, default=2)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--model", default=None)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("runs/movement"))
    parser.add_argument("--page", type=Path, default=None)
    parser.add_argument("--figure", type=Path, default=None)
    return parser.parse_args()


def _simulated(folder: Path, index: int, frames: int) -> Path:
    path = folder / f"{frames}-frames" / f"case-{index:04d}.seq.nrrd"
    if not path.exists():
        cases = simulate_sequence(SEED, index, frames, shape_kji=SHAPE, spacing_mm=SPACING_MM, style="held-out")
        write_moving_case(path.parent, cases, index, frame_interval_s=INTERVAL_S)
    return path


def _run(engine: PoseEngine, frames: Frames, path: Path) -> Run:
    """Both ways take turns on each frame, so that whatever else the machine does falls on both."""
    stem = path.name.removesuffix(".seq.nrrd")
    truths = [read_markups(path.with_name(f"{stem}_{n:04d}.mrk.json")).positions for n in range(len(frames))]
    run = Run(np.stack(truths), [], [], [], [])
    before: Estimate | None = None
    for number in range(len(frames)):
        volume = frames[number]
        started = time.perf_counter()
        run.alone.append(engine.estimate(volume))
        middle = time.perf_counter()
        run.together.append(engine.estimate(volume, before=before))
        run.alone_s.append(middle - started)
        run.together_s.append(time.perf_counter() - middle)
        before = run.together[-1] if run.together[-1].found else before
    run.together = list(with_tracked_sides(run.together))
    return run


def _ways(runs: Sequence[Run]) -> dict[str, list[list[Estimate]]]:
    return {"each frame alone": [run.alone for run in runs], "as a sequence": [run.together for run in runs]}


def _accuracy(runs: Sequence[Run]) -> str:
    """Landmark and angle errors, and how speeds and movement agree with the truth."""
    rows: dict[str, list[str]] = {"frames in which a fetus was found": [], "landmarks, mean distance (mm)": []}
    rows |= {f"{joint} angles, mean error (deg)": [] for joint in _JOINTS}
    rows |= {"all angles, mean error (deg)": [], "all angles, change of error from frame to frame (deg)": []}
    rows |= {"speed, mean error (mm/frame)": []}
    rows |= {f"moving frames found (true speed >= {MOVES_MM:g} mm/frame)": []}
    rows |= {f"resting frames taken for moving (<= {RESTS_MM:g} mm/frame)": []}
    for estimates in _ways(runs).values():
        for name, value in zip(rows, _scores(runs, estimates), strict=True):
            rows[name].append(value)
    frames = len(runs[0].truths)
    head = ["", *_ways(runs)]
    lines = [_line(head), "| --- | --: | --: |", *(_line([name, *values]) for name, values in rows.items())]
    return "\n".join([f"{len(runs)} sequences of {frames} frames, {SPACING_MM:g} mm voxels.", "", *lines])


def _scores(runs: Sequence[Run], estimates: Sequence[Sequence[Estimate]]) -> list[str]:
    found, distances, errors, changes, speed_errors, moves, rests = [], [], [], [], [], [], []
    for run, answers in zip(runs, estimates, strict=True):
        positions, radii = stacked([estimate.pose for estimate in answers])
        found += [estimate.found for estimate in answers]
        distances.append(distances_mm(positions, run.truths))
        signed = (joint_angles(positions, SCHEMA) - joint_angles(run.truths, SCHEMA) + 180) % 360 - 180
        errors.append(np.abs(signed))
        changes.append(np.abs(np.diff(signed, axis=0)))
        movement = analyse_movement(positions, SCHEMA, None, radii)
        true_speeds = analyse_movement(run.truths, SCHEMA).speeds
        speed_errors.append(np.abs(movement.speeds - true_speeds))
        moves.append(movement.moving[true_speeds >= MOVES_MM])
        rests.append(movement.moving[true_speeds <= RESTS_MM])
    by_angle = np.concatenate(errors)
    columns = {joint: [n for n, angle in enumerate(angle_list(SCHEMA)) if joint in angle.key] for joint in _JOINTS}
    return [
        f"{sum(found)} of {len(found)}",
        f"{np.nanmean(np.concatenate(distances)):.2f}",
        *(f"{np.nanmean(by_angle[:, columns[joint]]):.1f}" for joint in _JOINTS),
        f"{np.nanmean(by_angle):.1f}",
        f"{np.nanmean(np.concatenate(changes)):.1f}",
        f"{np.nanmean(np.concatenate(speed_errors)):.2f}",
        _share(np.concatenate(moves)),
        _share(np.concatenate(rests)),
    ]


def _share(flags: np.ndarray) -> str:
    return f"{100 * flags.mean():.0f} % of {flags.size}" if flags.size else "none there"


def _times(runs: Sequence[Run]) -> str:
    alone, together = (np.concatenate([getattr(run, name) for run in runs]) for name in ("alone_s", "together_s"))
    later = np.concatenate([np.arange(len(run.alone_s)) > 0 for run in runs])
    ratio = np.median(together[later] / alone[later])
    views = [[len(one.views) for run in runs for one in getattr(run, name)[1:]] for name in ("alone", "together")]
    rows = [
        ["", *_ways(runs), "ratio"],
        ["---", "--:", "--:", "--:"],
        ["seconds per frame after the first (median)", f"{np.median(alone[later]):.2f}",
         f"{np.median(together[later]):.2f}", f"{ratio:.2f}"],
        ["views per frame after the first (mean)", *(f"{np.mean(one):.1f}" for one in views),
         f"{np.mean(views[1]) / np.mean(views[0]):.2f}"],
        ["seconds of all frames", f"{alone.sum():.0f}", f"{together.sum():.0f}", f"{together.sum() / alone.sum():.2f}"],
    ]  # fmt: skip
    return "\n".join(map(_line, rows))


def _sides(runs: Sequence[Run]) -> str:
    """Limbs on the wrong side: as they came, and after names were exchanged on purpose."""
    rows = [["limbs on the wrong side", *_ways(runs), "of"], ["---", "--:", "--:", "--:"]]
    rows.append(["as estimated", *(_swaps(runs, estimates) for estimates in _ways(runs).values()), _limbs(runs)])
    generator = np.random.default_rng(0)
    given_wrong = settled_wrong = 0
    for run in runs:
        positions, radii = stacked([estimate.pose for estimate in run.together])
        given = _exchanged(positions, generator)
        order = track_sides(given, SCHEMA, radii).order
        given_wrong += _wrong(given, run.truths)
        settled_wrong += _wrong(np.take_along_axis(given, order[..., None], axis=1), run.truths)
    share = f"names of arms or legs exchanged in {100 * EXCHANGED_SHARE:.0f} % of frames"
    rows.append([share, str(given_wrong), str(settled_wrong), _limbs(runs)])
    return "\n".join(map(_line, rows))


def _exchanged(positions: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    schema, given = SCHEMA, positions.copy()
    for limb in ("la", "ll"):
        for frame in np.flatnonzero(generator.random(len(given)) < EXCHANGED_SHARE):
            for left, right in schema.pairs_of(limb):
                given[frame, [left, right]] = given[frame, [right, left]]
    return given


def _swaps(runs: Sequence[Run], estimates: Sequence[Sequence[Estimate]]) -> str:
    stacks = (np.stack([estimate.pose.positions for estimate in answers]) for answers in estimates)
    return str(sum(_wrong(stack, run.truths) for stack, run in zip(stacks, runs, strict=True)))


def _wrong(positions: np.ndarray, truths: np.ndarray) -> int:
    return int((limb_sides_right(positions, truths, SCHEMA) == 0).sum())


def _limbs(runs: Sequence[Run]) -> str:
    return str(4 * sum(len(run.truths) for run in runs))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
