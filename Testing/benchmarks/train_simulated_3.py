"""Trains a candidate for the next bundled model on a machine that is lent for minutes: all in one command.

Several processes simulate cases; the training starts from the bundled model; its checkpoint is kept in parts of less
than 16 MiB every two minutes; it stops in time, and the candidate is measured in its own world and in those that were
left out. Given what an earlier call has kept, it goes on where that one was cut.

    .venv/bin/python Testing/benchmarks/train_simulated_3.py --output "$OUT" --minutes 13 [--continue-from FOLDER/kept]

Physical pictures and label maps, of which a random contrast is drawn per sample, are trained on; no other renderer is.
With few CPU cores, `--workers 0` prepares the samples on the device. `--tiny` tries the whole way on a CPU.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from FetusMapV2Lib.core.stop_signals import Stopped
from FetusMapV2Lib.estimation.network_runner import choose_device
from FetusMapV2Lib.training.fitting import train
from FetusMapV2Lib.training.preset import load_preset
from FetusMapV2Lib.training.training_options import TrainingOptions

sys.path.append(str(Path(__file__).resolve().parents[1]))  # run as a script, it finds its neighbours as the tests do
from benchmarks import checkpoint_parts, robustness

#: Of the training cases; those that models are measured and calibrated on have others.
SEED = 3
#: Number of the first label map; physical pictures are numbered from 0.
FIRST_LABELS = 5000
KEEP_SECONDS = 120.0
#: Kept for the measurement at the end.
MEASURING_SECONDS = 100.0


@dataclass(frozen=True)
class Plan:
    """The size of everything.

    Attributes:
        physical, labels: cases of each kind; every `empty`-th is without a fetus.
        size, spacing_mm: of the volumes.
        steps: of the whole training, over all calls.
        overrides: of the preset.
        measured: volumes of each world at the end, changed by each of `factors`.
    """

    physical: int = 240
    labels: int = 360
    empty: int = 12
    size: tuple[int, int, int] = (184, 125, 125)
    spacing_mm: float = 0.75
    steps: int = 8000
    overrides: tuple[tuple[str, object], ...] = (
        ("run.batch_size", 8),
        ("optimiser.learning_rate", 5e-4),
        ("run.checkpoint_minutes", KEEP_SECONDS / 60),
        ("run.validate_every", 500),
        ("run.validation_fraction", 0.04),
    )
    measured: int = 12
    factors: tuple[str, ...] = ("unchanged", "gain 2.5", "surroundings black")


TINY = Plan(
    physical=2,
    labels=1,
    empty=0,
    size=(46, 32, 31),
    spacing_mm=3.0,
    steps=3,
    overrides=(
        ("input_size", [32, 16, 16]),
        ("run.checkpoint_every", 1),
        ("run.validate_every", 1),
        ("run.validation_cases", 0),
    ),
    measured=1,
    factors=("unchanged",),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate, train, keep, measure."""
    chosen = _arguments(arguments)
    started = time.monotonic()
    plan = TINY if chosen.tiny else Plan(steps=chosen.steps)
    work, kept = chosen.work, chosen.output / "kept"
    run = work / "run"
    simulate(work / "cases", plan, chosen.processes, chosen.device)
    print(f"{time.monotonic() - started:.0f} s: cases simulated", flush=True)
    if chosen.continue_from is not None:
        checkpoint_parts.join(chosen.continue_from / "checkpoint", run)
        shutil.copy(chosen.continue_from / "run.json", run / "run.json")
    with Keeper(run, kept):
        finished = fit(plan, work, chosen, started + 60 * chosen.minutes - MEASURING_SECONDS)
    print(f"{time.monotonic() - started:.0f} s: {'trained to the end' if finished else 'stopped in time'}", flush=True)
    if (kept / "candidate.safetensors").exists():
        measure(kept / "candidate.safetensors", plan, chosen)


def simulate(folder: Path, plan: Plan, processes: int, device: str) -> None:
    """Write the cases that are not there yet, by several processes.

    Raises:
        SystemExit: one of them has failed.
    """
    jobs = []
    for renderer, first, count in (("physics", 0, plan.physical), ("labels", FIRST_LABELS, plan.labels)):
        share = -(-count // processes)
        for start in range(first, first + count, share):
            some = min(share, first + count - start)
            if not (folder / f"case-{start + some - 1:04d}.json").exists():
                jobs.append([*_simulation(folder, plan, device), "--renderer", renderer, "--start", str(start)])
                jobs[-1] += ["--count", str(some)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for first in range(0, len(jobs), processes):
        running = [subprocess.Popen(job, env=environment) for job in jobs[first : first + processes]]
        failures = [process.wait() for process in running]  # of all: none is left behind
        if any(failures):
            raise SystemExit("a process that simulates cases has failed")


def _simulation(folder: Path, plan: Plan, device: str) -> list[str]:
    """The command of one process, without its share."""
    size = ",".join(map(str, plan.size))
    where = choose_device(device)[0].type
    command = [sys.executable, "-m", "FetusMapV2Lib.cli", "simulate", str(folder), "--seed", str(SEED)]
    command += ["--size", size, "--spacing", str(plan.spacing_mm), "--empty", str(plan.empty)]
    return [*command, "--device", where, "--overwrite"]


def fit(plan: Plan, work: Path, chosen: argparse.Namespace, until: float) -> bool:
    """Train to the end, or until a time of `time.monotonic`; returns whether it was the end."""
    timer = threading.Timer(max(1.0, until - time.monotonic()), os.kill, (os.getpid(), signal.SIGTERM))
    timer.daemon = True
    timer.start()
    options = TrainingOptions(
        overrides={**dict(plan.overrides), "run.steps": plan.steps},
        seed=SEED,
        resume=True,
        initial_model=None if chosen.tiny else chosen.initial_model,
        negatives=chosen.negatives,
        device=chosen.device,
        workers=chosen.workers,
        prepare_on="cpu" if chosen.workers else "device",
        note={"cases": f"{plan.physical} physical pictures and {plan.labels} label maps of seed {SEED}"},
    )
    preset = load_preset("robust")
    if chosen.tiny:
        preset = preset.with_overrides({"network.widths": [4, 6]})
    try:
        train(preset, work / "cases", work / "run", options)
    except Stopped as stop:
        print(stop.kept, flush=True)
        return False
    finally:
        timer.cancel()
    return True


class Keeper:
    """While it is open, keeps checkpoint and model in a folder that comes back, every two minutes and at the end."""

    def __init__(self, run: Path, kept: Path) -> None:
        self._run, self._kept = run, kept
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._keep_on, daemon=True)

    def __enter__(self) -> Keeper:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self.keep()

    def _keep_on(self) -> None:
        while not self._done.wait(KEEP_SECONDS):
            self.keep()

    def keep(self) -> None:
        """Copy what there is."""
        checkpoint, record, model = (self._run / name for name in ("last.ckpt", "run.json", "model.safetensors"))
        self._kept.mkdir(parents=True, exist_ok=True)
        if checkpoint.exists():
            checkpoint_parts.split(checkpoint, self._kept / "checkpoint")
            shutil.copy(record, self._kept / "run.json")
        if model.exists():
            shutil.copy(model, self._kept / "candidate.safetensors")


def measure(model: Path, plan: Plan, chosen: argparse.Namespace) -> None:
    """The candidate beside the bundled model, in every world."""
    given = ["--model", "simulated-2", "--model", f"candidate={model}", "--output", str(chosen.output / "robustness")]
    given += ["--size", *map(str, plan.size), "--spacing", str(plan.spacing_mm), "--cases", str(plan.measured)]
    if chosen.tiny:
        given += ["--worlds", "own"]
    robustness.main([*given, "--factors", *plan.factors, "--device", chosen.device])


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    cores = os.cpu_count() or 1
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/simulated-3"), help="for what is kept and measured")
    parser.add_argument("--work", type=Path, default=Path("runs/simulated-3-work"), help="for cases and checkpoints")
    parser.add_argument("--continue-from", type=Path, help="folder `kept` of an earlier call")
    parser.add_argument("--minutes", type=float, default=13.0, help="of everything")
    parser.add_argument("--steps", type=int, default=Plan.steps, help="of the whole training, over all calls")
    parser.add_argument("--initial-model", default="simulated-2")
    parser.add_argument("--negatives", type=Path, help="folder of further volumes without a fetus")
    parser.add_argument("--processes", type=int, default=cores, help="that simulate")
    parser.add_argument("--workers", type=int, default=cores - 2 if cores > 4 else 0, help="that prepare samples")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--tiny", action="store_true", help="a try on a CPU: a few cases, steps and parameters")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
