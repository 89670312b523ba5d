"""The figure of a movement: joint angles and speeds over time, left and right side by side, movement periods shaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.movement import Movement
from FetusMapV2Lib.anatomy.trajectories import smoothed
from FetusMapV2Lib.core.atomic_files import atomic_write
from FetusMapV2Lib.core.notices import RESEARCH_USE

Array = NDArray[np.float64]

# blue and vermilion of Okabe and Ito, distinct for any colour vision; dashes for readers without any
_LEFT: tuple[str, Any] = ("#0072B2", "-")
_RIGHT: tuple[str, Any] = ("#D55E00", (0, (5, 2)))
_MIDDLE: tuple[str, Any] = ("#444444", "-")
_STYLES: dict[str | None, tuple[str, Any]] = {
    "la": _LEFT, "ll": _LEFT, "ra": _RIGHT, "rl": _RIGHT, "ht": _MIDDLE, None: _MIDDLE,
}  # fmt: skip


def write_movement_figure(path: Path, movement: Movement, heading: str) -> None:
    """Write a PNG: angles on the left, speeds on the right.

    Angles are drawn as estimated (dots), smoothed (lines) and with their 90 % intervals; speeds with their noise
    (dotted), the periods in which a part moves shaded.

    Raises:
        OutputError: the file cannot be written.
    """
    angles = _angle_panels(movement)
    rows = max(len(angles) + 1, len(movement.part_list))
    figure, axes = plt.subplots(
        rows, 2, figsize=(12, 1.75 * rows + 1.0), dpi=110, sharex=True, squeeze=False, layout="constrained"
    )
    for panel, angle in zip(axes[:, 0], angles, strict=False):
        _draw_angles(panel, movement, angle)
    _draw_turning(axes[len(angles), 0], movement)
    for number, panel in enumerate(axes[: len(movement.part_list), 1]):
        _draw_speed(panel, movement, number)
    for panel in (*axes[len(angles) + 1 :, 0], *axes[len(movement.part_list) :, 1]):
        panel.axis("off")
    for panel in (axes[len(angles), 0], axes[len(movement.part_list) - 1, 1]):
        panel.set_xlabel("time, s" if movement.time_unit == "s" else "frame")
        panel.tick_params(labelbottom=True)
    axes[0, 0].set_title("Joint angles, degrees", fontsize=11)
    axes[0, 1].set_title(f"Speeds, mm/{movement.time_unit} (shaded: moves)", fontsize=11)
    figure.legend(handles=_legend(), loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    figure.suptitle(f"{heading}\n{RESEARCH_USE}", fontsize=10)
    with atomic_write(path) as staged:
        figure.savefig(staged, format="png")
    plt.close(figure)


def _angle_panels(movement: Movement) -> list[tuple[str, list[int]]]:
    """Title and columns of each panel: left and right of a joint together."""
    panels: dict[str, list[int]] = {}
    for column, angle in enumerate(movement.angle_list):
        title = angle.name if angle.group == "ht" else angle.name.split(" ", 1)[1].capitalize()
        panels.setdefault(title, []).append(column)
    return list(panels.items())


def _draw_angles(axes: Any, movement: Movement, panel: tuple[str, list[int]]) -> None:
    title, columns = panel
    curves = smoothed(movement.angles)
    ends = []
    for column in columns:
        colour, dashes = _STYLES[movement.angle_list[column].group]
        values, interval = movement.angles[:, column], movement.angle_intervals[:, column]
        low, high = values - interval, values + interval
        if movement.angle_list[column].group != "ht":  # a joint bends between straight and folded
            low, high = np.maximum(low, 0.0), np.minimum(high, 180.0)
        ends += [low, high, values]
        axes.fill_between(movement.times, low, high, color=colour, alpha=0.10, linewidth=0)
        axes.plot(movement.times, values, ".", color=colour, markersize=4)
        axes.plot(movement.times, curves[:, column], color=colour, linestyle=dashes, linewidth=1.5)
    shown = np.concatenate(ends)
    if np.isfinite(shown).any():
        least, most = float(np.nanmin(shown)), float(np.nanmax(shown))
        span = max(most - least, 30.0)
        axes.set_ylim(least - 0.05 * span, most + 0.3 * span)  # room for the name
    _finish(axes, title)


def _draw_turning(axes: Any, movement: Movement) -> None:
    colour, dashes = _MIDDLE
    axes.plot(movement.times, movement.turning, color=colour, linestyle=dashes, linewidth=1.6)
    axes.plot(movement.times, movement.turning, ".", color=colour, markersize=4)
    axes.set_ylim(0, 1.6 * max(axes.get_ylim()[1], 1e-3))  # room for the name and the kinds of movement
    half = 0.5 * _step(movement.times)
    for event in movement.activity.events:
        axes.axvspan(event.start - half, event.end + half, color=colour, alpha=0.12, linewidth=0)
        middle = (event.start + event.end) / 2
        axes.text(middle, 0.72, event.kind, transform=axes.get_xaxis_transform(), ha="center", va="top", fontsize=9)
    _finish(axes, f"Whole body turns, degrees/{movement.time_unit}")


def _draw_speed(axes: Any, movement: Movement, column: int) -> None:
    part = movement.part_list[column]
    colour, dashes = _STYLES[part.group]
    half = 0.5 * _step(movement.times)
    for period in movement.periods_of(part.key):
        axes.axvspan(period.start - half, period.end + half, color=colour, alpha=0.18, linewidth=0)
    axes.plot(movement.times, movement.noise[:, column], color="#888888", linestyle=":", linewidth=1.3)
    axes.plot(movement.times, movement.speeds[:, column], color=colour, linestyle=dashes, linewidth=1.6)
    axes.plot(movement.times, movement.speeds[:, column], ".", color=colour, markersize=4)
    axes.set_ylim(0, 1.25 * max(axes.get_ylim()[1], 1e-3))  # room for the name
    _finish(axes, part.name)


def _finish(axes: Any, title: str) -> None:
    axes.text(0.01, 0.97, title, transform=axes.transAxes, va="top", fontsize=9.5, weight="bold")
    axes.grid(color="#e3e3e3", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _legend() -> list[Any]:
    return [
        Line2D([], [], color=_LEFT[0], linestyle=_LEFT[1], label="left"),
        Line2D([], [], color=_RIGHT[0], linestyle=_RIGHT[1], label="right"),
        Line2D([], [], color="#444444", marker=".", linestyle="", label="as estimated; lines are smoothed"),
        Line2D([], [], color="#888888", linestyle=":", label="noise: 90 % of landmark errors alone stay below"),
        Patch(color="#888888", alpha=0.3, label="angle: 90 % interval; speed: moves"),
    ]


def _step(times: Array) -> float:
    return float(np.median(np.diff(times))) if len(times) > 1 else 1.0
