"""One of the further processes of a training on several devices, started by `rank_strategy`.

The first line of its input says what to train; it ends when its input is closed.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from typing import TextIO

from FetusMapV2Lib.core.process_messages import failure_message, own_output, send_message
from FetusMapV2Lib.core.serialisation import from_json
from FetusMapV2Lib.training.preset import Preset
from FetusMapV2Lib.training.training_options import TrainingOptions


def main() -> None:
    """Train with the other processes; what goes wrong is sent to the one that has started this one."""
    out = own_output()
    request = json.loads(sys.stdin.readline())
    ended = threading.Event()
    threading.Thread(target=_end_with_input, args=(sys.stdin, ended), daemon=True).start()
    from FetusMapV2Lib.training.fitting import train_as_rank

    try:
        train_as_rank(
            Preset.from_dict(request["preset"]),
            request["data"],
            request["output"],
            from_json(TrainingOptions, request["options"]),
            lambda: send_message(out, {"ready": os.getpid()}),
        )
    except KeyboardInterrupt:  # all of them were asked to stop
        pass
    except Exception as error:
        send_message(out, failure_message(error))
        sys.exit(1)
    ended.set()
    threading.Event().wait()  # who leaves first may disturb the last message to another


def _end_with_input(source: TextIO, ended: threading.Event) -> None:
    """At the end of the input this process ends at once, even during a step."""
    source.read()
    os._exit(0 if ended.is_set() else 1)
