"""Ends commands at random moments: `python Testing/robustness/kill_campaign.py --count 100`; all must be whole.

Batches of estimates, simulations, trainings and entries of models are ended by SIGKILL, SIGTERM and SIGINT. After each:
every file at its final name can be read, the exit code tells what happened, no process is left; and the same command
completes when it is given again, and sweeps what the ended one left. Linux, which tells of processes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "Testing"), str(ROOT)]

from cli.synthetic_balls import model_of  # noqa: E402
from training.toy_cases import write_toy_cases  # noqa: E402

from FetusMapV2Lib.imaging.markups import read_markups  # noqa: E402
from FetusMapV2Lib.imaging.reading import read_volume  # noqa: E402
from FetusMapV2Lib.models.model_file import load_model, save_model  # noqa: E402
from FetusMapV2Lib.network.unet import UNet3d  # noqa: E402

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
COMMAND = [sys.executable, "-m", "FetusMapV2Lib.cli"]
#: The same with an engine that needs no torch, and so is soon at the files.
QUICK = [sys.executable, str(ROOT / "Testing" / "cli" / "deadly.py")]
_CASES = 4
_PRESET = {
    "name": "tiny",
    "input_size": [32, 24, 24],
    "sigma": 1.0,
    "network": {"widths": [4, 6, 8]},
    "run": {"steps": 40, "cache_spacing_mm": 3.0, "validate_every": 1000, "checkpoint_every": 4, "average_decay": 0.9},
}
_MARK = "FETUSMAP_KILL_CAMPAIGN"
_PATIENCE_S = 30.0


@dataclass(frozen=True)
class Job:
    """A command that may be ended.

    Attributes:
        words: the command line, for a folder of results.
        again: the command line that completes it, for the same folder.
        complete: whether a folder holds all that it should.
    """

    words: Callable[[Path], list[str]]
    again: Callable[[Path], list[str]]
    complete: Callable[[Path], bool]


@dataclass
class Tally:
    """How often each command was ended how, and what was wrong."""

    ended: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def jobs(material: Path, estimate: list[str] = COMMAND) -> dict[str, Job]:
    """The commands, with what they work on.

    Args:
        material: an empty folder for it.
        estimate: what stands for ``fetusmap`` where volumes are estimated.
    """
    write_toy_cases(material / "cases", 6)
    torch.manual_seed(1)
    network = UNet3d(widths=(2, 3, 4))
    model = material / "small.safetensors"
    save_model(model, model_of(network, input_size=(32, 24, 24)).with_info(network=dict(network.config)))
    (material / "tiny.json").write_text(json.dumps(_PRESET), encoding="utf-8")
    volumes = [str(material / "cases" / f"case-{number:02d}.nrrd") for number in range(_CASES)]
    batch = [*estimate, "estimate", *volumes, "--device", "cpu", "--model", str(model), "-o"]
    size = ["--size", "32,24,24", "--spacing", "3", "--device", "cpu"]
    preset = ["--preset", str(material / "tiny.json"), "--data", str(material / "cases")]
    train = [*COMMAND, "train", *preset, "--device", "cpu", "--threads", "1", "--resume", "--output"]
    enter = [*COMMAND, "models", "add", str(model), "--name", "small", "--overwrite"]

    def simulate(folder: Path, start: int = 0) -> list[str]:
        return [*COMMAND, "simulate", str(folder), *size, "--start", str(start), "--count", str(_CASES - start)]

    def simulated(folder: Path) -> int:
        """Complete cases; those after them are simulated again."""
        whole = [(folder / ".fetusmap" / f"case-{number:04d}.json").is_file() for number in range(_CASES)]
        return min([*whole, False].index(False), _CASES - 1)

    def has(pattern: str, count: int) -> Callable[[Path], bool]:
        return lambda folder: len(list(folder.rglob(pattern))) == count

    return {
        "estimate": Job(
            lambda folder: [*batch, str(folder)],
            lambda folder: [*batch, str(folder), "--skip-existing"],
            has("*.measurements.json", _CASES),
        ),
        "simulate": Job(
            simulate, lambda folder: [*simulate(folder, simulated(folder)), "--overwrite"], has("*.nrrd", _CASES)
        ),
        "train": Job(
            lambda folder: [*train, str(folder)], lambda folder: [*train, str(folder)], has("model.safetensors", 1)
        ),
        "models add": Job(lambda _folder: enter, lambda _folder: enter, has("small*.safetensors", 1)),
    }


def campaign(count: int, seed: int, folder: Path, chosen: dict[str, Job]) -> Tally:
    """End each command in turn, `count` times in all, each at a random moment of its usual time."""
    generator, tally, usual = random.Random(seed), Tally(), {}
    names = list(chosen)
    for number in range(count):
        name = names[number % len(names)]
        if name not in usual:
            begun = time.monotonic()
            _check_run(f"{name}, left alone", chosen[name], folder / f"whole-{name}", tally)
            usual[name] = time.monotonic() - begun
        number_of_signal = SIGNALS[number // len(names) % len(SIGNALS)]
        after = generator.uniform(0.1, 1.0) * usual[name]
        place = folder / f"run-{number}"
        what = f"{name}, {number_of_signal.name} after {after:.2f} s (seed {seed}, run {number})"
        _kill_one(what, chosen[name], place, number_of_signal, after, tally)
        tally.ended[f"{name} {number_of_signal.name}"] += 1
        shutil.rmtree(place, ignore_errors=True)
    return tally


def _kill_one(what: str, job: Job, place: Path, number: signal.Signals, after: float, tally: Tally) -> None:
    results, environment = _prepared(place)
    process = subprocess.Popen(
        job.words(results), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    time.sleep(after)
    process.send_signal(number)
    error = process.communicate(timeout=_PATIENCE_S)[1]
    # by its own word; at once; before Python could hear; or it was done by then
    if process.returncode not in (128 + number, -number, 0):
        tally.wrong.append(f"{what}: exit code {process.returncode}: {error[-300:]}")
    if process.returncode == 128 + number and "Stopped" not in error:
        tally.wrong.append(f"{what}: says nothing: {error[-300:]}")
    if "Traceback" in error and process.returncode != -signal.SIGINT:
        tally.wrong.append(f"{what}: {error[-300:]}")
    left = _processes(environment[_MARK])
    if left:
        tally.wrong.append(f"{what}: processes are left: {left}")
    _check_files(what, results, tally)
    _check_run(what, job, place, tally)


def _check_run(what: str, job: Job, place: Path, tally: Tally) -> None:
    """Run a command to its end; all is there then, and nothing else."""
    results, environment = _prepared(place)
    done = subprocess.run(job.again(results), env=environment, capture_output=True, text=True)
    if done.returncode or not job.complete(place):
        tally.wrong.append(f"{what}: not completed, exit code {done.returncode}: {done.stderr[-300:]}")
    _check_files(what, results, tally)
    scraps = [path for path in place.rglob("*") if path.name.startswith((".writing-", "fetusmap-"))]
    if scraps:
        tally.wrong.append(f"{what}: left behind: {[str(path.relative_to(place)) for path in scraps]}")


def _prepared(place: Path) -> tuple[Path, dict[str, str]]:
    """The folder of results, and an environment whose user and temporary files lie beside it."""
    for name in ("results", "temporary", "home"):
        (place / name).mkdir(parents=True, exist_ok=True)
    home = str(place / "home")
    own = {"TMPDIR": str(place / "temporary"), "HOME": home, "XDG_DATA_HOME": home, "FETUSMAPV2_DATA": home}
    paths = os.pathsep.join([str(ROOT), str(ROOT / "Testing")])
    return place / "results", {**os.environ, **own, "PYTHONPATH": paths, _MARK: str(place), "OMP_NUM_THREADS": "1"}


def _check_files(what: str, results: Path, tally: Tally) -> None:
    """Every file at its final name can be read."""
    for path in sorted(results.parent.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(results.parent).parts)
        if hidden or not path.is_file():
            continue
        try:
            _read(path)
        except Exception as error:
            tally.wrong.append(f"{what}: {path.name} cannot be read: {error}")


def _read(path: Path) -> None:
    if path.name.endswith(".mrk.json"):
        read_markups(path)
    elif path.suffix == ".json":
        json.loads(path.read_text(encoding="utf-8"))
    elif path.suffix == ".nrrd":
        assert np.isfinite(read_volume(path).array).all()
    elif path.suffix == ".safetensors":
        load_model(path)
    elif path.suffix == ".csv":
        assert path.read_text(encoding="utf-8").endswith("\n")


def _processes(mark: str) -> list[int]:
    """Processes that have this mark in their environment, a moment after they should have gone."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        found = [int(one.name) for one in Path("/proc").iterdir() if one.name.isdigit() and _has_mark(one, mark)]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def _has_mark(process: Path, mark: str) -> bool:
    try:
        return f"{_MARK}={mark}\0".encode() in (process / "environ").read_bytes()
    except OSError:
        return False


def main() -> int:
    """Print one row of a table; 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", help="estimate, simulate, train or models add")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        known = jobs(Path(folder) / "material")
        chosen = {name: job for name, job in known.items() if not asked.only or name in asked.only}
        tally = campaign(asked.count, asked.seed, Path(folder), chosen)
    for line in tally.wrong:
        print(line, file=sys.stderr)
    told = ", ".join(f"{name} {times}" for name, times in sorted(tally.ended.items()))
    print(f"| commands ended at a random moment | {asked.count} | {told}; wrong: {len(tally.wrong)} |")
    return int(bool(tally.wrong))


if __name__ == "__main__":
    sys.exit(main())
