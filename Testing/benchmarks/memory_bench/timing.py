"""Real step times on the CPU, all schemes in one interleaved run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable

import torch

from .records import Row, markdown, size_name
from .schemes import VANILLA, Scheme, Setting, Size


def on_cpu(schemes: Iterable[Scheme], size: Size, widths: tuple[int, ...], repeats: int) -> Row:
    """Seconds of every repeat of every scheme, after one warm-up each; the order turns by one with every repeat."""
    setting = Setting(size, widths, device="cpu")
    jobs = {scheme.key: scheme.prepare(setting) for scheme in schemes}
    inputs = {key: job.inputs(setting) for key, job in jobs.items()}
    for key, job in jobs.items():
        job.step(*inputs[key])
    seconds: dict[str, list[float]] = {key: [] for key in jobs}
    order = list(jobs)
    for repeat in range(repeats):
        turn = repeat % len(order)
        for key in order[turn:] + order[:turn]:
            started = time.perf_counter()
            jobs[key].step(*inputs[key])
            seconds[key].append(time.perf_counter() - started)
    return {"size": list(size), "widths": list(widths), "threads": torch.get_num_threads(), "seconds": seconds}


def cpu_table(row: Row, schemes: Iterable[Scheme]) -> str:
    """Medians, and their ratio to vanilla's."""
    medians = {key: statistics.median(values) for key, values in row["seconds"].items()}
    titles = {scheme.key: scheme.title for scheme in schemes}
    header = [f"one step at {size_name(row['size'])}, {row['threads']} threads", "seconds (median)", "ratio"]
    lines = [
        [titles[key], f"{median:.2f}", f"{median / medians[VANILLA.key]:.2f}"]
        for key, median in medians.items()
        if key in titles
    ]
    return markdown(header, lines)
