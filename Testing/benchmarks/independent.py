"""Writes cases of a simulated world that shares no code with the bundled simulators: a yardstick for their weights.

    .venv/bin/python Testing/benchmarks/independent.py OUT --count 30 --seed 1 [--style NAME] [--poses FILE]

The same seed and number always give the same case; cases that are there already are left alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from independent_world.cases import Grid, make_case, write_case
from independent_world.posture import read_directions
from independent_world.sheet import write_sheet
from independent_world.styles import STYLES

from FetusMapV2Lib.imaging.case_search import find_cases


def write_one(number: int, folder: Path, seed: int, grid: Grid, style: str, poses: Path | None) -> None:
    """Write the case of a number unless it is there."""
    if not (folder / f"case-{number:04d}.json").exists():
        directions = None if poses is None else read_directions(poses)
        write_case(folder, make_case(seed, number, grid, style, directions))
        print(f"case-{number:04d}", flush=True)


def show(folder: Path, path: Path, most: int) -> None:
    """Write the sheet of the first cases of a folder."""
    rows = []
    for case in find_cases(folder)[:most]:
        facts = case.truth()
        kind, neck = facts["surroundings"]["kind"], facts["posture"]["neck"]
        title = f"{case.name}  {facts['style']}  CRL {facts['crl_mm']:.0f} mm  {kind}  neck {neck:.0f}"
        rows.append((case.volume(), case.pose(), title))
    write_sheet(path, rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--count", type=int, default=30)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--style", choices=STYLES, default="", help="all five in turn if not given")
    parser.add_argument("--poses", type=Path, help="real fetal poses (.npz); limbs from ranges of angles without them")
    parser.add_argument("--size", default="153,104,104", help="voxels along i, j, k")
    parser.add_argument("--spacing", type=float, default=0.9, help="mm")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--sheet", type=Path, help="PNG of the cases")
    parser.add_argument("--rows", type=int, default=30, help="most cases on the sheet")
    given = parser.parse_args(arguments)
    grid = Grid(tuple(np.array(given.size.split(","), int).tolist()), given.spacing)
    given.output.mkdir(parents=True, exist_ok=True)
    numbers = range(given.first, given.first + given.count)
    one = partial(write_one, folder=given.output, seed=given.seed, grid=grid, style=given.style, poses=given.poses)
    if given.processes > 1:
        with ProcessPoolExecutor(given.processes) as pool:
            list(pool.map(one, numbers))
    else:
        for number in numbers:
            one(number)
    if given.sheet:
        show(given.output, given.sheet, given.rows)


if __name__ == "__main__":
    main()
