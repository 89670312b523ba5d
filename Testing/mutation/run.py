"""How many small faults the tests of a room notice: a sample of mutants, each run against them.

    python Testing/mutation/run.py ROOM [--files PATTERN ...] [--tests PATH ...] [--count 40] [--seed 1]

A mutant is the room with one coefficient, sign, comparison, Boolean or index changed (`mutants.py`). It is written into
a copy of the project, never into the project itself. The tests named after the mutated file run first, then the other
ones; the first failure kills the mutant, and so does a run that takes much longer than that of the unchanged room.

Each run is a fork of this process, which has imported PyTorch and the like already: seconds for most mutants, where the
well-known tools (mutmut, cosmic-ray) restart Python or expect another layout of tests. POSIX only.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from mutants import Mutant, mutants_of

ROOT = Path(__file__).resolve().parents[2]
_NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "build", "demo-output", "lightning_logs")
_QUIET = ("-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist")
_PATIENCE, _LEAST_S = 5.0, 60.0  # a mutant may take so many times as long as the unchanged room


def forked(work: Callable[[], int], seconds: float = 0.0, output: str | Path = os.devnull) -> int | None:
    """The exit code of a function in a process of its own; None if it took longer than that many seconds (0: any)."""
    child = os.fork()
    if child == 0:
        written = os.open(output, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        for stream in range(3):
            os.dup2(written, stream)
        os.setsid()
        code = 1
        try:
            code = int(work())
        finally:
            os._exit(code)
    end = time.monotonic() + seconds
    while True:
        done, status = os.waitpid(child, os.WNOHANG if seconds else 0)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(0.05)


def run_tests(copy: Path, *arguments: str) -> int:
    """Run pytest in this process on the copy."""
    import pytest

    os.chdir(copy)
    sys.path[:0] = [str(copy), str(copy / "Testing")]
    sys.dont_write_bytecode = True
    os.environ["PYTHONPATH"] = str(copy)
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    return int(pytest.main([*_QUIET, *arguments]))


def import_what_tests_import(copy: Path, tests: list[str]) -> None:
    """Import the libraries, not the project, so that each fork has them."""
    found = copy / "modules.json"

    def collect() -> int:
        code = run_tests(copy, "--collect-only", *tests)
        libraries = [
            name
            for name, module in sorted(sys.modules.items())
            if "site-packages" in (getattr(module, "__file__", None) or "")
        ]
        found.write_text(json.dumps(libraries), encoding="utf-8")
        return code

    if forked(collect) != 0:
        sys.exit("the tests cannot be collected")
    for name in json.loads(found.read_text(encoding="utf-8")):
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def test_files(place: Path) -> list[Path]:
    return [place] if place.is_file() else list(place.rglob("test_*.py"))


def order(tests: list[Path], source: Path, copy: Path) -> list[list[str]]:
    """The tests named after a source file, then all others, as arguments of two runs."""
    own = [path for path in tests if path.stem == f"test_{source.stem}"]
    others = [path for path in tests if path not in own]
    return [[str(path.relative_to(copy)) for path in part] for part in (own, others) if part]


def survives(mutant: Mutant, tests: list[Path], copy: Path, seconds: float) -> bool:
    """Whether all tests pass with this mutant in the copy."""
    unchanged = mutant.path.read_bytes()
    mutant.path.write_bytes(mutant.applied(unchanged))
    try:
        runs = order(tests, mutant.path, copy)
        return all(forked(lambda part=part: run_tests(copy, *part), seconds) == 0 for part in runs)
    finally:
        mutant.path.write_bytes(unchanged)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("room", help="a sub-package of FetusMapV2Lib")
    parser.add_argument("--files", nargs="+", default=["**/*.py"], help="which of its files, as patterns")
    parser.add_argument("--tests", nargs="+", help="test files or folders; those of the room if not given")
    parser.add_argument("--count", type=int, default=40, help="size of the sample")
    parser.add_argument("--seed", type=int, default=1, help="which sample")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        shutil.copytree(ROOT, copy, ignore=_NOT_COPIED, symlinks=True)
        room = copy / "FetusMapV2Lib" / options.room
        sources = sorted({path for pattern in options.files for path in room.glob(pattern)})
        places = [copy / place for place in options.tests or [f"Testing/{options.room}"]]
        tests = sorted(
            {path for place in places for path in ([place] if place.is_file() else place.rglob("test_*.py"))}
        )
        if not sources or not tests:
            parser.error("no such files or no tests of them")
        possible = [mutant for path in sources for mutant in mutants_of(path)]
        sample = random.Random(options.seed).sample(possible, min(options.count, len(possible)))
        report(sample, len(possible), tests, copy)


def report(sample: list[Mutant], possible: int, tests: list[Path], copy: Path) -> None:
    """Run the sample and print each survivor and the score."""
    names = [str(path.relative_to(copy)) for path in tests]
    import_what_tests_import(copy, names)
    started = time.monotonic()
    output = copy / "output.txt"
    if forked(lambda: run_tests(copy, *names), output=output) != 0:
        sys.exit(f"the tests fail without a mutant:\n{output.read_text(encoding='utf-8')[-3000:]}")
    seconds = _PATIENCE * (time.monotonic() - started) + _LEAST_S
    print(f"{len(sample)} of {possible} mutants, {len(tests)} test files", flush=True)
    killed = 0
    for number, mutant in enumerate(sample, start=1):
        alive = survives(mutant, tests, copy, seconds)
        killed += not alive
        place = f"{mutant.path.relative_to(copy).as_posix()}:{mutant.line}"
        verdict = "SURVIVED" if alive else "killed  "
        print(f"{verdict} {number:3d} {place} {mutant.change}   | {mutant.code}", flush=True)
    print(f"killed {killed} of {len(sample)}: {killed / len(sample):.0%}")


if __name__ == "__main__":
    main()
