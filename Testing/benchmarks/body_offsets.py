"""Whether a model is off the same way in every body, and where the landmarks of the bodies lie between crown and rump.

A shift that all volumes share comes from bodies or definitions that differ from those of the training, not from the
pictures. Volumes in which the body was lost are left aside. Predictions are kept, as in `worlds.py`.

    .venv/bin/python Testing/benchmarks/body_offsets.py FOLDER [FOLDER ...] [--model NAME]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.evaluation.accuracy_table import decimal, markdown_table
from FetusMapV2Lib.evaluation.case_set import case_set
from FetusMapV2Lib.evaluation.metrics import distances_mm
from FetusMapV2Lib.evaluation.predictions import chosen_models, predict
from FetusMapV2Lib.imaging.case_search import find_cases
from FetusMapV2Lib.training.proportions import between_crown_and_rump

Array = NDArray[np.float64]
#: Mean distance in mm from which a body counts as lost.
LOST_MM = 6.0
_COLUMNS = ("landmark", "median ED (mm)", "cranial", "anterior", "to left", "without this shift", "crown to rump (%)")


def axes_of(truth: Array, head: bool) -> Array:
    """Unit vectors to cranial, anterior and left, (3, 3), of the head or the trunk.

    Args:
        truth: (22, 3) RAS mm.
        head: anterior is from nape to nose and cranial at right angles to it; in the trunk cranial is from rump to
            crown and anterior at right angles to it.
    """
    row = default_schema().index
    crown, nose, chin, nape = (truth[row(key)] for key in ("cranial_crest", "nasal_tip", "chin", "hind_neck"))
    rump, cord, spine = (truth[row(key)] for key in ("rump", "umbilical_cord_insertion", "lumbosacral_spine"))
    if head:
        anterior = _unit(nose - nape)
        cranial = _unit_across(crown - (chin + nape) / 2, anterior)
    else:
        cranial = _unit(crown - rump)
        anterior = _unit_across(cord - spine, cranial)
    return np.stack([cranial, anterior, np.cross(cranial, anterior)])


def _unit(vector: Array) -> Array:
    return np.asarray(vector / np.linalg.norm(vector))


def _unit_across(vector: Array, axis: Array) -> Array:
    """The direction of a vector's part at right angles to a unit vector."""
    return _unit(vector - axis * (axis @ vector))


def offsets(position: Array, truth: Array) -> Array:
    """(22, 3) mm from truth to estimate, to cranial, anterior and left; down to the nape in the axes of the head."""
    moved, head = position - truth, slice(default_schema().index("hind_neck") + 1)
    result: Array = moved @ axes_of(truth, head=False).T
    result[head] = moved[head] @ axes_of(truth, head=True).T
    return result


def rows(found: Sequence[Array], truths: Sequence[Array]) -> list[list[str]]:
    """The table, a row for each landmark, of bodies that were not lost."""
    shifts = np.stack([offsets(position, truth) for position, truth in zip(found, truths, strict=True)])
    shared = np.nanmedian(shifts, axis=0)
    before, after = (np.nanmedian(np.linalg.norm(each, axis=2), axis=0) for each in (shifts, shifts - shared))
    places = np.nanmedian([between_crown_and_rump(truth) for truth in truths], axis=0)
    return [
        [f"{mark.number} {mark.name}", decimal(before[n]), *(f"{value:+.1f}" for value in shared[n]), decimal(after[n]),
         f"{100 * places[n]:.0f}"]
        for n, mark in enumerate(default_schema().landmarks)
    ]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--model", default="")
    parser.add_argument("--output", type=Path, default=Path("runs/worlds"))
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    (model,) = chosen_models([given.model] if given.model else [], "off")
    kept: list[tuple[Array, Array]] = []
    volumes = 0
    for folder in given.folders:
        cases = case_set(find_cases(folder))
        answers = predict(model, cases.cases, given.output / folder.name, device="cpu", say=print)
        for number in np.flatnonzero(cases.present):
            position, truth = answers[number].positions, cases.truths[number]
            volumes += 1
            if np.nanmean(distances_mm(position[None], truth[None])) < LOST_MM:
                kept.append((position, truth))
    print(f"{model.name}: {len(kept)} of {volumes} bodies within {LOST_MM:g} mm\n")
    print(markdown_table(_COLUMNS, rows(*zip(*kept, strict=True))))


if __name__ == "__main__":
    main()
