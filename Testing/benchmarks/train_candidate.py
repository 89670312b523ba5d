"""Trains a candidate for the next bundled model on a machine that is lent for minutes: all in one command.

Several processes simulate cases; the training starts from the default model; its checkpoint is kept in parts of less
than 16 MiB every two minutes; it stops in time, and the candidate is measured beside the model it started from. Given
what an earlier call has kept, it goes on where that one was cut.

    .venv/bin/python Testing/benchmarks/train_candidate.py --output "$OUT" --minutes 13 [--continue-from FOLDER/kept]

What is trained on is like that of the bundled model (docs/training.md): pictures of two renderers and label maps, of
which a random contrast is drawn per sample, a third of the bodies in a sac that clings, and volumes without a fetus.
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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from FetusMapV2Lib.core.stop_signals import Stopped
from FetusMapV2Lib.estimation.network_runner import choose_device
from FetusMapV2Lib.models.model_index import find_model
from FetusMapV2Lib.training.fitting import train
from FetusMapV2Lib.training.preset import load_preset
from FetusMapV2Lib.training.training_options import TrainingOptions

sys.path.append(str(Path(__file__).resolve().parents[1]))  # run as a script, it finds its neighbours as the tests do
from benchmarks import checkpoint_parts, robustness

#: Of the training cases; those that models are measured and calibrated on have others.
SEED = 3
KEEP_SECONDS = 120.0
#: Kept for the measurement at the end.
MEASURING_SECONDS = 100.0


@dataclass(frozen=True)
class Cases:
    """Cases of one kind.

    Attributes:
        count: how many.
        first: number of the first one.
        options: of `fetusmap simulate`.
        folder: their folder.
    """

    count: int
    first: int
    options: str
    folder: str = "cases"


@dataclass(frozen=True)
class Plan:
    """The size of everything.

    Attributes:
        cases: what is simulated.
        size, spacing_mm: of the volumes.
        steps: of the whole training, over all calls.
        overrides: of the preset.
        measured: volumes of each world at the end, changed by each of `factors`.
    """

    cases: tuple[Cases, ...] = (
        Cases(120, 0, "--styles wide --anatomy 2026-4"),
        Cases(60, 1000, "--styles wide --anatomy 2026-4 --clinging 1"),
        Cases(180, 2000, "--renderer labels --anatomy 2026-5 --partial 10"),
        Cases(120, 3000, "--renderer labels --anatomy 2026-4 --clinging 1"),
        Cases(140, 4000, "--renderer second --anatomy 2026-5"),
        Cases(80, 5000, "--renderer second --anatomy 2026-4 --clinging 1"),
        Cases(48, 6000, "--renderer mixed --empty 1 --negatives empty,head,organs,spine,tissue", "negatives"),
    )
    size: tuple[int, int, int] = (153, 104, 104)
    spacing_mm: float = 0.9
    steps: int = 8000
    overrides: tuple[tuple[str, object], ...] = (
        ("run.batch_size", 8),
        ("run.average_decay", 0.998),
        ("optimiser.learning_rate", 5e-4),
        ("optimiser.warmup", 0.03),
        ("distortions.share", 0.65),
        ("distortions.field_of_view.cut", 0.45),
        ("run.checkpoint_minutes", KEEP_SECONDS / 60),
        ("run.validate_every", 500),
        ("run.validation_fraction", 0.04),
    )
    measured: int = 12
    factors: tuple[str, ...] = ("unchanged", "gain 2.5", "surroundings black")


TINY = Plan(
    cases=(Cases(2, 0, ""), Cases(1, 10, "--renderer labels"), Cases(1, 20, "--empty 1", "negatives")),
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
    simulate(work, plan, chosen.processes, chosen.device)
    print(f"{time.monotonic() - started:.0f} s: cases simulated", flush=True)
    if chosen.continue_from is not None:
        checkpoint_parts.join(chosen.continue_from / "checkpoint", run)
        shutil.copy(chosen.continue_from / "run.json", run / "run.json")
    with Keeper(run, kept):
        finished = fit(plan, work, chosen, started + 60 * chosen.minutes - MEASURING_SECONDS)
    print(f"{time.monotonic() - started:.0f} s: {'trained to the end' if finished else 'stopped in time'}", flush=True)
    if (kept / "candidate.safetensors").exists():
        measure(kept / "candidate.safetensors", plan, chosen)


def simulate(work: Path, plan: Plan, processes: int, device: str) -> None:
    """Write the cases that are not there yet, by several processes.

    Raises:
        SystemExit: one of them has failed.
    """
    where = choose_device(device)[0].type
    share = -(-sum(some.count for some in plan.cases) // (2 * processes))  # two each, as some take longer
    jobs = [
        _simulation(work, some, start, min(share, some.first + some.count - start), plan, where)
        for some in plan.cases
        for start in range(some.first, some.first + some.count, share)
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with ThreadPoolExecutor(processes) as pool:
        ended = pool.map(lambda job: subprocess.run(job, env=environment, check=False).returncode, filter(None, jobs))
        if any(list(ended)):  # of all: none is left behind
            raise SystemExit("a process that simulates cases has failed")


def _simulation(work: Path, some: Cases, start: int, count: int, plan: Plan, where: str) -> list[str]:
    """The command that writes a share of some cases; empty if they are there."""
    folder = work / some.folder
    if (folder / f"case-{start + count - 1:04d}.json").exists():
        return []
    command = [sys.executable, "-m", "FetusMapV2Lib.cli", "simulate", str(folder), "--seed", str(SEED)]
    command += ["--start", str(start), "--count", str(count), "--size", ",".join(map(str, plan.size))]
    command += ["--spacing", str(plan.spacing_mm), *some.options.split()]
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
        negatives=chosen.negatives or work / "negatives",
        device=chosen.device,
        workers=chosen.workers,
        prepare_on="cpu" if chosen.workers else "device",
        note={"cases": f"simulated by train_candidate.py, seed {SEED}"},
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
    """The candidate beside the model it started from, in every world."""
    given = ["--model", chosen.initial_model, "--model", f"candidate={model}", "--anatomy", "2026-3"]
    given += ["--output", str(chosen.output / "robustness")]
    given += ["--size", *map(str, plan.size), "--spacing", str(plan.spacing_mm), "--cases", str(plan.measured)]
    if chosen.tiny:
        given += ["--worlds", "own"]
    robustness.main([*given, "--factors", *plan.factors, "--device", chosen.device])


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    cores = os.cpu_count() or 1
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/candidate"), help="for what is kept and measured")
    parser.add_argument("--work", type=Path, default=Path("runs/candidate-work"), help="for cases and checkpoints")
    parser.add_argument("--continue-from", type=Path, help="folder `kept` of an earlier call")
    parser.add_argument("--minutes", type=float, default=13.0, help="of everything")
    parser.add_argument("--steps", type=int, default=Plan.steps, help="of the whole training, over all calls")
    parser.add_argument("--initial-model", default=find_model().stem)
    parser.add_argument("--negatives", type=Path, help="folder of volumes without a fetus, instead of simulated ones")
    parser.add_argument("--processes", type=int, default=cores, help="that simulate")
    parser.add_argument("--workers", type=int, default=cores - 2 if cores > 4 else 0, help="that prepare samples")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--tiny", action="store_true", help="a try on a CPU: a few cases, steps and parameters")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
