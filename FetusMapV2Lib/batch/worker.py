"""A process of a batch, started by `worker_pool.WorkerPool`: processes the cases that come in as lines, one by one.

Its model stays loaded. What it does goes out as lines of JSON; it ends when its input is closed.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TextIO

from FetusMapV2Lib.batch.case_work import BatchSettings, process_case
from FetusMapV2Lib.batch.cases import BatchCase
from FetusMapV2Lib.core.faults import as_user_error
from FetusMapV2Lib.core.serialisation import from_json

if TYPE_CHECKING:
    from FetusMapV2Lib.estimation.engine import PoseEngine


def main() -> None:
    """Process cases until the input ends; the first line holds the settings of the batch."""
    out = _own_output()
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read_lines, args=(sys.stdin, lines), daemon=True).start()
    settings = from_json(BatchSettings, json.loads(lines.get()))
    try:
        engine = loaded_engine(settings)
    except Exception as error:
        shown = as_user_error(error)
        _send(out, {"failed": shown.problem, "where": shown.where, "remedy": shown.remedy})
        return
    _send(out, {"ready": os.getpid()})

    def report(fraction: float, stage: str) -> None:
        _send(out, {"stage": stage, "fraction": fraction})

    while True:
        task = json.loads(lines.get())
        case = from_json(BatchCase, task["case"])
        _send(out, {"record": process_case(case, settings, engine, report, thumbnail=task["thumbnail"])})


def _read_lines(source: TextIO, lines: queue.Queue[str]) -> None:
    """Put lines into a queue; at the end of the input this process ends at once, even during an estimate.

    So nothing stays behind when the parent is killed.
    """
    for line in source:
        lines.put(line)
    os._exit(0)


def _own_output() -> TextIO:
    """Standard output for messages alone: whatever a library prints goes to standard error."""
    own = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return os.fdopen(own, "w", encoding="utf-8", newline="\n")


def loaded_engine(settings: BatchSettings) -> PoseEngine:
    """The engine of a process of a batch; it has the threads that the settings say."""
    import torch

    from FetusMapV2Lib.estimation.engine import PoseEngine

    if settings.threads:
        torch.set_num_threads(settings.threads)
    return PoseEngine.load(settings.model, settings.device, settings.memory_budget)


def _send(out: TextIO, message: Mapping[str, Any]) -> None:
    """Send a message; ends the process if nobody reads it any more."""
    try:
        print(json.dumps(message, separators=(",", ":")), file=out, flush=True)
    except (OSError, ValueError):
        os._exit(1)


if __name__ == "__main__":
    main()
