"""A process of a batch, started by `worker_pool.WorkerPool`: processes the cases that come in as lines, one by one.

Its model stays loaded. What it does goes out as lines of JSON; it ends when its input is closed.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
from typing import TYPE_CHECKING, TextIO

from FetusMapV2Lib.batch.case_work import BatchSettings, process_case
from FetusMapV2Lib.batch.cases import BatchCase
from FetusMapV2Lib.core.process_messages import failure_message, own_output, send_message
from FetusMapV2Lib.core.serialisation import from_json

if TYPE_CHECKING:
    from FetusMapV2Lib.estimation.engine import PoseEngine

#: Seconds between two stages that are told: the process that hears them shares the cores with many that work.
_TELL_S = 0.5


def main() -> None:
    """Process cases until the input ends; the first line holds the settings of the batch."""
    out = own_output()
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read_lines, args=(sys.stdin, lines), daemon=True).start()
    settings = from_json(BatchSettings, json.loads(lines.get()))
    try:
        engine = loaded_engine(settings)
    except Exception as error:
        send_message(out, failure_message(error))
        return
    send_message(out, {"ready": os.getpid()})

    told = time.monotonic()

    def report(fraction: float, stage: str) -> None:
        nonlocal told
        if time.monotonic() - told >= _TELL_S:
            told = time.monotonic()
            send_message(out, {"stage": stage, "fraction": fraction})

    while True:
        task = json.loads(lines.get())
        case = from_json(BatchCase, task["case"])
        send_message(out, {"record": process_case(case, settings, engine, report, thumbnail=task["thumbnail"])})


def _read_lines(source: TextIO, lines: queue.Queue[str]) -> None:
    """Put lines into a queue; at the end of the input this process ends at once, even during an estimate.

    So nothing stays behind when the parent is killed.
    """
    for line in source:
        lines.put(line)
    os._exit(0)


def loaded_engine(settings: BatchSettings) -> PoseEngine:
    """The engine of a process of a batch; it has the threads that the settings say."""
    import torch

    from FetusMapV2Lib.estimation.engine import PoseEngine

    if settings.threads:
        torch.set_num_threads(settings.threads)
    return PoseEngine.load(settings.model, settings.device, settings.memory_budget)


if __name__ == "__main__":
    main()
