"""A sheet of simulated fetuses for the eye: midsagittal, coronal and transverse slices along each body's own axes.

.venv/bin/python Testing/benchmarks/phantom_sheet.py [--cases 6] [--output docs/images/phantoms.png]
"""

from __future__ import annotations

import argparse
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
from FetusMapV2Lib.phantom.simulated_case import SimulatedCase, simulate_case

SEED, SHAPE, SPACING_MM = 31, (276, 188, 187), 0.5
VIEW = (160, 112, 112)


def main() -> None:
    """Simulate the cases and write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=6)
    parser.add_argument("--output", type=Path, default=Path("docs/images/phantoms.png"))
    arguments = parser.parse_args()
    template = load_model(find_model()).template
    figure, axes = pyplot.subplots(3, arguments.cases, figsize=(2.1 * arguments.cases, 7.6), facecolor="black")
    for index in range(arguments.cases):
        style = "ABC"[index % 3]
        case = simulate_case(SEED, index, SHAPE, SPACING_MM, style=style)
        for axis, picture in zip(axes[:, index], _slices(case, template), strict=True):
            axis.imshow(picture, cmap="gray", origin="lower", vmin=0, vmax=200)
            axis.axis("off")
        age = case.truth["gestational_age_days"]
        axes[0, index].set_title(f"{age / 7:.0f} weeks, style {style}", color="white", fontsize=10)
    figure.tight_layout(pad=0.3)
    with atomic_write(arguments.output) as temporary:
        figure.savefig(temporary, dpi=80, facecolor="black")
    print(arguments.output)


def _slices(case: SimulatedCase, template: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    positions = case.pose.positions
    grid = close_view(body_frame(positions, None, template, default_schema()), VIEW)
    voxels = resample(case.volume, grid)
    points = grid.to_voxel(positions)
    schema = default_schema()
    i = int(points[list(schema.midsagittal_rows), 0].mean())
    j = int(
        points[[schema.index(key) for key in ("left_shoulder", "right_shoulder", "left_hip", "right_hip")], 1].mean()
    )
    k = int(points[schema.index("umbilical_cord_insertion"), 2])
    return voxels[:, :, i], voxels[:, j], voxels[k]


if __name__ == "__main__":
    main()
