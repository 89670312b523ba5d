"""Many estimates by one process: `python Testing/robustness/endurance.py --count 200`; its memory must stay flat.

Counts resident memory (RSS), open files and threads of the engine's process, and what lies among the temporary files.
Linux, which tells them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "Testing"), str(ROOT)]

from FetusMapV2Lib.estimation.requests import EstimateRequest  # noqa: E402
from FetusMapV2Lib.imaging.volume import Volume  # noqa: E402
from FetusMapV2Lib.remote.client import RemoteEngine  # noqa: E402

#: The first estimates fill caches and the memory allocator's pools.
WARM = 20
#: The memory may move by this much from there on.
FLAT_MIB = 24.0


@dataclass(frozen=True)
class Process:
    """What a process takes."""

    rss_mib: float
    files: int
    threads: int

    @classmethod
    def of(cls, pid: int) -> Process:
        """The process with this number now."""
        place = Path(f"/proc/{pid}")
        status = dict(line.split(":", 1) for line in (place / "status").read_text().splitlines())
        files = len(list((place / "fd").iterdir()))
        return cls(int(status["VmRSS"].split()[0]) / 1024, files, int(status["Threads"]))


def campaign(count: int, model: str | None, shape: tuple[int, int, int], warm: int = WARM) -> list[Process]:
    """What the engine's process takes after each of `count` estimates, the first `warm` left out."""
    generator, taken = np.random.default_rng(0), []
    pieces = [generator.integers(0, 256, shape, dtype=np.uint8) for _ in range(3)]
    with RemoteEngine(model, "cpu") as engine:
        for number in range(count):
            grey = Volume(pieces[number % 3], np.diag([0.5, 0.5, 0.5, 1.0]), f"volume {number}")
            engine.submit(EstimateRequest(grey)).result()
            if number >= warm:
                assert engine.pid is not None
                taken.append(Process.of(engine.pid))
    return taken


def main() -> int:
    """Print one row of a table; 1 if something grows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--model")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder
        taken = campaign(asked.count, asked.model, (160, 120, 120))
        left = len(list(Path(folder).iterdir()))
    quarter = max(1, len(taken) // 4)
    first, last = (float(np.median([one.rss_mib for one in part])) for part in (taken[:quarter], taken[-quarter:]))
    files, threads = ({getattr(one, name) for one in taken} for name in ("files", "threads"))
    print(
        f"| estimates by one process | {asked.count} | RSS {first:.0f} -> {last:.0f} MiB, open files {sorted(files)}, "
        f"threads {sorted(threads)}, temporary files left {left} |"
    )
    return int(last - first > FLAT_MIB or len(files) > 1 or left > 0)


if __name__ == "__main__":
    sys.exit(main())
