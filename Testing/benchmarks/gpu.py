"""Everything that a GPU has to say, in one command: tests of what runs there alone, and all that it is to be timed on.

Each step has its own time limit and its own log; what is done is not done again, and the memory tables go on where they
were cut, so call it until it says that nothing is left. With --rehearse the same steps run on a CPU, on small tensors,
for the sake of the commands alone.

    .venv/bin/python Testing/benchmarks/gpu.py [--output runs/gpu] [--time-limit 840] [--rehearse]
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from FetusMapV2Lib.core.atomic_files import write_json

ROOT = Path(__file__).resolve().parents[2]
_LEFT = "call again"  # what a step says that has to go on
_REHEARSAL_S = 600.0  # for a step on a CPU, which others may use too
_LEAST_S = 20.0  # a step is not begun in less


@dataclass(frozen=True)
class Step:
    """One command.

    Attributes:
        name: of its log.
        arguments: after the interpreter.
        limit_s: the longest that it may take.
    """

    name: str
    arguments: tuple[str, ...]
    limit_s: float


def steps(output: Path, pages: Path) -> list[Step]:
    """On a GPU; what matters most comes first."""
    bench = "Testing/benchmarks/"
    tests = ("Testing/memory/fused", *(f"Testing/memory/test_{name}.py" for name in ("offload", "workspace", "slabs")))
    page = ("--page", str(pages / "accuracy.md"))
    memory = ("gpu", "--time-limit", "400", "--output", str(output / "memory"), "--page", str(pages / "memory.md"))
    return [
        Step("tests", ("-m", "pytest", "-q", "-p", "no:cacheprovider", *tests), 150),
        Step("memory", (f"{bench}memory.py", *memory), 450),
        Step("estimate", (f"{bench}estimate_speed.py", "--device", "cuda", "--repeats", "3", *page), 120),
        Step("kernels", (f"{bench}fused_kernels.py",), 50),
        Step("kernels-256", (f"{bench}fused_kernels.py", "--limit-mib", "256"), 50),
    ]


def rehearsal(output: Path, pages: Path) -> list[Step]:
    """The same on a CPU: Triton's interpreter, tiny networks and volumes."""
    memory = "--device cpu --size 16,16,16 --widths 4,8 --rounds 1 --side 64 --measuring 0.05 --budget-gb 0.02"
    small = {
        "tests": ("-k", "copies or workspace or pool"),
        "memory": (*memory.split(), "--only", "lean", "fast"),
        "estimate": ("--device", "cpu", "--repeats", "1", "--frames", "1", "--size", "48,40,40", "--quick"),
        "kernels": ("--device", "cpu", "--rows", "4", "--width", "4"),
    }
    small["kernels-256"] = small["kernels"]
    return [Step(one.name, (*one.arguments, *small[one.name]), _REHEARSAL_S) for one in steps(output, pages)]


def run(todo: list[Step], output: Path, time_limit: float, environment: dict[str, str] | None = None) -> list[str]:
    """Run what is not done yet; gives the names of the steps that are left."""
    end = time.monotonic() + time_limit
    output.mkdir(parents=True, exist_ok=True)
    left = []
    for step in todo:
        done = output / f"{step.name}.json"
        if done.exists():
            print(f"{step.name}: done before", flush=True)
            continue
        limit = min(step.limit_s, end - time.monotonic())
        if limit < min(_LEAST_S, step.limit_s):
            print(f"{step.name}: no time left", flush=True)
            left.append(step.name)
            continue
        started = time.monotonic()
        code, text = _logged(step, output / f"{step.name}.log", limit, environment)
        seconds = round(time.monotonic() - started, 1)
        finished = code == 0 and _LEFT not in text
        if finished:
            write_json(done, {"command": list(step.arguments), "seconds": seconds})
        else:
            left.append(step.name)
        words = (
            "done" if finished else "to go on" if code == 0 else "took too long" if code is None else f"failed ({code})"
        )
        print(f"{step.name}: {words}, {seconds} s, {output / step.name}.log", flush=True)
    return left


def _words(code: int | None, finished: bool) -> str:
    if code is None:
        return "took too long"
    return f"failed ({code})" if code else "done" if finished else "to go on"


def _logged(step: Step, log: Path, limit_s: float, environment: dict[str, str] | None) -> tuple[int | None, str]:
    """Exit status, None where time ran out, and what was said in this call; the log keeps that of earlier calls."""
    begin = log.stat().st_size if log.exists() else 0
    with log.open("a", encoding="utf-8") as file:
        process = subprocess.Popen(
            [sys.executable, *step.arguments],
            cwd=ROOT,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
            start_new_session=True,
        )
        try:
            code: int | None = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # it may have processes of its own
            process.wait()
            code = None
    with log.open(encoding="utf-8", errors="replace") as file:
        file.seek(begin)
        return code, file.read()


def main() -> None:
    """Run the steps and say what is left."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "runs/gpu", help="folder of logs and measurements")
    parser.add_argument("--time-limit", type=float, default=840.0, help="seconds for all of this call")
    parser.add_argument("--rehearse", action="store_true", help="on this CPU; the documentation stays as it is")
    parser.add_argument("--fresh", action="store_true", help="do again what is done")
    arguments = parser.parse_args()
    output: Path = arguments.output.resolve()
    output = output / "rehearsal" if arguments.rehearse else output
    if arguments.fresh:
        shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True, exist_ok=True)
    pages = ROOT / "docs"
    environment = {}
    if arguments.rehearse:
        for name in ("memory.md", "accuracy.md"):
            shutil.copy(pages / name, output)
        pages = output
        environment = {"TRITON_INTERPRET": "1", "FETUSMAPV2_DATA": str(output / "cache")}
    todo = (rehearsal if arguments.rehearse else steps)(output, pages)
    left = run(todo, output, arguments.time_limit, environment)
    print(f"Left: {', '.join(left)}; call again" if left else f"Everything is done: {output}")
    sys.exit(bool(left))


if __name__ == "__main__":
    main()
