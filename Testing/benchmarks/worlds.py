"""How well a model does in several worlds: one column for each folder of simulated cases.

A fetus that was not found counts with the landmarks of the last view. Predictions are kept: a run that was cut goes
on.

    .venv/bin/python Testing/benchmarks/worlds.py own=FOLDER second=FOLDER [--model NAME] [--cases N]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.evaluation.accuracy_table import decimal, markdown_table, percent
from FetusMapV2Lib.evaluation.case_set import case_set
from FetusMapV2Lib.evaluation.metrics import application_errors_by_case, distances_mm, limb_sides_right, radius_coverage
from FetusMapV2Lib.evaluation.predictions import ModelChoice, chosen_models, predict
from FetusMapV2Lib.evaluation.statistics import mean_interval
from FetusMapV2Lib.imaging.case_search import find_cases

#: Confidence from which a landmark counts as sure, and mm from which a sure one is wrong.
SURE, WRONG_MM = 0.9, 5.0
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


def column(model: ModelChoice, folder: Path, kept: Path, most: int) -> list[str]:
    """The figures of a folder, in the order of `ROWS`."""
    cases = case_set(find_cases(folder)[: most or None])
    found = predict(model, cases.cases, kept, device="cpu", say=lambda line: print(line, flush=True))
    with_fetus = np.flatnonzero(cases.present)
    answers, truths = [found[row] for row in with_fetus], cases.truths[with_fetus]
    positions = np.stack([answer.positions for answer in answers])
    distances = distances_mm(positions, truths)
    confidence = np.stack([answer.confidence for answer in answers])
    sure = (confidence >= SURE) & np.isfinite(distances)
    ed = np.array([row[np.isfinite(row)].mean() for row in distances])
    mean = mean_interval(ed)
    grades = [answer.status for answer in answers]
    either = np.concatenate([answer.inside_either(truth) for answer, truth in zip(answers, truths, strict=True)])
    crl = application_errors_by_case(positions, truths, default_schema())["crl"]
    sides = limb_sides_right(positions, truths, default_schema())
    return [
        str(len(answers)),
        f"{grades.count('found')}+{grades.count('doubtful')}",
        f"{decimal(mean.value)} [{decimal(mean.low)}-{decimal(mean.high)}]",
        decimal(float(np.median(ed))),
        percent(radius_coverage(distances, np.stack([answer.radii_mm for answer in answers]))),
        f"{int(either.sum())} of {len(either)}",
        f"{int((sure & (distances > WRONG_MM)).sum())} of {int(sure.sum())}",
        decimal(float(np.nanmean(crl))),
        str(int((sides == 1).all(axis=1).sum())),
    ]


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
        columns = [column(model, Path(folder), given.output / name, given.cases) for name, folder in worlds]
        rows = [[title, *cells] for title, *cells in zip(ROWS, *columns, strict=True)]
        print(markdown_table([model.name, *(name for name, _ in worlds)], rows), end="\n\n")


if __name__ == "__main__":
    main()
