"""`Pulse`: each process of a training on several computers says again and again that it lives.

A computer that loses its power or its network closes no connection: without this the others would wait for hours.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from torch import distributed
from torch.distributed import distributed_c10d

from FetusMapV2Lib.core.errors import UserError

#: Seconds between two beats, and without one until a process counts as lost.
_BEAT_S, _SILENT_S = 10.0, 180.0
_DONE = "done"
#: What the messages of a connection that has ended have in common; of NCCL they have a class of their own.
_OF_CONNECTIONS = ("gloo", "Connection closed by peer", "Connection reset by peer", "Timed out waiting")


class Pulse:
    """Beats from `start` to `stop`, and listens to the others meanwhile.

    Args:
        rank: number of this process.
        count: how many there are.
        on_lost: called, in a thread, with what to say when one has been silent for too long.
        beat_s: seconds between two beats.
        silent_s: seconds without one until a process counts as lost.
    """

    def __init__(
        self,
        rank: int,
        count: int,
        on_lost: Callable[[UserError], None],
        *,
        beat_s: float = _BEAT_S,
        silent_s: float = _SILENT_S,
    ) -> None:
        self._rank, self._others = rank, [other for other in range(count) if other != rank]
        self._on_lost, self._beat_s, self._silent_s = on_lost, beat_s, silent_s
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._store: Any = None

    def start(self, store: Any = None) -> None:
        """Begin, once the processes have met.

        Args:
            store: where they meet; by default that of torch's process group.
        """
        known = distributed_c10d._get_default_store() if store is None else store
        clone = getattr(known, "clone", None)  # a connection of its own, which torch 2.6 lacks
        self._store = known if clone is None else clone()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End; the others no longer wait for this process."""
        if self._thread is not None and not self._ended.is_set():
            self._ended.set()
            self._thread.join()

    def _beat(self) -> None:
        heard = dict.fromkeys(self._others, time.monotonic())
        last: dict[int, bytes] = {}
        number = 0
        while not self._ended.wait(self._beat_s):
            number += 1
            self._say(str(number))
            for other, beat in self._listened().items():
                if last.get(other) != beat or beat == _DONE.encode():
                    last[other], heard[other] = beat, time.monotonic()
            silent = [other for other, at in heard.items() if time.monotonic() - at > self._silent_s]
            if silent:
                self._on_lost(lost_process(f"process {silent[0] + 1} of {len(self._others) + 1} is silent"))
                return
        self._say(_DONE)

    def _say(self, beat: str) -> None:
        try:
            self._store.set(self._key(self._rank), beat)
        except RuntimeError:
            return  # the computer with the store is gone, and so silent

    def _listened(self) -> dict[int, bytes]:
        found = {}
        try:
            for other in self._others:
                if self._store.check([self._key(other)]):
                    found[other] = self._store.get(self._key(other))
        except RuntimeError:
            return found
        return found

    def _key(self, rank: int) -> str:
        return f"fetusmap/pulse/{rank}"


def lost_process(how: str) -> UserError:
    """What to say when another process is gone."""
    return UserError(
        f"another process of this training is gone ({how})", remedy="Go on from the last checkpoint", option="--resume"
    )


def lost_by(error: RuntimeError) -> UserError | None:
    """What to say when an error comes from a connection to another process; None for any other error."""
    text = " ".join(str(error).split())
    if isinstance(error, distributed.DistError) or any(word in text for word in _OF_CONNECTIONS):
        return lost_process("its connection has ended")
    return None
