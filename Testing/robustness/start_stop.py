"""Starts and ends engines in every way: `python Testing/robustness/start_stop.py --count 300`; nothing may be left.

Each cycle ends its engine otherwise: closed when idle, left in the midst of an estimate, cancelled, killed, stopped so
that it hears nothing, or killed with the process that owns it. Counted are processes, files, threads and open files.
Linux, which tells them.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "Testing"), str(ROOT)]

from FetusMapV2Lib.core.errors import Cancelled, UserError  # noqa: E402
from FetusMapV2Lib.core.staging import remove_abandoned  # noqa: E402
from FetusMapV2Lib.estimation.requests import EstimateRequest, ResourceRequest  # noqa: E402
from FetusMapV2Lib.imaging.volume import Volume  # noqa: E402
from FetusMapV2Lib.remote.client import RemoteEngine  # noqa: E402

_PATIENCE_S = 20.0
_OWNER = """
import sys; sys.path.insert(0, {root!r})
import numpy as np
from FetusMapV2Lib.estimation.requests import EstimateRequest
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.remote.client import RemoteEngine
volume = Volume(np.zeros((16, 16, 16), np.uint8), np.eye(4))
job = RemoteEngine({model!r}, "cpu").submit(EstimateRequest(volume))
job.step()
print("begun", flush=True)
job.result()
"""


@dataclass
class Left:
    """What cycles have left behind; files by name, with their beginning."""

    processes: int
    files: dict[str, bytes]
    threads: int
    open_files: int


def _grey() -> Volume:
    return Volume(np.zeros((24, 16, 16), np.uint8), np.diag([2.0, 2.0, 2.0, 1.0]))


def close_idle(model: str | None) -> None:
    with RemoteEngine(model, "cpu") as engine:
        engine.submit(ResourceRequest(1000)).result()


def close_at_once(model: str | None) -> None:
    job = RemoteEngine(model, "cpu").submit(EstimateRequest(_grey()))
    job.step()
    job.cancel()


def leave_an_estimate(model: str | None) -> None:
    stages: list[str] = []
    engine = RemoteEngine(model, "cpu")
    job = engine.submit(EstimateRequest(_grey()), on_progress=lambda _, stage: stages.append(stage))
    while not job.step() and (not stages or stages[-1] == "starting the pose engine"):
        time.sleep(0.005)
    job.cancel()
    engine.close()


def cancel(model: str | None) -> None:
    asked = time.monotonic() + random.random()
    with contextlib.suppress(Cancelled), RemoteEngine(model, "cpu") as engine:
        engine.submit(EstimateRequest(_grey()), should_cancel=lambda: time.monotonic() > asked).result()


def kill(model: str | None) -> None:
    with RemoteEngine(model, "cpu") as engine, contextlib.suppress(UserError):

        def shoot(_: float, stage: str) -> None:
            if stage != "starting the pose engine" and engine.pid:
                os.kill(engine.pid, signal.SIGKILL)

        engine.submit(EstimateRequest(_grey()), shoot).result()


def stop_hearing(model: str | None) -> None:
    engine = RemoteEngine(model, "cpu")
    job = engine.submit(EstimateRequest(_grey()))
    job.step()
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGSTOP)
    job.cancel()


def kill_the_owner(model: str | None) -> None:
    code = _OWNER.format(root=str(ROOT), model=model)
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert owner.stdout is not None
    owner.stdout.readline()
    owner.kill()
    owner.wait()
    owner.stdout.close()


#: Ways in which an engine ends.
WAYS: tuple[Callable[[str | None], None], ...] = (
    close_at_once,
    stop_hearing,
    kill_the_owner,
    leave_an_estimate,
    cancel,
    kill,
    close_idle,
)


def campaign(count: int, seed: int, model: str | None) -> tuple[Counter[str], Left]:
    """Run `count` cycles; how often each way was taken, and what is left at the end."""
    generator, ways = random.Random(seed), Counter[str]()
    random.seed(seed)
    with _temporary_files() as folder:
        close_idle(model)  # what is loaded once is no leftover
        threads, open_files = threading.active_count(), _open_files()
        for number in range(count):
            way = WAYS[number % len(WAYS)] if count <= len(WAYS) else generator.choice(WAYS)
            way(model)
            ways[way.__name__] += 1
        _wait_until(lambda: not _workers(folder))
        remove_abandoned()  # as the next start does
        left = Left(
            len(_workers(folder)),
            {
                path.name: path.read_bytes()[:40] if path.is_file() else b""
                for path in folder.iterdir()
                if not path.name.startswith("torchinductor_")  # PyTorch's own cache, one folder for all
            },
            threading.active_count() - threads,
            _open_files() - open_files,
        )
    return ways, left


@contextlib.contextmanager
def _temporary_files() -> Iterator[Path]:
    """A folder of its own for the temporary files of this process and its children, by which they are known."""
    with tempfile.TemporaryDirectory(prefix="start-stop-") as folder:
        before = os.environ.get("TMPDIR"), tempfile.tempdir
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        try:
            yield Path(folder)
        finally:
            tempfile.tempdir = before[1]
            if before[0] is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = before[0]


def _workers(folder: Path) -> list[int]:
    """Processes that live and were started with this folder for temporary files."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int(place.name) == os.getpid() or f"TMPDIR={folder}".encode() not in (place / "environ").read_bytes():
                continue
            if (place / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
                found.append(int(place.name))
    return found


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + _PATIENCE_S
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)


def main() -> int:
    """Print one row of a table; 1 if something is left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model")
    asked = parser.parse_args()
    ways, left = campaign(asked.count, asked.seed, asked.model)
    told = ", ".join(f"{name.replace('_', ' ')} {number}" for name, number in sorted(ways.items()))
    print(
        f"| engines started and ended | {asked.count} | left: processes {left.processes}, files {left.files or 0}, "
        f"threads {left.threads}, open files {left.open_files} ({told}) |"
    )
    return int(left.processes > 0 or bool(left.files) or left.threads > 0 or left.open_files > 0)


if __name__ == "__main__":
    sys.exit(main())
