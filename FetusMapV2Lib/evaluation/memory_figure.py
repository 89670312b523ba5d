"""The figure of a memory plan: live memory over one step, with and without it."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from FetusMapV2Lib.core.atomic_files import atomic_write
from FetusMapV2Lib.memory.plan import MemoryPlan

_PLAIN, _PLANNED, _BUDGET = "#b0413e", "#1f6f8b", "#444444"


def write_memory_figure(path: Path, plan: MemoryPlan, budget_bytes: int | None = None) -> None:
    """Write a PNG: GiB of live tensors over the operations of one step.

    Args:
        path: of the figure.
        plan: with its timelines.
        budget_bytes: drawn as a line.

    Raises:
        OutputError: the file cannot be written.
    """
    cost = plan.prediction
    figure, axes = plt.subplots(figsize=(9, 4.2), dpi=150)
    axes.fill_between(*_course(cost.vanilla_timeline), color=_PLAIN, alpha=0.18, linewidth=0)
    axes.plot(*_course(cost.vanilla_timeline), color=_PLAIN, linewidth=1.4)
    axes.fill_between(*_course(cost.timeline), color=_PLANNED, alpha=0.35, linewidth=0, step="mid")
    axes.plot(*_course(cost.timeline), color=_PLANNED, linewidth=1.6, drawstyle="steps-mid")
    gib = 2**30
    axes.set_ylim(0, 1.25 * cost.vanilla_peak_bytes / gib)
    axes.set_xlim(0, 100)
    size = " x ".join(str(n) for n in plan.input_size)
    step = "training step" if plan.purpose == "training" else "estimate"
    axes.set_title(f"Live memory over one {step} at {size}", fontsize=11)
    axes.set_xlabel("course of the step, %")
    axes.set_ylabel("live tensors, GiB")
    words = f"plan: {cost.peak_bytes / gib:.2f} GiB ({100 * cost.peak_share:.0f} %), {cost.flops_ratio:.2f}x operations"
    for row, (text, colour) in enumerate(
        [(f"plain autograd: {cost.vanilla_peak_bytes / gib:.2f} GiB", _PLAIN), (words, _PLANNED)]
    ):
        height = 0.97 - 0.07 * row
        axes.text(0.99, height, text, ha="right", va="top", color=colour, weight="bold", transform=axes.transAxes)
    if budget_bytes is not None and budget_bytes < 1.25 * cost.vanilla_peak_bytes:
        axes.axhline(budget_bytes / gib, color=_BUDGET, linewidth=1, linestyle="--")
        axes.annotate(f"budget {budget_bytes / gib:.2f} GiB", (1, budget_bytes / gib), va="bottom", color=_BUDGET)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    with atomic_write(path) as staged:
        figure.savefig(staged, format="png")
    plt.close(figure)


def _course(timeline: tuple[tuple[str, int], ...]) -> tuple[list[float], list[float]]:
    """Percent of the step and GiB; a timeline counts operations, its labels aside."""
    count = max(1, len(timeline) - 1)
    return [100 * n / count for n in range(len(timeline))], [size / 2**30 for _, size in timeline]
