"""A long job that the event loop carries on: the window lives between its steps, and no loop runs inside another."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from typing import Any

import qt

_INTERVAL_MS = 20


class Job:
    """Carries a generator on until it ends; starts at once, so what need not wait is done when this returns.

    Args:
        steps: yields whenever it waits for something; its return value is the result.
        onEnd: called with (result, None) or (None, exception), unless `leave` came first.
    """

    def __init__(self, steps: Generator[None, None, Any], onEnd: Callable[[Any, Exception | None], None]):
        self._steps, self._onEnd = steps, onEnd
        self.isRunning = True
        self._advance()

    def leave(self) -> None:
        """Go no further; the generator is closed, which ends what it has begun."""
        self.isRunning = False
        with contextlib.suppress(ValueError):  # called from within a step, after which there will be no other
            self._steps.close()

    def _advance(self) -> None:
        if not self.isRunning:
            return
        try:
            next(self._steps)
        except StopIteration as end:
            self._end(end.value, None)
        except Exception as error:
            self._end(None, error)
        else:
            if self.isRunning:
                # Not a timer of its own: what is connected to one is never collected in Slicer.
                qt.QTimer.singleShot(_INTERVAL_MS, self._advance)
            else:
                self._steps.close()

    def _end(self, result: Any, error: Exception | None) -> None:
        if self.isRunning:
            self.isRunning = False
            self._onEnd(result, error)
