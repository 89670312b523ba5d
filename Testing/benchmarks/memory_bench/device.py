"""Everything that needs a GPU: all schemes in one process, interleaved, each with its peak by the allocator.

A cell is one input size in one precision. What is known of it is written after every round of steps, so that a call
that is cut, or one with a time limit, costs a round; the next call goes on there. What matters most comes first.
"""

from __future__ import annotations

import gc
import json
import statistics
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from FetusMapV2Lib.core.atomic_files import write_json
from FetusMapV2Lib.memory.cost_model import CostModel
from FetusMapV2Lib.memory.measured_machine import machine_for
from FetusMapV2Lib.memory.planner import largest_size, plan_training
from FetusMapV2Lib.memory.unit_builder import build_units

from .measuring import measure_step
from .records import Records, Row, size_name
from .schemes import VANILLA, Job, Scheme, Setting, Size, by_plan

PRECISIONS = ("tf32", "bf16", "fp32")
ROUNDS = 5
_KERNELS = 12  # lines of a profile
_SIDE = 8192  # of the matrices that show what the device can do


@dataclass(frozen=True)
class Cell:
    """One input size in one precision."""

    setting: Setting
    precision: str

    @property
    def name(self) -> str:
        """For files."""
        return f"{size_name(self.setting.size)}-{self.precision}"


def cells(sizes: Iterable[Size], widths: tuple[int, ...], device: str, measuring_s: float) -> list[Cell]:
    """The smaller size in every precision first."""
    return [
        Cell(
            Setting(size, widths, device, torch.bfloat16 if precision == "bf16" else None, measuring_s=measuring_s),
            precision,
        )
        for size in sizes
        for precision in PRECISIONS
    ]


def run_cell(records: Records, cell: Cell, schemes: list[Scheme], rounds: int = ROUNDS) -> Row:
    """Peaks, then interleaved steps, of every scheme in a cell; goes on with what is on disk."""
    path = records.folder / f"{cell.name}.json"
    row: Row = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"schemes": {}}
    row |= {"size": list(cell.setting.size), "precision": cell.precision, "device": device_name(cell.setting.device)}
    wanted = [s for s in schemes if not _finished(row["schemes"].get(s.key, {}), rounds)]
    with _precision(cell.precision):
        jobs: dict[str, Job] = {}
        for scheme in wanted:
            if not records.time_left:
                print(f"{cell.name} {scheme.key}: no time left, call again", flush=True)
                break
            found = row["schemes"].setdefault(scheme.key, {"seconds": []})
            job = _prepared(scheme, cell, found)
            if job is not None:
                jobs[scheme.key] = job
            write_json(path, row)
            print(f"{cell.name} {scheme.key}: {found.get('peak_bytes', 0) / 1e9:.2f} GB", flush=True)
        for number in range(rounds):
            keys = list(jobs)
            turn = number % max(1, len(keys))
            for key in keys[turn:] + keys[:turn]:
                seconds = row["schemes"][key]["seconds"]
                if len(seconds) <= number and records.time_left:
                    seconds.append(_timed(lambda key=key: _step(jobs[key], cell), cell.setting.device))
            write_json(path, row)
        for key, job in jobs.items():
            if "profile" not in row["schemes"][key] and records.time_left:
                row["schemes"][key]["profile"] = profile(lambda job=job: _step(job, cell), cell.setting.device)
                write_json(path, row)
    jobs.clear()
    _forget()
    return row


def _finished(found: Row, rounds: int) -> bool:
    return "failed" in found or (len(found.get("seconds", ())) >= rounds and "profile" in found)


def _prepared(scheme: Scheme, cell: Cell, found: Row) -> Job | None:
    """The job after its warm-up, with the peak of its second step noted; None where it does not run."""
    device = cell.setting.device
    _forget()
    before = torch.cuda.memory_allocated() if device == "cuda" else 0  # the other jobs' weights
    try:
        started = time.perf_counter()
        job = scheme.prepare(cell.setting)
        job.kept = job.inputs(cell.setting)
        _step(job, cell)
        found["first_step_s"] = round(time.perf_counter() - started, 2)
        peak = measure_step(lambda: _step(job, cell), device, [*job.standing(), *job.kept]).peak_bytes
    except Exception as error:  # out of memory, or a compiler that the device lacks: the others go on
        found["failed"] = f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"[:200]
        return None
    found["peak_bytes"] = peak - before
    if job.plan is not None:
        cost = job.plan.prediction
        found |= {
            "predicted_bytes": cost.peak_bytes,
            "predicted_s": cost.seconds,
            "basis": cost.basis,
            "executor": job.plan.executor,
            "plan": job.plan.summary(),
            "units": {segment.name: segment.technique for segment in job.plan.segments},
        }
        network = cell.setting.network()
        model = CostModel(build_units(network), cell.setting.size, autocast=cell.setting.autocast)
        ledger = model.price(job.plan.choices) if job.plan.executor.runs_units else None
        found |= {} if ledger is None else {"flops": ledger.flops, "moved_bytes": ledger.moved}
    return job


def _step(job: Job, cell: Cell) -> None:
    volume, truth = job.kept
    job.step(volume, truth, cell.setting.autocast)


def _timed(step: Any, device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    step()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def profile(step: Any, device: str) -> list[list[Any]]:
    """(kernel, milliseconds, calls) of the kernels that one step spends most time in."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as profiler

    on_gpu = device == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profiler(activities=activities) as seen:
        step()
        if on_gpu:
            torch.cuda.synchronize()
    time_of = (lambda event: event.self_device_time_total) if on_gpu else (lambda event: event.self_cpu_time_total)
    events = sorted(seen.key_averages(), key=time_of, reverse=True)[:_KERNELS]
    return [[event.key[:80], round(time_of(event) / 1e3, 3), event.count] for event in events]


def native(records: Records, size: Size, widths: tuple[int, ...], device: str, precision: str) -> Row | None:
    """One step at the size of the volumes themselves, by the fastest plan that the device's memory allows."""
    autocast = torch.bfloat16 if precision == "bf16" else None

    def run() -> Row:
        setting = Setting(size, widths, device, autocast)
        network = Setting(size, widths, device="cpu").network()
        machine = machine_for(network, size, device=device, autocast=autocast, measure=False)
        free = torch.cuda.mem_get_info()[0] if device == "cuda" else 2**40
        plan = plan_training(network, size, budget_bytes=int(0.9 * free), autocast=autocast, machine=machine)
        with _precision(precision):
            return _one_step(setting, plan) | {"precision": precision}

    return records.row(f"native-{size_name(size)}-{precision}", run)


def largest(records: Records, budget: float, aspect: Size, widths: tuple[int, ...], device: str) -> Row | None:
    """The largest input whose step stays within a budget as it is measured; the first guess is the prediction's."""

    def run() -> Row:
        network = Setting(aspect, widths, device="cpu").network()
        machine = machine_for(network, aspect, device=device, measure=False)
        within, best = budget, {"size": [0, 0, 0], "peak_bytes": 0}
        for _ in range(4):
            size = largest_size(network, budget_bytes=int(within), aspect=aspect, machine=machine)
            plan = plan_training(network, size, budget_bytes=int(within), machine=machine)
            row = _one_step(Setting(size, widths, device), plan)
            if row["peak_bytes"] <= budget:
                best = max(best, row, key=lambda one: one["size"])
            correction = budget / max(1, row["peak_bytes"])
            if abs(correction - 1) < 0.02 or row == best:
                break
            within *= min(correction, 0.98)
        return best | {"budget": budget}

    with _precision("tf32"):
        return records.row(f"largest-{budget / 1e9:g}GB", run)


def _one_step(setting: Setting, plan: Any) -> Row:
    """Peak and seconds of the second step of a plan."""
    _forget()
    job = by_plan(setting, plan)
    job.kept = job.inputs(setting)
    cell = Cell(setting, "")
    _step(job, cell)
    peak = measure_step(lambda: _step(job, cell), setting.device, [*job.standing(), *job.kept]).peak_bytes
    seconds = _timed(lambda: _step(job, cell), setting.device)
    cost = plan.prediction
    return {
        "size": list(setting.size),
        "device": device_name(setting.device),
        "peak_bytes": peak,
        "seconds": seconds,
        "predicted_bytes": cost.peak_bytes,
        "predicted_s": cost.seconds,
        "plan": plan.summary(),
    }


def ceilings(records: Records, device: str, side: int = _SIDE) -> Row | None:
    """What the device reaches at best: products of large matrices, a copy of a large tensor, transfers."""

    def run() -> Row:
        row: Row = {"device": device_name(device)}
        for precision in PRECISIONS:
            with _precision(precision):
                kind = torch.bfloat16 if precision == "bf16" else torch.float32
                x = torch.randn(side, side, device=device, dtype=kind)
                row[f"{precision}_flops"] = 2 * side**3 / _best(lambda x=x: x @ x, device)
        y = torch.zeros(8 * side * side, device=device)
        row["bytes"] = 2 * y.numel() * 4 / _best(y.clone, device)
        host = torch.zeros(side * side, pin_memory=device == "cuda")
        row["transfer"] = host.numel() * 4 / _best(lambda: host.to(device, copy=True), device)
        return row

    return records.row("ceilings", run)


def _best(run: Any, device: str) -> float:
    run()
    return min(_timed(run, device) for _ in range(5))


def median_s(found: Row) -> float | None:
    """Of the steps of a scheme in a cell; None before the first."""
    return statistics.median(found["seconds"]) if found.get("seconds") else None


def plain_of(row: Row) -> Row:
    """Vanilla's part of a cell."""
    part: Row = row["schemes"].get(VANILLA.key, {})
    return part


def device_name(device: str) -> str:
    """Of the GPU, or "cpu"."""
    return torch.cuda.get_device_name() if device == "cuda" else device


def _forget() -> None:
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()


@contextmanager
def _precision(name: str) -> Iterator[None]:
    """TF32 allowed or not, in products and in convolutions."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = name != "fp32"
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
