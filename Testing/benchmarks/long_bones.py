"""How long femora and humeri are in simulated volumes: the joints' distance, and a search for the ossified shafts.

Bodies of both anatomies, made visible by both formers of pictures; joints of the true pose and of an estimated one.
The volumes are kept with their poses: a cut costs one case.

    .venv/bin/python Testing/benchmarks/long_bones.py [--cases 4] [--spacing 0.5] [--output runs/long-bones]
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path

import numpy as np
import torch
from shaft_search import find_shafts

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.atomic_files import write_json
from FetusMapV2Lib.estimation.engine import PoseEngine
from FetusMapV2Lib.imaging.reading import read_volume
from FetusMapV2Lib.imaging.sampling import greys_at
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.phantom.scene_options import ANATOMIES, SceneOptions
from FetusMapV2Lib.phantom.simulated_case import simulate_case, write_case

#: Never used for training, calibration or any setting.
SEED = 990_032
EXTENT_MM = (138.0, 94.0, 93.6)
RENDERERS = ("physics", "second")
STYLE = "held-out"
JOINTS = ("true", "estimated")
#: Joints of the true pose are known to this, mm.
EXACT_MM = 0.5


def main() -> None:
    """Run the benchmark and print its table."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    engine = PoseEngine.load(arguments.model)
    records, shown = [], []
    for index, anatomy, renderer in itertools.product(range(arguments.cases), ANATOMIES, RENDERERS):
        folder = arguments.output / anatomy / renderer
        known = _known(folder, engine, anatomy, renderer, index, arguments.spacing)
        volume = read_volume(folder / f"case-{index:04d}.nrrd")
        for joints in (name for name in JOINTS if name in known["poses"]):
            records += bone_records(volume, known, joints)
        shown += [visibility(volume, np.array(shaft["ends"])) for shaft in known["shafts"].values()]
        print(anatomy, renderer, index, known["found"], flush=True)
    print(report(records))
    above, spread = np.mean(shown, axis=0)
    print(
        f"Greys on the shaft over those on the cartilage at its ends: {above:.0f}; spread along the shaft: {spread:.0f}"
    )


def visibility(volume: Volume, ends: np.ndarray) -> tuple[float, float]:
    """Mean grey on a shaft's true line above that 0.5 to 1.5 mm beyond its ends, and the spread along the shaft."""
    length = float(np.linalg.norm(ends[1] - ends[0]))
    along = (ends[1] - ends[0]) / length
    inside = greys_at(volume, ends[0] + np.arange(0.5, length - 0.4, 0.1)[:, None] * along)
    beyond = np.concatenate([np.arange(-1.5, -0.4, 0.1), length + np.arange(0.5, 1.6, 0.1)])
    outside = greys_at(volume, ends[0] + beyond[:, None] * along)
    return float(np.nanmean(inside) - np.nanmean(outside)), float(np.nanstd(inside))


def _known(folder: Path, engine: PoseEngine, anatomy: str, renderer: str, index: int, spacing_mm: float) -> dict:
    """Truth, poses and radii of a case, simulated and estimated if it is not there yet; a doubtful pose counts not."""
    record = folder / f"known-{index:04d}.json"
    if record.exists():
        return json.loads(record.read_text(encoding="utf-8"))
    shape = tuple(round(extent / spacing_mm) for extent in EXTENT_MM)
    scene = SceneOptions(anatomy=anatomy)
    case = simulate_case(SEED, index, shape, spacing_mm, style=STYLE, renderer=renderer, scene=scene)
    write_case(folder, case, index)
    estimate = engine.estimate(case.volume)
    poses, radii = {"true": case.pose.positions.tolist()}, {"true": [EXACT_MM] * case.pose.schema.count}
    if estimate.status == "found":
        poses["estimated"] = estimate.pose.positions.tolist()
        radii["estimated"] = estimate.pose.radius90_mm.tolist()
    known = {
        "anatomy": anatomy, "renderer": renderer, "found": estimate.status, "shafts": case.truth["shafts_mm"],
        "poses": poses, "radii": radii,
    }  # fmt: skip
    write_json(record, known)
    return known


def bone_records(volume: Volume, known: dict, joints: str) -> list[dict]:
    """Errors of each bone, mm: of the joints' distance and of the search; and how sure the search is of itself."""
    points, radii = np.array(known["poses"][joints]), known["radii"][joints]
    bones = default_schema().bones
    order = [f"{side}_{bone}" for bone in ("femur", "humerus") for side in ("left", "right")]
    ends = [(points[bones[key][0]], points[bones[key][1]]) for key in order]
    found = find_shafts(volume, ends, [(radii[bones[key][0]], radii[bones[key][1]]) for key in order])
    group = {"anatomy": known["anatomy"], "renderer": known["renderer"], "joints": joints}
    return [
        group | {
            "distance": float(np.linalg.norm(last - first)) - known["shafts"][key]["length"],
            "search": guess.length_mm - known["shafts"][key]["length"], "sd": guess.sd_mm,
        }
        for key, (first, last), guess in zip(order, ends, found, strict=True)
    ]  # fmt: skip


def report(records: list[dict]) -> str:
    """The table in Markdown."""
    lines = [
        "| bodies, picture | joints | bones | joints' distance: mean, median, 90 % | within 1 mm | search: mean, median"
        ", 90 % | within 1 mm | of the surest third |",
        "| --- | --- | --: | --: | --: | --: | --: | --: |",
    ]
    for joints, anatomy, renderer in itertools.product(JOINTS, ANATOMIES, RENDERERS):
        wanted = {"anatomy": anatomy, "renderer": renderer, "joints": joints}
        lines.append(_row(f"{anatomy}, {renderer}", joints, [r for r in records if wanted.items() <= r.items()]))
    lines += [_row("all", joints, [r for r in records if r["joints"] == joints]) for joints in JOINTS]
    return "\n".join(line for line in lines if line)


def _row(name: str, joints: str, records: list[dict]) -> str:
    if not records:
        return ""
    distance, search = (np.array([r[key] for r in records]) for key in ("distance", "search"))
    surest = np.argsort([r["sd"] for r in records])[: max(1, len(records) // 3)]
    cells = [
        name, joints, str(len(records)), _errors(distance), _near(distance), _errors(search), _near(search),
        _near(search[surest]),
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def _errors(errors: np.ndarray) -> str:
    absolute = np.abs(errors)
    return f"{errors.mean():+.1f}, {np.median(absolute):.1f}, {np.quantile(absolute, 0.9):.1f} mm"


def _near(errors: np.ndarray) -> str:
    return f"{100 * (np.abs(errors) <= 1).mean():.0f} %"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=4)
    parser.add_argument("--spacing", type=float, default=0.5)
    parser.add_argument("--model", default=None)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=Path("runs/long-bones"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
