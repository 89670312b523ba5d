"""How well a model does in several worlds: one column for each folder of simulated cases.

A fetus that was not found counts with the landmarks of the last view. A second table tells by the grade of presence
whether confidences hold, and how long an estimate takes on one core; a third one how far the bodies are off whose sac
clings to them, and the others; a fourth one how many wrists and ankles are far off by the length of the limb.
Predictions are kept: a run that was cut goes on.

    .venv/bin/python Testing/benchmarks/worlds.py own=FOLDER second=FOLDER [--model NAME] [--cases N]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.evaluation.accuracy_table import decimal, markdown_table, percent
from FetusMapV2Lib.evaluation.case_set import case_set
from FetusMapV2Lib.evaluation.metrics import (
    application_errors_by_case,
    distances_mm,
    lengths_by_case,
    limb_sides_right,
    radius_coverage,
)
from FetusMapV2Lib.evaluation.predictions import ModelChoice, Prediction, chosen_models, predict
from FetusMapV2Lib.evaluation.statistics import mean_interval
from FetusMapV2Lib.imaging.case_search import find_cases

sys.path.append(str(Path(__file__).resolve().parents[1]))  # run as a script, it finds its neighbours as the tests do
from benchmarks.why_volumes_fail import NO_FLUID_MM

#: Confidence from which a landmark counts as sure, and mm from which a sure one is wrong.
SURE, WRONG_MM = 0.9, 5.0
#: A body this far off (mm) is lost.
LOST_MM = 9.0
#: A wrist or an ankle this far off (mm) is far off; limbs are as long as their two parts, in crown-rump lengths.
FAR_MM, LENGTHS = 8.0, (0.0, 0.34, 0.38, 0.42, 1.0)
ROWS = (
    "volumes",
    "found + doubtful",
    "mean ED (mm)",
    "median of the volumes (mm)",
    "in 90 % radius",
    "two regions: in one of them",
    "sure but > 5 mm off",
    "CRL error (mm)",
    "all four limbs on their sides",
)


GRADES = ("found", "doubtful", "none")
GRADE_HEADS = (
    "grade",
    "volumes",
    "mean confidence",
    f"within {WRONG_MM:g} mm",
    f"sure but > {WRONG_MM:g} mm off",
    "median time (s)",
)


@dataclass(frozen=True)
class World:
    """The answers for the fetuses of a folder, their landmarks (N, 22, 3), RAS mm, and how far the sac is (N,), mm.

    Where no distance is known, the sac lies anywhere: infinity.
    """

    answers: list[Prediction]
    truths: np.ndarray
    sac_mm: np.ndarray

    @property
    def positions(self) -> np.ndarray:
        """(N, 22, 3) RAS mm."""
        return np.stack([answer.positions for answer in self.answers])

    @property
    def confidence(self) -> np.ndarray:
        """(N, 22)."""
        return np.stack([answer.confidence for answer in self.answers])

    @property
    def distances(self) -> np.ndarray:
        """(N, 22) mm, NaN for landmarks without a truth."""
        return distances_mm(self.positions, self.truths)

    @property
    def mean_distances(self) -> np.ndarray:
        """(N,) mm, of the landmarks of each volume."""
        return np.nanmean(self.distances, axis=1)


def world_of(model: ModelChoice, folder: Path, kept: Path, most: int) -> World:
    """What a model answers for the cases of a folder that show a fetus."""
    cases = case_set(find_cases(folder)[: most or None])
    found = predict(model, cases.cases, kept, device="cpu", say=lambda line: print(line, flush=True))
    with_fetus = np.flatnonzero(cases.present)
    sac_mm = [float(cases.cases[row].truth().get("sac_distance_mm", np.inf)) for row in with_fetus]
    return World([found[row] for row in with_fetus], cases.truths[with_fetus], np.array(sac_mm))


def sure_but_wrong(confidence: np.ndarray, distances: np.ndarray) -> str:
    """How many of the sure landmarks are far off."""
    sure = (confidence >= SURE) & np.isfinite(distances)
    return f"{int((sure & (distances > WRONG_MM)).sum())} of {int(sure.sum())}"


def column(world: World) -> list[str]:
    """The figures of a world, in the order of `ROWS`."""
    answers, truths, distances = world.answers, world.truths, world.distances
    ed = world.mean_distances
    mean = mean_interval(ed)
    grades = [answer.status for answer in answers]
    either = np.concatenate([answer.inside_either(truth) for answer, truth in zip(answers, truths, strict=True)])
    crl = application_errors_by_case(world.positions, truths, default_schema())["crl"]
    sides = limb_sides_right(world.positions, truths, default_schema())
    return [
        str(len(answers)),
        f"{grades.count('found')}+{grades.count('doubtful')}",
        f"{decimal(mean.value)} [{decimal(mean.low)}-{decimal(mean.high)}]",
        decimal(float(np.median(ed))),
        percent(radius_coverage(distances, np.stack([answer.radii_mm for answer in answers]))),
        f"{int(either.sum())} of {len(either)}",
        sure_but_wrong(world.confidence, distances),
        decimal(float(np.nanmean(crl))),
        str(int((sides == 1).all(axis=1).sum())),
    ]


def rows_by_grade(worlds: Sequence[World]) -> list[list[str]]:
    """For each grade of presence in all worlds the cells of `GRADE_HEADS`."""
    rows = []
    grades = np.array([answer.status for world in worlds for answer in world.answers])
    seconds = np.array([answer.seconds for world in worlds for answer in world.answers])
    confidences = np.concatenate([world.confidence for world in worlds])
    all_distances = np.concatenate([world.distances for world in worlds])
    for grade in GRADES:
        confidence, distances = confidences[grades == grade], all_distances[grades == grade]
        there = np.isfinite(distances)
        if there.any():
            mean, within = confidence[there].mean(), (distances[there] <= WRONG_MM).mean()
            sure = sure_but_wrong(confidence, distances)
            time = decimal(float(np.median(seconds[grades == grade])))
            rows.append([grade, str(len(distances)), decimal(mean), decimal(within), sure, time])
    return rows


def rows_by_sac(worlds: Sequence[World]) -> list[list[str]]:
    """For clinging sacs and others, and each world: volumes, mean / median distance (mm), and bodies that are lost."""
    rows = []
    for title, clings in ((f"at most {NO_FLUID_MM:g} mm", True), ("farther, or not known", False)):
        cells = [title]
        for world in worlds:
            ed = world.mean_distances[(world.sac_mm <= NO_FLUID_MM) == clings]
            if not ed.size:
                cells.append("")
                continue
            mean, middle, lost = decimal(float(ed.mean())), decimal(float(np.median(ed))), int((ed >= LOST_MM).sum())
            cells.append(f"{ed.size}: {mean} / {middle}, {lost} lost")
        rows.append(cells)
    return rows


def rows_by_limb(worlds: Sequence[World]) -> list[list[str]]:
    """For arms and legs by their length: how many ends are far off in each world and in all, of bodies not lost."""
    rows = []
    for kind, groups in (("arms", ("la", "ra")), ("legs", ("ll", "rl"))):
        limbs = [lengths_and_errors(world, groups) for world in worlds]
        for low, high in pairwise(LENGTHS):
            cells = [f"{kind}, {low:.2f}-{high:.2f} CRL" if low else f"{kind}, up to {high:.2f} CRL"]
            for lengths, errors in [*limbs, np.concatenate(limbs, axis=1)]:
                among = errors[(lengths > low) & (lengths <= high)]
                cells.append(f"{int((among > FAR_MM).sum())} of {len(among)}" if len(among) else "")
            rows.append(cells)
    return rows


def lengths_and_errors(world: World, groups: Sequence[str]) -> np.ndarray:
    """(2, M): lengths of limbs in crown-rump lengths, and how far their ends are off (mm); of bodies not lost."""
    schema = default_schema()
    kept = world.mean_distances < LOST_MM
    truths, distances = world.truths[kept], world.distances[kept]
    crl = lengths_by_case(truths, schema)["crl"]
    pairs = []
    for rows in map(schema.rows, groups):
        length = np.linalg.norm(np.diff(truths[:, list(rows)], axis=1), axis=2).sum(axis=1)
        pairs.append(np.stack([length / crl, distances[:, rows[-1]]]))
    together = np.concatenate(pairs, axis=1)
    return together[:, np.isfinite(together).all(axis=0)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("worlds", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--model", action="append", default=[], help="repeat it for several; a table each")
    parser.add_argument("--cases", type=int, default=0, help="of each world; 0 = all")
    parser.add_argument("--output", type=Path, default=Path("runs/worlds"))
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    worlds = [world.partition("=")[::2] for world in given.worlds]
    for model in chosen_models(given.model, "off"):
        answered = [world_of(model, Path(folder), given.output / name, given.cases) for name, folder in worlds]
        rows = [[title, *cells] for title, *cells in zip(ROWS, *map(column, answered), strict=True)]
        print(markdown_table([model.name, *(name for name, _ in worlds)], rows), end="\n\n")
        print(markdown_table(GRADE_HEADS, rows_by_grade(answered)), end="\n\n")
        print(markdown_table(["sac", *(name for name, _ in worlds)], rows_by_sac(answered)), end="\n\n")
        far = f"ends > {FAR_MM:g} mm off"
        print(markdown_table([far, *(name for name, _ in worlds), "all"], rows_by_limb(answered)), end="\n\n")


if __name__ == "__main__":
    main()
