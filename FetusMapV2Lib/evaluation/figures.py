"""Figures of an evaluation: PCK curves per landmark (fig. 7 of the paper), skeletons over the truth (fig. 9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.planes import midsagittal_plane
from FetusMapV2Lib.anatomy.schema import Schema, default_schema
from FetusMapV2Lib.core.atomic_files import atomic_write
from FetusMapV2Lib.evaluation.comparison import RESEARCH_ONLY, Comparison
from FetusMapV2Lib.evaluation.metrics import AUC_LIMIT_MM, pck
from FetusMapV2Lib.evaluation.predictions import Prediction
from FetusMapV2Lib.evaluation.statistics import row_means

Array = NDArray[np.float64]

# the colours of Okabe and Ito, distinct for any colour vision; without the yellow, which is too pale for lines
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
# line styles for readers without colour vision, and for more models than colours
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)), (0, (3, 1)), (0, (8, 2)))
_TRUTH, _ESTIMATE = "#0072B2", "#D55E00"
_COLUMNS = 6
#: Number of models whose legend fits into the empty panel.
_ROOM_IN_PANEL = 7
#: Number of cases that are drawn, evenly spaced from the best to the worst.
SKELETONS = 8


def write_figures(folder: Path, comparison: Comparison, predictions: Mapping[str, Sequence[Prediction]]) -> None:
    """``pck.png``, ``reliability.png``, and ``skeletons-MODEL.png`` for each model.

    Raises:
        OutputError: one of them cannot be written.
    """
    cases = comparison.cases
    notice = f"{cases.volumes}. {RESEARCH_ONLY}"
    schema = default_schema()
    distances = {one.name: one.distances for one in comparison.models}
    write_pck_figure(folder / "pck.png", distances, f"PCK on {notice}", schema)
    bins = {one.name: one.reliability for one in comparison.models}
    write_reliability_figure(folder / "reliability.png", bins, f"Confidence on {notice}")
    names = [case.name for case, there in zip(cases.cases, cases.present, strict=True) if there]
    for name, answers in predictions.items():
        positions = np.stack([answer.positions for answer in answers])[cases.present]
        heading = f"{name} on {notice}"
        path, truths = folder / f"skeletons-{name}.png", cases.truths[cases.present]
        write_skeleton_figure(path, names, positions, truths, heading, schema)


def write_reliability_figure(path: Path, bins: Mapping[str, Sequence[tuple[int, float, float]]], heading: str) -> None:
    """Write a PNG: the share of landmarks within 5 mm against their confidence, one curve per model.

    Args:
        path: of the figure.
        bins: model -> of each bin of confidence how many landmarks, their mean confidence, and that share.
        heading: over the figure.

    Raises:
        OutputError: the file cannot be written.
    """
    figure, axes = plt.subplots(figsize=(4.6, 4.4), dpi=130)
    axes.plot([0, 1], [0, 1], color="#888888", linewidth=1, label="confidence that means what it says")
    for number, (name, points) in enumerate(bins.items()):
        _, sure, share = zip(*points, strict=True) if points else ((), (), ())
        axes.plot(sure, share, marker="o", markersize=4, label=name, **_style(number))
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="share within 5 mm")
    axes.set_title(heading, fontsize=8)
    axes.legend(fontsize=7, loc="upper left")
    _save(figure, path)


def write_pck_figure(path: Path, distances: Mapping[str, Array], heading: str, schema: Schema) -> None:
    """Write a PNG: one PCK curve per model in a panel per landmark, and one panel over all.

    Args:
        path: of the figure.
        distances: model -> (C, 22) mm, infinite = missed, NaN = not scored.
        heading: over the whole figure.
        schema: of the landmarks.

    Raises:
        OutputError: the file cannot be written.
    """
    panels = [(f"{mark.number} {mark.name}", [mark.row]) for mark in schema.landmarks]
    panels.append(("All landmarks", list(range(schema.count))))
    rows = -(-(len(panels) + 1) // _COLUMNS)
    width, height = 2.6 * _COLUMNS, 2.35 * rows + 0.6
    figure, axes = plt.subplots(rows, _COLUMNS, figsize=(width, height), dpi=130)
    # inches known beforehand: measuring 24 panels takes longer than drawing them
    margins = {"left": 0.85 / width, "right": 1 - 0.15 / width, "bottom": 0.7 / height, "top": 1 - 0.85 / height}
    figure.subplots_adjust(**margins, wspace=0.12, hspace=0.22)
    steps = np.linspace(0, AUC_LIMIT_MM, 201)
    for place, ((title, columns), panel) in enumerate(zip(panels, axes.flat, strict=False)):
        for number, values in enumerate(distances.values()):
            panel.plot(steps, 100 * pck(values[:, columns], steps), **_style(number))
        panel.set_title(title, fontsize=10)
        panel.set_xlim(0, AUC_LIMIT_MM)
        panel.set_ylim(0, 102)
        panel.tick_params(labelleft=place % _COLUMNS == 0, labelbottom=place >= len(panels) - _COLUMNS)
        panel.grid(color="#dddddd", linewidth=0.6)
        panel.spines[["top", "right"]].set_visible(False)
    for panel in axes.flat[len(panels) :]:
        panel.axis("off")
    lines = [Line2D([], [], label=name, **_style(number)) for number, name in enumerate(distances)]
    figure.suptitle(heading, fontsize=13)
    figure.supxlabel("distance to the truth, mm", fontsize=12)
    figure.supylabel("landmarks found, %", fontsize=12)
    in_panel = len(lines) <= _ROOM_IN_PANEL
    if in_panel:
        axes.flat[len(panels)].legend(handles=lines, loc="center", frameon=False, fontsize=10, handlelength=3.2)
    else:  # below the panels
        figure.legend(
            handles=lines, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=_COLUMNS,
            frameon=False, fontsize=10, handlelength=3.2,
        )  # fmt: skip
    _save(figure, path, grown=not in_panel)


def write_skeleton_figure(
    path: Path, names: Sequence[str], predictions: Array, truths: Array, heading: str, schema: Schema
) -> None:
    """Write a PNG: true and estimated skeletons from the front and from the left, from the best case to the worst.

    Args:
        path: of the figure.
        names: of C cases.
        predictions: (C, 22, 3) RAS mm, NaN = missing.
        truths: likewise.
        heading: over the whole figure.
        schema: of the landmarks.

    Raises:
        OutputError: the file cannot be written.
    """
    errors = row_means(np.linalg.norm(predictions - truths, axis=-1))
    chosen = _spread(errors)
    columns = min(4, len(chosen))
    rows = -(-len(chosen) // columns)
    size = (max(7.5, 3.6 * columns), 3.9 * rows + 0.9)
    no_ticks: dict[str, Any] = {"xticks": [], "yticks": []}  # hidden ones are measured
    figure, axes = plt.subplots(rows, columns, figsize=size, dpi=130, squeeze=False, subplot_kw=no_ticks)
    for panel in axes.flat:
        panel.axis("off")
    for place, panel in zip(chosen, axes.flat, strict=False):
        _draw_views(panel, predictions[place], truths[place], schema)
        panel.set_title(f"{names[place]}: mean ED {errors[place]:.1f} mm", fontsize=10)
    lines = [Line2D([], [], label="truth", **_SKELETON[0]), Line2D([], [], label="estimate", **_SKELETON[1])]
    figure.suptitle(f"{heading}\nseen from the front (left) and from the fetal left (right)", fontsize=12)
    figure.legend(handles=lines, loc="lower center", ncols=2, frameon=False, fontsize=11, handlelength=3.5)
    figure.tight_layout(rect=(0, 0.05, 1, 1), h_pad=2.5)
    _save(figure, path)


_SKELETON: tuple[dict[str, Any], dict[str, Any]] = (
    {"color": _TRUTH, "linestyle": "-", "marker": "o", "markersize": 3.5, "linewidth": 2.4, "alpha": 0.75},
    {"color": _ESTIMATE, "linestyle": (0, (4, 1.2)), "marker": "s", "markersize": 3.0, "linewidth": 1.5},
)


def _draw_views(panel: Any, prediction: Array, truth: Array, schema: Schema) -> None:
    """Two projections side by side, in the true body's own axes, in mm."""
    origin, left, cranial, dorsal = _axes(truth, schema)
    known = truth[np.isfinite(truth).all(axis=1)]
    # from the front the fetal left is on the right; from its left the back is on the right
    views = (left, dorsal)
    starts: list[float] = []
    right = 0.0
    for across in views:
        reach = (known - origin) @ across
        starts.append(right - float(reach.min()))
        right += float(np.ptp(reach)) + 14.0
    # an outlier is clipped at the frame rather than shrinking the truth
    height = (known - origin) @ cranial
    for across, start in zip(views, starts, strict=True):
        for points, style in zip((truth, prediction), _SKELETON, strict=True):
            places = np.stack([(points - origin) @ across + start, (points - origin) @ cranial])
            gap = np.full(2, np.nan)
            ends = [end for edge in schema.edges for end in (places[:, edge.start], places[:, edge.end], gap)]
            panel.plot(*np.transpose(ends), **style)
    low = float(height.min()) - 14.0
    panel.plot([-8.0, 2.0], [low + 3.0] * 2, color="#444444", linewidth=2)
    panel.text(4.0, low + 3.0, "10 mm", fontsize=8, va="center", color="#444444")
    panel.set_xlim(-10.0, right - 4.0)
    panel.set_ylim(low, float(height.max()) + 10.0)
    panel.set_aspect("equal")


def _axes(truth: Array, schema: Schema) -> tuple[Array, Array, Array, Array]:
    """A point of the body and its unit vectors to the left, the crown and the back; the world's own without a plane."""
    plane = midsagittal_plane(truth, schema)
    if plane is None:
        middle: Array = np.nanmean(truth, axis=0)
        return middle, np.array([1.0, 0, 0]), np.array([0, 0, 1.0]), np.array([0, -1.0, 0])
    return plane.origin, plane.normal, plane.y_axis, plane.x_axis


def _spread(errors: Array) -> list[int]:
    """Places of cases, evenly spaced over the ranks of their errors."""
    ranked = np.argsort(errors, kind="stable")[: int(np.isfinite(errors).sum())]
    picks = np.linspace(0, len(ranked) - 1, min(SKELETONS, len(ranked))).round().astype(int)
    return [int(ranked[pick]) for pick in picks]


def _style(number: int) -> dict[str, Any]:
    return {
        "color": _COLOURS[number % len(_COLOURS)],
        "linestyle": _DASHES[number % len(_DASHES)],
        "linewidth": 1.7,
    }


def _save(figure: Any, path: Path, grown: bool = True) -> None:
    """Write and close a figure; one that is grown takes in what reaches beyond its frame."""
    around = {"bbox_inches": "tight", "pad_inches": 0.15} if grown else {}
    try:
        with atomic_write(path) as staged:
            figure.savefig(staged, format="png", facecolor="white", **around)
    finally:
        plt.close(figure)
