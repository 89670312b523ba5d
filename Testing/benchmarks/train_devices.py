"""How much of two devices a training gets: samples per second of two CPU processes beside one, on one core each.

    .venv/bin/python Testing/benchmarks/train_devices.py [--rounds 3] [--steps 40]

Both train the preset `bundled` on the same cases, one sample a device and step, on one thread each. Timed are the steps
after the first five: start, and the model at the end, are left out. Trainings alternate, so that a load from elsewhere
meets both. The ratio of CPU times is printed too: it leaves waiting out, and so most of the load. Two trainings that
share nothing, at the same time, tell what the computer itself gives to two processes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

#: Steps before the clock starts.
_WARM = 5


def main() -> None:
    """Print the median efficiency, and every round."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        print(json.dumps(_speed(options.one, options.steps, options.folder)))
        return
    with tempfile.TemporaryDirectory() as folder:
        _write_cases(Path(folder))
        ratios, cpu_ratios, apart_ratios = [], [], []
        for number in range(1, options.rounds + 1):
            one, two = (_measured(devices, options.steps, Path(folder)) for devices in (1, 2))
            with ThreadPoolExecutor(2) as both:
                apart = list(both.map(lambda _: _measured(1, options.steps, Path(folder)), range(2)))
            ratios.append(two["samples_per_s"] / (2 * one["samples_per_s"]))
            cpu_ratios.append(one["cpu_s_per_sample"] / two["cpu_s_per_sample"])
            apart_ratios.append(sum(each["samples_per_s"] for each in apart) / (2 * one["samples_per_s"]))
            print(
                f"round {number}: {one['samples_per_s']:.2f} samples/s by one process, "
                f"{two['samples_per_s']:.2f} by two, efficiency {ratios[-1]:.3f} "
                f"({cpu_ratios[-1]:.3f} of CPU time), {apart_ratios[-1]:.3f} by two that share nothing, "
                f"load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
        print(
            f"efficiency of two CPU processes on one core each: {median(ratios):.3f} (median; at least 0.9 wanted), "
            f"{median(cpu_ratios):.3f} of CPU time; two that share nothing: {median(apart_ratios):.3f}"
        )


def _write_cases(folder: Path) -> None:
    from training.toy_cases import write_toy_cases

    (folder / "cases").mkdir()
    write_toy_cases(folder / "cases", 4, spacing=1.5, shape=(64, 48, 48))


def _measured(devices: int, steps: int, folder: Path) -> dict[str, float]:
    """`_speed` in a process of its own."""
    command = [sys.executable, __file__, "--one", str(devices), "--steps", str(steps), "--folder", str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _speed(devices: int, steps: int, folder: Path) -> dict[str, float]:
    """Of a training with one sample a device and step; the CPU time is that of the first process."""
    from FetusMapV2Lib.training.fitting import train
    from FetusMapV2Lib.training.preset import load_preset
    from FetusMapV2Lib.training.training_options import TrainingOptions

    changes = {"run.steps": steps + _WARM, "run.batch_size": devices, "run.validation_fraction": 0.0}
    times: dict[int, tuple[float, float]] = {}

    def note_time(_: float, stage: str) -> None:
        times[int(stage.split()[1])] = time.perf_counter(), time.process_time()

    options = TrainingOptions(device="cpu", threads=1, devices=devices)
    with tempfile.TemporaryDirectory() as output:
        train(load_preset("bundled").with_overrides(changes), folder / "cases", output, options, on_progress=note_time)
    wall_s, cpu_s = (end - start for start, end in zip(times[_WARM], times[steps + _WARM], strict=True))
    return {"samples_per_s": devices * steps / wall_s, "cpu_s_per_sample": cpu_s / steps}


if __name__ == "__main__":
    main()
