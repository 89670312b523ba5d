"""What a batch costs beyond its estimates: rate, memory, and what two processes gain.

    python Testing/benchmarks/many_volumes.py [--cases 10000] [--broken 0.01] [--ray ADDRESS]

Tiny volumes, some of them broken, and an engine that answers at once. Prints milliseconds per case of a plain loop in
one process (read, estimate, write), of two such loops at once that share nothing but the computer, and of batches with
one and two processes, taken turn by turn on parts of the volumes, with the CPU time of the driver. Then all cases with
two processes: rate, memory of the driver and its processes, and how long a second run takes, in which everything is
done before. With --ray the parts are also processed on a Ray cluster ("local" starts one), with one and two engines of
one core.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "Testing"), str(ROOT)]
os.environ["PYTHONPATH"] = os.pathsep.join((str(ROOT / "Testing"), str(ROOT)))

from batch.instant_worker import InstantEngine, InstantRayEngine  # noqa: E402
from cli.synthetic_balls import ball_volume  # noqa: E402

from FetusMapV2Lib.batch.batch_run import journal_name, plan_batch, run_batch, write_summary  # noqa: E402
from FetusMapV2Lib.batch.case_work import BatchSettings, process_case  # noqa: E402
from FetusMapV2Lib.batch.cases import BatchCase, find_batch_cases  # noqa: E402
from FetusMapV2Lib.batch.journal import Journal  # noqa: E402
from FetusMapV2Lib.batch.ray_pool import EngineRoom, RayPool  # noqa: E402
from FetusMapV2Lib.batch.tasks import Pool  # noqa: E402
from FetusMapV2Lib.batch.worker_pool import WorkerPool  # noqa: E402
from FetusMapV2Lib.imaging.writing import write_volume  # noqa: E402

_MODULE = "batch.instant_worker"
MakePool = Callable[[BatchSettings, int], Pool]


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


def processes(settings: BatchSettings, jobs: int) -> Pool:
    """Of this computer."""
    return WorkerPool(settings, jobs, module=_MODULE)


def ray_engines(address: str) -> MakePool:
    """Of a cluster."""
    return lambda settings, jobs: RayPool(settings, address, EngineRoom(1, at_most=jobs), engine=InstantRayEngine)


def run(
    cases: list[BatchCase], output: Path, jobs: int, every: int = 0, make: MakePool = processes
) -> tuple[float, Counter[str]]:
    """Seconds and outcomes of a batch; prints memory at every so many cases."""
    settings = BatchSettings(output, threads=1)
    output.mkdir(parents=True, exist_ok=True)
    start, outcomes = time.perf_counter(), Counter[str]()
    with Journal(output / journal_name(None)) as journal:
        plan = plan_batch(cases, settings, journal)
        pool = make(settings, jobs)
        for number, record in enumerate(run_batch(plan, journal, pool), start=1):
            outcomes[record["outcome"]] += 1
            if every and number % every == 0 and isinstance(pool, WorkerPool):
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


def two_loops(cases: list[BatchCase], folder: Path) -> float:
    """Seconds of two such loops at once, each in a process of its own with half of the cases."""
    context = multiprocessing.get_context("spawn")
    together, seconds = context.Barrier(2), context.Queue()
    halves = [cases[0::2], cases[1::2]]
    loops = [
        context.Process(target=_one_of_two, args=(half, folder / str(number), together, seconds))
        for number, half in enumerate(halves)
    ]
    for one in loops:
        one.start()
    found = [seconds.get() for _ in loops]
    for one in loops:
        one.join()
    return max(found)


def _one_of_two(cases: list[BatchCase], output: Path, together: Any, seconds: Any) -> None:
    loop(cases[:1], output / "warm")
    together.wait()
    seconds.put(loop(cases, output / "all"))


def resident(pid: int) -> float:
    """MiB of a process in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def compare(cases: list[BatchCase], folder: Path, part: int, rounds: int, ray: str | None) -> None:
    """A loop, one process and two, turn by turn; the start of processes is measured with a batch of two cases."""
    ways = {"process": processes} | ({"Ray engine": ray_engines(ray)} if ray else {})
    rows: dict[str, list[float]] = {"loop": [], "two loops": []}
    for turn in range(rounds):
        some = cases[turn * part : (turn + 1) * part]
        rows["loop"].append(loop(some, folder / f"loop-{turn}") / part)
        rows["two loops"].append(two_loops(some, folder / f"loops-{turn}") / part)
        for name, make in ways.items():
            for jobs in (1, 2):
                started, _ = run(some[:jobs], folder / f"start-{name}-{jobs}-{turn}", jobs, make=make)
                before = time.process_time()
                seconds, _ = run(some, folder / f"{name}-{jobs}-{turn}", jobs, make=make)
                rows.setdefault(f"{name}, {jobs} at once, CPU of the driver", []).append(
                    (time.process_time() - before) / part
                )
                rows.setdefault(f"{name}, {jobs} at once", []).append((seconds - started) / (part - jobs))
    medians = {name: 1000 * sorted(times)[len(times) // 2] for name, times in rows.items()}
    for name, value in medians.items():
        print(f"{name}: {value:.2f} ms per case")
    alone = medians["loop"] / medians["two loops"] / 2
    print(f"two loops that share nothing: efficiency {alone:.2f}")
    for name in ways:
        one, two = medians[f"{name}, 1 at once"], medians[f"{name}, 2 at once"]
        print(f"{name}: overhead per case {one - medians['loop']:.2f} ms; efficiency of two {one / two / 2:.2f}")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--broken", type=float, default=0.01)
    parser.add_argument("--part", type=int, default=200)
    parser.add_argument("--ray", help="address of a Ray cluster, or local")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_volumes(folder / "volumes", given.cases, given.broken)
        start = time.perf_counter()
        cases = find_batch_cases([str(folder / "volumes")]).cases
        print(f"{len(cases)} cases found in {time.perf_counter() - start:.1f} s")
        if given.ray:
            import ray

            ray.init(given.ray, num_cpus=2 if given.ray == "local" else None, log_to_driver=False)
        compare(cases, folder, min(given.part, len(cases) // 3), 3, given.ray)
        seconds, outcomes = run(cases, folder / "all", 2, every=max(1, len(cases) // 8))
        print(f"all with 2 processes: {seconds:.0f} s, {len(cases) / seconds:.1f} cases/s, {dict(outcomes)}")
        start = time.perf_counter()
        write_summary(folder / "all", None)
        print(f"table and summary: {time.perf_counter() - start:.1f} s")
        seconds, outcomes = run(cases, folder / "all", 2)
        print(f"again: {seconds:.1f} s, {dict(outcomes)}")


if __name__ == "__main__":
    main()
