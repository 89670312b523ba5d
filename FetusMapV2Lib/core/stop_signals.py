"""Being told to stop: Ctrl-C, SIGTERM of a scheduler, a closed terminal; the same on every operating system.

`stop_signals` makes each of them an exception, `Stopped`, which unwinds what is under way as Ctrl-C always did, so that
temporary files go and what is finished stays. Where a job must not be left at any line, `hold_stops` puts the exception
off until the end of its block::

    with hold_stops() as stop_asked:
        for step in steps:
            ...
            if stop_asked():
                save_checkpoint()
                break
    # here `Stopped` is raised if it was asked for

A library that takes KeyboardInterrupt for itself (Lightning ends with exit code 1) loses nothing: `stopped()` still
tells that, and how, this process was told to stop.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

#: A second signal within this time is the same wish: a terminal sends Ctrl-C to all processes, and one may pass it on.
SAME_WISH_S = 1.0
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")  # the last is Windows' Ctrl-Break, the last but one is not there


class Stopped(KeyboardInterrupt):
    """The process was told to stop.

    Attributes:
        signal_number: how.
        kept: what was kept and how to go on, one sentence of whoever was stopped; "" if nobody said.
    """

    def __init__(self, signal_number: int = signal.SIGINT) -> None:
        super().__init__(f"stopped by signal {int(signal_number)}")
        self.signal_number = int(signal_number)
        self.kept = ""

    @property
    def exit_code(self) -> int:
        """What a shell expects: 130 after Ctrl-C, 143 after SIGTERM."""
        return 128 + self.signal_number


class _State:
    """What was asked of this process, and since when."""

    def __init__(self) -> None:
        self.asked: Stopped | None = None
        self.asked_at = 0.0
        self.heard = 0
        self.held = 0


_state = _State()


def stopped() -> Stopped | None:
    """How this process was told to stop; None if it was not, or no `stop_signals` is in force."""
    return _state.asked


@contextlib.contextmanager
def stop_signals(*, even_if_ignored: bool = False) -> Iterator[None]:
    """Inside, a signal to stop raises `Stopped`, once; again only if it is repeated more than a second later.

    Signals that this process was started to ignore (``nohup``, a job in the background) stay ignored unless told.
    Outside the main thread nothing is changed: Python handles signals there alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {}
    for number in stop_signal_numbers():
        handler = signal.getsignal(number)
        if handler is not None and (handler != signal.SIG_IGN or even_if_ignored):
            before[number] = signal.signal(number, _handle)
    _state.heard += 1
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _state.heard -= 1
        if not _state.heard:
            _state.asked = None


@contextlib.contextmanager
def hold_stops() -> Iterator[Callable[[], bool]]:
    """Inside, a signal to stop is only noted; on leaving, `Stopped` is raised if there was one.

    Yields:
        Says whether this process was told to stop. A second wish, a second or more after the first, is not held back.

    Raises:
        Stopped: on leaving the block without another exception.
    """
    earlier = _state.asked
    _state.held += 1
    try:
        yield lambda: _state.asked is not earlier
    finally:
        _state.held -= 1
    if _state.asked is not None and _state.asked is not earlier and not _state.held:
        raise _state.asked


def stop_signal_numbers() -> list[signal.Signals]:
    """The signals that ask a process to stop on this operating system."""
    return [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]


def _handle(number: int, frame: FrameType | None) -> None:
    again = _state.asked is not None
    now = time.monotonic()
    if again and now - _state.asked_at < SAME_WISH_S:
        return
    _state.asked, _state.asked_at = Stopped(number), now
    if again or not _state.held:
        raise _state.asked
