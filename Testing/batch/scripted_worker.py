"""A process of a batch that does what the names of its cases say, without torch: for tests of the pool.

"kill" and "crash" end it, "hang" makes it silent, "once" makes it do so at the first try only, "bad" is refused.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path


def main() -> None:
    """As `worker.main`."""
    settings = json.loads(sys.stdin.readline())
    if settings["model"] == "missing":
        print(json.dumps({"failed": "no such model", "where": "missing", "remedy": "Name another"}), flush=True)
        return
    if settings["model"] == "broken":
        sys.exit("cannot start")
    print(json.dumps({"ready": os.getpid()}), flush=True)
    for line in sys.stdin:
        case = json.loads(line)["case"]
        print(json.dumps({"stage": "reading", "fraction": 0.0}), flush=True)
        act(case["name"], Path(settings["output"]))
        outcome, row = ("refused" if "bad" in case["name"] else "found"), {"seconds": 0.0, "reason": str(os.getpid())}
        print(json.dumps({"record": {"case": case["name"], "outcome": outcome, "row": row}}), flush=True)


def act(name: str, folder: Path) -> None:
    """End or silence this process, as the name says."""
    mark = folder / f"{name}.tried"
    if "once" in name and mark.exists():
        return
    mark.touch()
    if "kill" in name:
        os.kill(os.getpid(), signal.SIGKILL)
    if "crash" in name:
        print("Segmentation fault in the reader", file=sys.stderr, flush=True)
        os._exit(3)
    if "hang" in name:
        time.sleep(3600)
