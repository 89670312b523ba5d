"""Requests to stop: Ctrl-C, SIGTERM of a scheduler, a closed terminal; the same on every operating system.

`stop_signals` turns each of them into an exception, `Stopped`, which unwinds the running code as Ctrl-C does: temporary
files are removed and finished results stay. Where a job must not be interrupted at an arbitrary line, `defer_stops`
delays the exception until the end of its block::

    with defer_stops() as stop_asked:
        for step in steps:
            ...
            if stop_asked():
                save_checkpoint()
                break
    # here `Stopped` is raised if it was asked for

After a library has caught the KeyboardInterrupt itself (Lightning ends with exit code 1), `stopped()` still says that,
and by which signal, this process was asked to stop.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

#: A second signal within this time is the same request: a terminal sends Ctrl-C to all processes, one may forward it.
SAME_REQUEST_S = 1.0
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")  # SIGBREAK is Windows' Ctrl-Break; Windows has no SIGHUP


class Stopped(KeyboardInterrupt):
    """The process was asked to stop.

    Attributes:
        signal_number: the signal that asked for it.
        kept: what was saved and how to continue, one sentence set by the interrupted job; "" if it set none.
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
    """The request to stop, if there is one, and how it is handled."""

    def __init__(self) -> None:
        self.request: Stopped | None = None
        self.requested_at = 0.0
        self.active = 0
        self.deferred = 0


_state = _State()


def stopped() -> Stopped | None:
    """The request that stopped this process; None if there was none, or no `stop_signals` block is active."""
    return _state.request


@contextlib.contextmanager
def stop_signals(*, even_if_ignored: bool = False) -> Iterator[None]:
    """Inside the block, a stop signal raises `Stopped` once; again only if it is repeated more than a second later.

    Outside the main thread nothing changes, as Python handles signals only there.

    Args:
        even_if_ignored: handle signals too that this process was started to ignore (``nohup``, a background job).
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {}
    for number in stop_signal_numbers():
        handler = signal.getsignal(number)
        if handler is not None and (handler != signal.SIG_IGN or even_if_ignored):
            before[number] = signal.signal(number, _handle)
    _state.active += 1
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _state.active -= 1
        if not _state.active:
            _state.request = None


@contextlib.contextmanager
def defer_stops() -> Iterator[Callable[[], bool]]:
    """Inside the block, a stop signal is only recorded; on leaving, `Stopped` is raised if there was one.

    Yields:
        A function that says whether this process was asked to stop. A second request, a second or more after the
        first, is not deferred.

    Raises:
        Stopped: on leaving the block without another exception.
    """
    earlier = _state.request
    _state.deferred += 1
    try:
        yield lambda: _state.request is not earlier
    finally:
        _state.deferred -= 1
    if _state.request is not None and _state.request is not earlier and not _state.deferred:
        raise _state.request


def ask_to_stop(signal_number: int) -> None:
    """Take a request to stop that another process of the same job has received for a signal to this one.

    Inside `defer_stops`, where it takes effect at the end of the block.
    """
    if _state.request is None:
        _state.request, _state.requested_at = Stopped(signal_number), time.monotonic()


def stop_signal_numbers() -> list[signal.Signals]:
    """The signals that ask a process to stop on this operating system."""
    return [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]


def _handle(number: int, frame: FrameType | None) -> None:
    again = _state.request is not None
    now = time.monotonic()
    if again and now - _state.requested_at < SAME_REQUEST_S:
        return
    _state.request, _state.requested_at = Stopped(number), now
    if again or not _state.deferred:
        raise _state.request
