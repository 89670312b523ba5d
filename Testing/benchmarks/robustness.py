"""How a model holds out of its own world: volumes of several renderers, changed one factor at a time.

Prints one table per model with two columns, its own held-out world and a left-out one, as the documentation shows it.
A world may also be a folder of annotated cases, those of another simulator or of a site. Every record is a file of its
own, written whole: a run that was cut goes on, and several processes share the work.

    .venv/bin/python Testing/benchmarks/robustness.py [--model NAME ...] [--cases 10] [--output runs/robustness]
    .venv/bin/python Testing/benchmarks/robustness.py --part 1/2    # and at the same time --part 2/2
    .venv/bin/python Testing/benchmarks/robustness.py --anatomy 2026-3 --worlds own --folder site=FOLDER
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.atomic_files import write_json
from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.core.serialisation import to_json
from FetusMapV2Lib.estimation.engine import PoseEngine
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.evaluation.accuracy_table import decimal, markdown_table, percent
from FetusMapV2Lib.evaluation.metrics import (
    application_errors,
    auc,
    distances_mm,
    limb_sides_right,
    mean_distance_mm,
    radius_coverage,
)
from FetusMapV2Lib.evaluation.predictions import ModelChoice, chosen_models
from FetusMapV2Lib.evaluation.statistics import finite_mean
from FetusMapV2Lib.imaging.case_search import CaseFiles, find_cases
from FetusMapV2Lib.imaging.markups import read_markups
from FetusMapV2Lib.imaging.reading import read_volume
from FetusMapV2Lib.phantom.rendering import SHARES
from FetusMapV2Lib.phantom.scene_options import ANATOMIES, SceneOptions
from FetusMapV2Lib.phantom.simulated_case import SimulatedCase, simulate_case, write_case

sys.path.append(str(Path(__file__).resolve().parents[1]))  # run as a script, it finds its neighbours as the tests do
from benchmarks.volume_changes import FACTORS, QUICK_FACTORS, Change, Scene

#: Never used for training or calibration.
SEED = 880_001
#: Confidence that a user relies on, and the error that makes it false.
SURE, FALSE_MM = 0.9, 5.0


#: A volume without a fetus, in the list of factors.
EMPTY = "empty uterus"
CHANGES: Mapping[str, Change] = {**FACTORS, EMPTY: FACTORS["unchanged"]}

# --- worlds


#: The renderer of each world. Held-out seeds and vendor styles in each; training's own is that of the physics.
WORLDS = {{"physics": "own"}.get(renderer, renderer): renderer for renderer in SHARES}


@dataclass(frozen=True)
class Simulation:
    """How cases are simulated: bodies of an anatomy, voxels, and the folder that keeps them."""

    anatomy: str
    size: tuple[int, int, int]
    spacing_mm: float
    folder: Path

    def case(self, world: str, index: int, fetus: bool) -> SimulatedCase:
        """A case of a world; the same index shows the same body in each."""
        return simulate_case(
            SEED,
            index,
            shape_kji=self.size,
            spacing_mm=self.spacing_mm,
            style="held-out",
            scene=SceneOptions("fetus" if fetus else "empty", self.anatomy),
            renderer=WORLDS[world],
        )

    def scene(self, world: str, index: int, fetus: bool) -> Scene:
        """A case of a world, simulated and written on first use."""
        cases = self.folder / "cases" / (world if fetus else f"{world}-empty")
        path = cases / f"case-{index:04d}.nrrd"
        if not (cases / f"case-{index:04d}.json").exists():
            write_case(cases, self.case(world, index, fetus), index, overwrite=True)
        truth = read_markups(cases / f"case-{index:04d}.mrk.json").positions
        return Scene(read_volume(path), np.array(truth, dtype=float))


def with_fetus(folder: Path, count: int) -> list[CaseFiles]:
    """The first cases of a folder that show a fetus.

    Raises:
        UserError: there are not so many.
    """
    cases = [case for case in find_cases(folder) if case.fetus_present]
    if count > len(cases):
        raise UserError(f"only {len(cases)} cases show a fetus", where=folder, remedy="Give fewer --cases")
    return cases[:count]


# --- estimates and their scores


@dataclass(frozen=True)
class Record:
    """One estimate and its truth.

    Attributes:
        status: "found", "doubtful" or "none".
        truth, estimate: (22, 3) RAS mm; the estimate is what the network saw where no fetus was found.
        radii_mm, confidence: (22,), NaN where there are none.
    """

    status: str
    truth: np.ndarray
    estimate: np.ndarray
    radii_mm: np.ndarray
    confidence: np.ndarray

    @classmethod
    def of(cls, estimate: Estimate, truth: np.ndarray) -> Record:
        """What is kept of an estimate."""
        pose = estimate.pose if estimate.has_pose or estimate.seen is None else estimate.seen
        unknown = np.full(len(truth), np.nan)
        radii = unknown if pose.radius90_mm is None else pose.radius90_mm
        confidence = unknown if pose.confidence is None else pose.confidence
        return cls(estimate.status, truth, pose.positions, radii, confidence)

    @classmethod
    def read(cls, path: Path) -> Record:
        """From its file."""
        data = json.loads(path.read_text(encoding="utf-8"))
        arrays = {key: np.array(value, dtype=float) for key, value in data.items() if key != "status"}
        return cls(status=data["status"], **arrays)


@dataclass(frozen=True)
class Scores:
    """Of some records; means over cases without a pose count what the network saw.

    Attributes:
        count: of the records.
        found, seen: how many are found, and found or doubtful.
        mean_mm, median_mm: Euclidean distance over all landmarks.
        area: under the PCK curve.
        covered: share inside the 90 % radius.
        falsely_sure: share of the landmarks that are reported with a confidence of `SURE` that are `FALSE_MM` off.
        sides: share of the cases with all four limbs on their sides.
        crl_mm: mean error of the crown-rump length.
    """

    count: int
    found: int
    seen: int
    mean_mm: float
    median_mm: float
    area: float
    covered: float
    falsely_sure: float
    sides: float
    crl_mm: float

    @classmethod
    def of(cls, records: Sequence[Record]) -> Scores:
        """The scores of at least one record."""
        truth = np.stack([record.truth for record in records])
        estimate = np.stack([record.estimate for record in records])
        radii = np.stack([record.radii_mm for record in records])
        confidence = np.stack([record.confidence for record in records])
        shown = np.array([record.status != "none" for record in records])[:, None]
        distances = distances_mm(estimate, truth)
        scored = distances[np.isfinite(distances)]
        sure = shown & (confidence >= SURE) & ~np.isnan(distances)
        right = limb_sides_right(estimate, truth, default_schema())
        return cls(
            count=len(records),
            found=sum(record.status == "found" for record in records),
            seen=int(shown.sum()),
            mean_mm=float(scored.mean()) if scored.size else math.nan,
            median_mm=float(np.median(scored)) if scored.size else math.nan,
            area=auc(distances),
            covered=radius_coverage(distances, radii),
            falsely_sure=float((distances[sure] > FALSE_MM).mean()) if sure.any() else math.nan,
            sides=finite_mean(right.min(axis=1)),
            crl_mm=application_errors(estimate, truth, default_schema())["crl"],
        )

    def cells(self) -> list[str]:
        """As a row of the table shows them."""
        return [
            f"{self.found}+{self.seen - self.found} of {self.count}",
            f"{decimal(self.mean_mm)} / {decimal(self.median_mm)}",
            percent(self.covered),
            percent(self.falsely_sure),
            percent(self.sides),
            decimal(self.crl_mm),
        ]


HEADS = ("found + doubtful", "ED mean / median (mm)", "in 90 % radius", "sure but > 5 mm off", "sides", "CRL (mm)")


def table(folder: Path, model: str, worlds: Sequence[str], factors: Sequence[str], cases: int) -> str:
    """The table of a model in Markdown: a row per factor, the columns of each world side by side."""
    rows = []
    for factor in factors:
        cells = [factor]
        for world in worlds:
            paths = [record_path(folder, model, world, factor, index) for index in range(cases)]
            records = [Record.read(path) for path in paths if path.exists()]
            cells += Scores.of(records).cells() if records else ["-"] * len(HEADS)
        rows.append(cells)
    heads = ["factor", *(f"{world}: {head}" for world in worlds for head in HEADS)]
    return markdown_table(heads, rows)


def record_path(folder: Path, model: str, world: str, factor: str, index: int) -> Path:
    """Where the record of an estimate is kept."""
    return folder / "records" / model / world / factor.replace(" ", "-") / f"{index:04d}.json"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the sweeps and print a table per model."""
    chosen = _arguments(arguments)
    torch.set_num_threads(chosen.threads)
    models = chosen_models(chosen.model, "off")
    worlds = [*chosen.worlds, *chosen.folders]
    work = [
        (index, world, model, factor)
        for index in range(chosen.cases)
        for world in worlds
        for model in models
        for factor in chosen.factors
        if not (world in chosen.folders and factor == EMPTY)
    ]
    part, parts = chosen.part
    if not chosen.report_only:
        _run(work[part - 1 :: parts] if parts > 1 else work, chosen)
    for model in models:
        print(f"\n{model.name}, {chosen.cases} volumes of each world\n")
        print(table(chosen.output, _label(model), worlds, chosen.factors, chosen.cases))


def _run(work: Sequence[tuple[int, str, ModelChoice, str]], chosen: argparse.Namespace) -> None:
    engines: dict[str, PoseEngine] = {}
    simulation = Simulation(chosen.anatomy, chosen.size, chosen.spacing, chosen.output)
    given = {world: with_fetus(folder, chosen.cases) for world, folder in chosen.folders.items()}
    for index, world, model, factor in work:
        path = record_path(chosen.output, _label(model), world, factor, index)
        if path.exists():
            continue
        if model.name not in engines:
            engines[model.name] = PoseEngine.load(model.path, chosen.device)
        if world in given:
            case = given[world][index]
            unchanged = Scene(case.volume(), np.array(case.pose().positions, dtype=float))
        else:
            unchanged = simulation.scene(world, index, factor != EMPTY)
        scene = CHANGES[factor](unchanged)
        record = Record.of(engines[model.name].estimate(scene.volume), scene.truth)
        write_json(path, to_json(record))
        error = distances_mm(record.estimate[None], record.truth[None])
        mean = mean_distance_mm(error)
        print(f"{model.name}, {world} {index}, {factor}: {record.status}, {mean:.2f} mm", flush=True)


def _label(model: ModelChoice) -> str:
    """Of a model's records: those of another file of the same name are others."""
    return f"{model.name}-{model.sha256[:8]}"


def _part(text: str) -> tuple[int, int]:
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise UserError("not a part", where=f"--part {text}", remedy="Write for example 1/2")
    return int(number), int(count)


def _folder(text: str) -> tuple[str, Path]:
    name, _, folder = text.partition("=")
    if not (name and folder) or name in WORLDS or Path(name).name != name:
        raise UserError("not a world", where=f"--folder {text}", remedy="Write NAME=FOLDER, with a name of its own")
    return name, Path(folder)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", default=[], help="NAME, FILE or LABEL=FILE, repeatable")
    parser.add_argument("--worlds", nargs="+", default=list(WORLDS), choices=list(WORLDS))
    parser.add_argument("--folder", type=_folder, action="append", default=[], help="NAME=FOLDER of annotated cases")
    parser.add_argument("--anatomy", default="2026-1", choices=ANATOMIES, help="bodies; `simulated-2` knows 2026-1")
    parser.add_argument("--factors", nargs="+", default=list(CHANGES), choices=list(CHANGES))
    parser.add_argument("--quick", action="store_true", help="three factors, two cases")
    parser.add_argument("--cases", type=int, default=10)
    parser.add_argument("--size", type=int, nargs=3, default=(230, 157, 156), help="voxels, k j i")
    parser.add_argument("--spacing", type=float, default=0.6, help="mm")
    parser.add_argument("--output", type=Path, default=Path("runs/robustness"))
    parser.add_argument("--part", type=_part, default=(1, 1), help="K/N: the Kth of N shares of the work")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--report-only", action="store_true", help="only print the tables of what is there")
    chosen = parser.parse_args(arguments)
    if chosen.quick:
        chosen.factors, chosen.cases = list(QUICK_FACTORS), min(chosen.cases, 2)
    chosen.size = tuple(chosen.size)
    chosen.folders = dict(chosen.folder)
    chosen.output = chosen.output / chosen.anatomy
    return chosen


if __name__ == "__main__":
    main()
