"""Real step times: on the CPU beside vanilla in one interleaved run; on a GPU with the allocator's own peak."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Iterable
from contextlib import contextmanager
from typing import Any

import torch

from .fake import measured
from .measuring import measure_step
from .records import Records, Row, markdown, size_name
from .schemes import VANILLA, Job, Scheme, Setting, Size

GB = 1e9
PRECISIONS = ("fp32", "tf32", "bf16")


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


def on_device(
    records: Records, schemes: Iterable[Scheme], sizes: Iterable[Size], widths: tuple[int, ...], device: str
) -> tuple[Row, ...]:
    """One row per size, precision and scheme: median step time, measured and predicted peak."""
    rows = []
    schemes = list(schemes)
    for size in sizes:
        for scheme in schemes:
            for precision in PRECISIONS:
                setting = Setting(size, widths, device, torch.bfloat16 if precision == "bf16" else None)
                name = f"{size_name(size)}-{precision}-{scheme.key}"
                row = records.row(name, lambda s=scheme, p=precision, at=setting: _device_row(s, p, at))
                if row is not None:
                    rows.append(row)
    return tuple(rows)


def _device_row(scheme: Scheme, precision: str, setting: Setting, repeats: int = 5) -> Row:
    row: Row = {
        "scheme": scheme.key,
        "size": list(setting.size),
        "precision": precision,
        "device": torch.cuda.get_device_name() if setting.device == "cuda" else setting.device,
    }
    try:
        with _tf32(precision == "tf32"):
            row |= _run(scheme.prepare(setting), setting, repeats)
    except torch.cuda.OutOfMemoryError:
        row["out_of_memory"] = True
    _forget()
    if "predicted_bytes" not in row and setting.autocast is None:
        row["predicted_bytes"] = measured(scheme, Setting(setting.size, setting.widths))["peak_bytes"]
    return row


def _run(job: Job, setting: Setting, repeats: int) -> Row:
    volume, truth = job.inputs(setting)

    def step() -> None:
        job.step(volume, truth, setting.autocast)

    step()
    # The CUDA allocator sees all that lives; the CPU's meter is told what was there before.
    peak = measure_step(step, setting.device, [*job.standing(), volume, truth]).peak_bytes
    seconds = [_timed(step, setting.device) for _ in range(repeats)]
    row: Row = {"peak_bytes": peak, "seconds": statistics.median(seconds), "all_seconds": seconds}
    if job.plan is not None:
        row |= {"predicted_bytes": job.plan.prediction.peak_bytes, "executor": job.plan.executor}
    return row


def _timed(step: Any, device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    step()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _forget() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@contextmanager
def _tf32(allowed: bool) -> Any:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def device_table(rows: Iterable[Row], schemes: Iterable[Scheme]) -> str:
    """Step time and peak beside vanilla's of the same size and precision."""
    rows = list(rows)
    titles = {scheme.key: scheme.title for scheme in schemes}
    plain = {(tuple(row["size"]), row["precision"]): row for row in rows if row["scheme"] == VANILLA.key}
    lines = []
    for row in rows:
        reference = plain.get((tuple(row["size"]), row["precision"]), {})
        place = f"{size_name(row['size'])}, {row['precision']}: {titles[row['scheme']]}"
        lines.append([place, *_device_cells(row, reference)])
    header = ["one step", "seconds", "x vanilla", "peak GB", "% of vanilla", "predicted GB", "error"]
    return markdown(header, lines)


def _device_cells(row: Row, reference: Row) -> list[str]:
    predicted = row.get("predicted_bytes")
    foretold = f"{predicted / GB:.2f}" if predicted else ""
    if "seconds" not in row:
        return ["out of memory", "", "", "", foretold, ""]
    known = "seconds" in reference
    return [
        f"{row['seconds']:.3f}",
        f"{row['seconds'] / reference['seconds']:.2f}" if known else "",
        f"{row['peak_bytes'] / GB:.2f}",
        f"{100 * row['peak_bytes'] / reference['peak_bytes']:.1f}" if known else "",
        foretold,
        f"{100 * (predicted / row['peak_bytes'] - 1):+.1f} %" if predicted else "",
    ]
