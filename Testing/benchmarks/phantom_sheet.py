"""Sheets of simulated volumes for the eye: the same bodies in every renderer, and the scenes that are no whole fetus.

.venv/bin/python Testing/benchmarks/phantom_sheet.py [--cases 6] [--spacing 0.5] [--output docs/images]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
from matplotlib import pyplot

from FetusMapV2Lib.anatomy.body_frame import body_frame
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.atomic_files import atomic_write
from FetusMapV2Lib.estimation.network_views import close_view
from FetusMapV2Lib.imaging.grid import resample
from FetusMapV2Lib.models.model_file import load_model
from FetusMapV2Lib.models.model_index import find_model
from FetusMapV2Lib.phantom.scene_options import WITH_FETUS, WITHOUT_FETUS, SceneOptions
from FetusMapV2Lib.phantom.simulated_case import SimulatedCase, simulate_case

SEED, EXTENT_MM = 31, (138.0, 94.0, 94.0)
VIEW = (160, 112, 112)
#: Rows of the sheet of renderers: renderer and mix of styles.
RENDERERS = (("physics", "training"), ("physics", "wide"), ("second", "training"), ("contrast", "training"))


def main() -> None:
    """Simulate the cases and write the sheets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=6)
    parser.add_argument("--spacing", type=float, default=0.5)
    parser.add_argument("--output", type=Path, default=Path("docs/images"))
    arguments = parser.parse_args()
    template = load_model(find_model()).template
    rows = {
        f"{renderer}, {style}": [
            (_slices(case, template), f"{case.truth['gestational_age_days'] / 7:.0f} weeks, {case.truth['style']}")
            for case in _cases(renderer, style, arguments.cases, arguments.spacing)
        ]
        for renderer, style in RENDERERS
    }
    _write(rows, arguments.output / "phantoms.png")
    scenes = [shows for shows in (*WITH_FETUS, *WITHOUT_FETUS) if shows != "fetus"]
    others = {}
    for renderer in ("physics", "second"):
        cases = [
            simulate_case(SEED, 5, _shape(arguments.spacing), arguments.spacing, scene=SceneOptions(shows),
                          renderer=renderer)
            for shows in scenes
        ]  # fmt: skip
        others[renderer] = [([_middle(case)], shows) for case, shows in zip(cases, scenes, strict=True)]
    _write(others, arguments.output / "phantom-scenes.png")


def _shape(spacing: float) -> tuple[int, int, int]:
    k, j, i = (round(extent / spacing) for extent in EXTENT_MM)
    return k, j, i


def _cases(renderer: str, style: str, count: int, spacing: float) -> Iterable[SimulatedCase]:
    for index in range(count):
        yield simulate_case(SEED, index, _shape(spacing), spacing, style=style, renderer=renderer)


def _write(rows: dict[str, list[tuple[list[np.ndarray], str]]], path: Path) -> None:
    """A picture with the slices of each row's cases below one another."""
    columns = max(len(cases) for cases in rows.values())
    depth = len(next(iter(rows.values()))[0][0])
    figure, axes = pyplot.subplots(
        depth * len(rows), columns, figsize=(1.7 * columns, 2.1 * depth * len(rows)), facecolor="black", squeeze=False
    )
    for number, (name, cases) in enumerate(rows.items()):
        for column, (slices, title) in enumerate(cases):
            for below, picture in enumerate(slices):
                axis = axes[depth * number + below, column]
                axis.imshow(picture, cmap="gray", origin="lower", vmin=0, vmax=220)
                axis.axis("off")
            label = f"{name}: {title}" if column == 0 else title
            axes[depth * number, column].set_title(label, color="white", fontsize=7)
    figure.tight_layout(pad=0.3)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=72, facecolor="black")
    print(path)


def _middle(case: SimulatedCase) -> np.ndarray:
    """The coronal slice of a volume with most bright echoes: it shows bones where there are any."""
    bright = np.percentile(case.volume.array, 99.5)
    return max(np.moveaxis(case.volume.array, 1, 0), key=lambda part: int((part > bright).sum()))


def _slices(case: SimulatedCase, template: np.ndarray) -> list[np.ndarray]:
    """Midsagittal and coronal slice along the body's own axes."""
    positions = case.pose.positions
    grid = close_view(body_frame(positions, None, template, default_schema()), VIEW)
    voxels = resample(case.volume, grid)
    points = grid.to_voxel(positions)
    schema = default_schema()
    i = int(np.median(points[list(schema.midsagittal_rows), 0]))
    j = int(
        points[[schema.index(key) for key in ("left_shoulder", "right_shoulder", "left_hip", "right_hip")], 1].mean()
    )
    return [voxels[:, :, i], voxels[:, j]]


if __name__ == "__main__":
    main()
