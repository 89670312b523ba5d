"""How much of two devices a training gets: samples per second of two CPU processes beside one, on one core each.

    .venv/bin/python Testing/benchmarks/train_devices.py [--rounds 3] [--steps 40]

Both train the preset `bundled` on the same cases, one sample a device and step, on one thread each. Timed are the steps
after the first five: start, and the model at the end, are left out. Trainings alternate, so that a load from elsewhere
meets both.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
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
        print(json.dumps(_samples_per_second(options.one, options.steps, options.folder)))
        return
    with tempfile.TemporaryDirectory() as folder:
        _write_cases(Path(folder))
        ratios = []
        for number in range(1, options.rounds + 1):
            one, two = (_measured(devices, options.steps, Path(folder)) for devices in (1, 2))
            ratios.append(two / (2 * one))
            print(
                f"round {number}: {one:.2f} samples/s in one process, {two:.2f} in two, efficiency {ratios[-1]:.3f}, "
                f"load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
        print(f"efficiency of two CPU processes on one core each: {median(ratios):.3f} (median; at least 0.9 wanted)")


def _write_cases(folder: Path) -> None:
    from training.toy_cases import write_toy_cases

    (folder / "cases").mkdir()
    write_toy_cases(folder / "cases", 4, spacing=1.5, shape=(64, 48, 48))


def _measured(devices: int, steps: int, folder: Path) -> float:
    """`_samples_per_second` in a process of its own."""
    command = [sys.executable, __file__, "--one", str(devices), "--steps", str(steps), "--folder", str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def _samples_per_second(devices: int, steps: int, folder: Path) -> float:
    """Of a training with one sample a device and step."""
    from FetusMapV2Lib.training.fitting import train
    from FetusMapV2Lib.training.preset import load_preset
    from FetusMapV2Lib.training.training_options import TrainingOptions

    changes = {"run.steps": steps + _WARM, "run.batch_size": devices, "run.validation_fraction": 0.0}
    times: dict[int, float] = {}

    def note_time(_: float, stage: str) -> None:
        times[int(stage.split()[1])] = time.perf_counter()

    options = TrainingOptions(device="cpu", threads=1, devices=devices)
    with tempfile.TemporaryDirectory() as output:
        train(load_preset("bundled").with_overrides(changes), folder / "cases", output, options, on_progress=note_time)
    return devices * steps / (times[steps + _WARM] - times[_WARM])


if __name__ == "__main__":
    main()
