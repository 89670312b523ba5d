"""Head and abdominal circumference and BPD on simulated volumes, with the true pose and with an estimated one.

The volumes are simulated as they are needed (seed kept out of training and of every setting), by both formers of
pictures, and kept with their poses: a cut costs one case, and a change of the method is measured in a minute.

    .venv/bin/python Testing/benchmarks/head_abdomen.py [--cases 20] [--spacing 0.5] [--output runs/head-abdomen]
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from body_truth import body_truth

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.core.atomic_files import write_json
from FetusMapV2Lib.estimation.engine import PoseEngine
from FetusMapV2Lib.imaging.head_abdomen import measure_head_and_abdomen
from FetusMapV2Lib.imaging.reading import read_volume
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.phantom.simulated_case import simulate_case, write_case

#: Never used for training, calibration or any setting.
SEED = 990_020
EXTENT_MM = (138.0, 94.0, 93.6)
RENDERERS = ("physics", "second")
STYLE = "held-out"
SIZES = ("hc", "bpd", "ac")


def main() -> None:
    """Run the benchmark and print its table."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    engine = PoseEngine.load(arguments.model)
    records = []
    for index, renderer in itertools.product(range(arguments.cases), RENDERERS):
        known = _known(arguments.output, engine, renderer, index, arguments.spacing)
        volume = read_volume(_volume_path(arguments.output, renderer, index))
        measured = {name: sizes(volume, _pose(known, name)) for name in known["poses"]}
        records.append(known | {"measured": measured})
        print(renderer, index, _case_line(records[-1]), flush=True)
    print(report(records))


def _pose(known: dict, name: str) -> Pose:
    """A pose of a case; in a doubtful one nothing is measured."""
    doubt = known["found"] if name == "estimated" and known["found"] != "found" else ""
    return Pose(np.array(known["poses"][name]), doubt=doubt)


def _volume_path(output: Path, renderer: str, index: int) -> Path:
    return output / renderer / f"case-{index:04d}.nrrd"


def _known(output: Path, engine: PoseEngine, renderer: str, index: int, spacing_mm: float) -> dict:
    """The truth and both poses of a case, simulated and estimated if it is not there yet."""
    record = output / f"{renderer}-{index:04d}.json"
    if record.exists():
        return json.loads(record.read_text(encoding="utf-8"))
    shape = tuple(round(extent / spacing_mm) for extent in EXTENT_MM)
    case = simulate_case(SEED, index, shape_kji=shape, spacing_mm=spacing_mm, style=STYLE, renderer=renderer)
    write_case(output / renderer, case, index)
    estimate = engine.estimate(case.volume)
    poses = {"true": case.pose.positions.tolist()}
    if estimate.has_pose:
        poses["estimated"] = estimate.pose.positions.tolist()
    truth = body_truth(SEED, index, shape, spacing_mm, renderer, STYLE)
    known = {"renderer": renderer, "truth": asdict(truth), "found": estimate.status, "poses": poses}
    write_json(record, known)
    return known


def sizes(volume: Volume, pose: Pose) -> dict[str, float | None]:
    """The sizes by key; None where not measured."""
    found = measure_head_and_abdomen(volume, pose)
    return {size.key: size.value_mm if size.measured else None for size in found.sizes}


def _case_line(record: dict) -> str:
    """Errors of one case, per cent."""
    parts = []
    for pose in record["measured"]:
        errors = (f"{key} {_error(record, key, pose):+.1f}" for key in SIZES)
        parts.append(f"{pose}: {', '.join(errors)}")
    return "; ".join(parts)


def _error(record: dict, key: str, pose: str) -> float:
    value = record["measured"].get(pose, {}).get(key)
    return math.nan if value is None else 100 * (value / record["truth"][key] - 1)


def report(records: list[dict]) -> str:
    """The table in Markdown: errors in per cent of the truth."""
    lines = [
        "| | pose | measured | mean error | mean of absolute errors | nine of ten below | within 3 % |",
        "| --- | --- | --: | --: | --: | --: | --: |",
    ]
    for key, renderer, pose in ((k, r, p) for k in SIZES for r in RENDERERS for p in ("true", "estimated")):
        errors = np.array([_error(record, key, pose) for record in records if record["renderer"] == renderer])
        seen = errors[np.isfinite(errors)]
        if not len(seen):
            continue
        absolute = np.abs(seen)
        cells = [
            f"{key.upper()}, {renderer}", pose, f"{len(seen)} of {len(errors)}", f"{seen.mean():+.1f} %",
            f"{absolute.mean():.1f} %", f"{np.quantile(absolute, 0.9):.1f} %", f"{100 * (absolute <= 3).mean():.0f} %",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--spacing", type=float, default=0.5)
    parser.add_argument("--model", default=None)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("runs/head-abdomen"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
