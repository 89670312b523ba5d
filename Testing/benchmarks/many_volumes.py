"""What a batch costs beyond its estimates: rate, memory, and what two processes gain.

    python Testing/benchmarks/many_volumes.py [--cases 10000] [--broken 0.01]

Tiny volumes, some of them broken, and an engine that answers at once. Prints milliseconds per case of a plain loop in
one process (read, estimate, write) and of batches with one and two processes, taken turn by turn on parts of the
volumes; then all cases with two processes: rate, memory of the driver and its processes, and how long a second
run takes, in which everything is done before.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "Testing"), str(ROOT)]
os.environ["PYTHONPATH"] = os.pathsep.join((str(ROOT / "Testing"), str(ROOT)))

from batch.instant_worker import InstantEngine  # noqa: E402
from cli.synthetic_balls import ball_volume  # noqa: E402

from FetusMapV2Lib.batch.batch_run import journal_name, plan_batch, run_batch, write_summary  # noqa: E402
from FetusMapV2Lib.batch.case_work import BatchSettings, process_case  # noqa: E402
from FetusMapV2Lib.batch.cases import BatchCase, find_batch_cases  # noqa: E402
from FetusMapV2Lib.batch.journal import Journal  # noqa: E402
from FetusMapV2Lib.batch.worker_pool import WorkerPool  # noqa: E402
from FetusMapV2Lib.imaging.writing import write_volume  # noqa: E402

_MODULE = "batch.instant_worker"


def make_volumes(folder: Path, count: int, broken: float) -> None:
    """Copies of one tiny volume, and broken ones at regular places."""
    folder.mkdir(parents=True)
    first = folder / "first.nrrd"
    write_volume(first, ball_volume()[0])
    every = round(1 / broken) if broken else 0
    for number in range(count):
        place = folder / f"{number // 1000:03d}" / f"case-{number:06d}.nrrd"
        place.parent.mkdir(exist_ok=True)
        if every and number % every == every - 1:
            place.write_text("broken")
        else:
            shutil.copyfile(first, place)
    first.unlink()


def run(cases: list[BatchCase], output: Path, jobs: int, every: int = 0) -> tuple[float, Counter[str]]:
    """Seconds and outcomes of a batch; prints memory at every so many cases."""
    settings = BatchSettings(output, threads=1)
    output.mkdir(parents=True, exist_ok=True)
    start, outcomes = time.perf_counter(), Counter[str]()
    with Journal(output / journal_name(None)) as journal:
        plan = plan_batch(cases, settings, journal)
        pool = WorkerPool(settings, jobs, module=_MODULE)
        for number, record in enumerate(run_batch(plan, settings, journal, jobs, pool=pool), start=1):
            outcomes[record["outcome"]] += 1
            if every and number % every == 0:
                workers = ", ".join(f"{resident(worker._popen.pid):.0f}" for worker in pool._workers)
                print(f"  {number} cases: driver {resident(os.getpid()):.0f} MiB, processes {workers} MiB", flush=True)
    outcomes["before"] = len(plan.finished)
    return time.perf_counter() - start, outcomes


def loop(cases: list[BatchCase], output: Path) -> float:
    """Seconds of the same work in this process."""
    engine, settings = InstantEngine(), BatchSettings(output)
    start = time.perf_counter()
    for case in cases:
        process_case(case, settings, engine, lambda *_: None)
    return time.perf_counter() - start


def resident(pid: int) -> float:
    """MiB of a process in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def compare(cases: list[BatchCase], folder: Path, part: int, rounds: int) -> None:
    """A loop, one process and two, turn by turn; the start of processes is measured with a batch of two cases."""
    rows: dict[str, list[float]] = {"loop": [], "1 process": [], "2 processes": []}
    for turn in range(rounds):
        some = cases[turn * part : (turn + 1) * part]
        rows["loop"].append(loop(some, folder / f"loop-{turn}") / part)
        for jobs in (1, 2):
            started, _ = run(some[:2], folder / f"start-{jobs}-{turn}", jobs)
            seconds, _ = run(some, folder / f"jobs-{jobs}-{turn}", jobs)
            rows["1 process" if jobs == 1 else "2 processes"].append((seconds - started) / (part - 2))
    medians = {name: 1000 * sorted(times)[len(times) // 2] for name, times in rows.items()}
    for name, value in medians.items():
        print(f"{name}: {value:.2f} ms per case")
    print(f"overhead of a batch with 1 process: {medians['1 process'] - medians['loop']:.2f} ms per case")
    print(f"efficiency of 2 processes: {medians['1 process'] / medians['2 processes'] / 2:.2f}")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--broken", type=float, default=0.01)
    parser.add_argument("--part", type=int, default=200)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_volumes(folder / "volumes", given.cases, given.broken)
        start = time.perf_counter()
        cases = find_batch_cases([str(folder / "volumes")]).cases
        print(f"{len(cases)} cases found in {time.perf_counter() - start:.1f} s")
        compare(cases, folder, min(given.part, len(cases) // 3), 3)
        seconds, outcomes = run(cases, folder / "all", 2, every=max(1, len(cases) // 8))
        print(f"all with 2 processes: {seconds:.0f} s, {len(cases) / seconds:.1f} cases/s, {dict(outcomes)}")
        start = time.perf_counter()
        write_summary(folder / "all", None)
        print(f"table and summary: {time.perf_counter() - start:.1f} s")
        seconds, outcomes = run(cases, folder / "all", 2)
        print(f"again: {seconds:.1f} s, {dict(outcomes)}")


if __name__ == "__main__":
    main()
