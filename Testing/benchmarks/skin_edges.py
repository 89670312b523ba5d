"""What it changes to put landmarks of the skin at its edge, for a model that does not do so by itself.

A row for each folder of cases: how often the edge is seen, and errors without and with it. Predictions are kept, as in
`worlds.py`.

    .venv/bin/python Testing/benchmarks/skin_edges.py FOLDER [FOLDER ...] --model simulated-7
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.anatomy.skin_landmarks import skin_rows
from FetusMapV2Lib.evaluation.accuracy_table import decimal, markdown_table, percent
from FetusMapV2Lib.evaluation.case_set import case_set
from FetusMapV2Lib.evaluation.metrics import distances_mm
from FetusMapV2Lib.evaluation.predictions import chosen_models, predict
from FetusMapV2Lib.imaging.case_search import find_cases
from FetusMapV2Lib.imaging.fill_values import without_fill
from FetusMapV2Lib.imaging.reading import read_volume
from FetusMapV2Lib.imaging.skin_surface import landmarks_on_skin
from FetusMapV2Lib.models.model_file import load_model
from FetusMapV2Lib.models.model_index import find_model

Array = NDArray[np.float64]
_MARKS = default_schema().landmarks
COLUMNS = (
    "folder",
    "volumes",
    "edge seen",
    "CRL error (mm)",
    "CRL too long, median",
    *(_MARKS[row].name for row in skin_rows()),
    "all 22",
)


def row_of(name: str, found: Array, at_skin: Array, truths: Array) -> list[str]:
    """A row of the table: in mm, means but where it says median, without and with the edge.

    Args:
        name: of the folder.
        found: (n, 22, 3) as the model has them.
        at_skin: (n, 22, 3) at the edge of the skin, NaN where none is seen.
        truths: (n, 22, 3).
    """
    moved = np.where(np.isfinite(at_skin), at_skin, found)
    rows = list(skin_rows())
    lengths = [np.linalg.norm(np.diff(each[:, list(default_schema().crl_rows)], axis=1), axis=2)[:, 0]
               for each in (found, moved, truths)]  # fmt: skip
    too_long = [each - lengths[2] for each in lengths[:2]]
    crl = [np.abs(each) for each in too_long]
    before, after = (distances_mm(each, truths) for each in (found, moved))
    pairs = [(before[:, row], after[:, row]) for row in rows]
    seen = float(np.isfinite(at_skin[:, rows, 0]).mean())
    means = [_change(*map(np.nanmean, pair)) for pair in (crl, *pairs, (before, after))]
    return [name, str(len(found)), percent(seen), means[0], _change(*map(np.nanmedian, too_long)), *means[1:]]


def _change(before: float, after: float) -> str:
    return f"{decimal(float(before))} → {decimal(float(after))}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--output", type=Path, default=Path("runs/worlds"))
    given = parser.parse_args(arguments)
    calibration = load_model(find_model(given.model)).calibration
    if calibration is not None and calibration.on_skin:
        parser.error(f"{given.model} puts landmarks at the edge of the skin by itself: give one that does not")
    torch.set_num_threads(1)
    (model,) = chosen_models([given.model], "off")
    table = []
    for folder in given.folders:
        cases = case_set(find_cases(folder))
        answers = predict(model, cases.cases, given.output / folder.name, device="cpu", say=print)
        present = np.flatnonzero(cases.present)
        found = np.stack([answers[number].positions for number in present])
        volumes = (without_fill(read_volume(cases.cases[number].volume_path)) for number in present)
        at_skin = np.stack([landmarks_on_skin(volume, each) for volume, each in zip(volumes, found, strict=True)])
        table.append(row_of(folder.name, found, at_skin, cases.truths[present]))
    print(markdown_table(COLUMNS, table))


if __name__ == "__main__":
    main()
