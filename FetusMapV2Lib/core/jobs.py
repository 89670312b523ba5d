"""A long task in steps: an event loop, a script or another task carries it on, and each of them can cancel it."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from typing import Generic, TypeVar

from FetusMapV2Lib.core.errors import Cancelled

T = TypeVar("T")

#: Seconds between two steps of a job whose result is waited for.
POLL_S = 0.03


class Job(Generic[T]):
    """A task that returns to its caller whenever it has to wait, and has one result.

    Nothing is done before the first step. An event loop calls `step` now and then, a script calls `result`, and a
    generator carries it on with ``result = yield from job``, which cancels the job if that generator is closed.

    Args:
        steps: yields whenever it waits for something; its return value is the result.

    Examples:
        >>> Job.of(lambda: 6 * 7).result()
        42
    """

    def __init__(self, steps: Generator[None, None, T]) -> None:
        self._steps = steps
        self._results: list[T] = []
        self._running = self._ended = self._cancelled = False

    @classmethod
    def of(cls, work: Callable[[], T]) -> Job[T]:
        """A function as a job of a single step."""

        def steps() -> Generator[None, None, T]:
            yield from ()
            return work()

        return cls(steps())

    @property
    def is_done(self) -> bool:
        """Whether it has ended, with a result, with an error or by cancelling."""
        return self._ended

    @property
    def is_cancelled(self) -> bool:
        """Whether it was cancelled before it ended; a task that works on in its last step can ask this."""
        return self._cancelled

    def step(self) -> bool:
        """Go on until the task waits for something.

        Returns:
            Whether the job is done.

        Raises:
            Cancelled: it was cancelled.
            Exception: whatever ended the task.
        """
        if not self._ended:
            self._running = True
            try:
                next(self._steps)
            except StopIteration as end:
                self._ended = True
                self._results.append(end.value)
            except BaseException:
                self._ended = True
                raise
            finally:
                self._running = False
        if self._cancelled:
            self.cancel()
            raise Cancelled("the job was cancelled")
        return self._ended

    def cancel(self) -> None:
        """End the task where it waits, with all that it has started; within a step, at the end of that step."""
        self._cancelled = self._cancelled or not self._ended
        if not self._running:
            self._ended = True
            self._steps.close()

    def result(self) -> T:
        """Carry it on to its end, and wait meanwhile; an exception in between, such as Ctrl-C, cancels it.

        Raises:
            Cancelled: it was cancelled.
            Exception: whatever ended the task.
        """
        try:
            while not self.step():
                time.sleep(POLL_S)
        finally:
            self.cancel()
        return self._results[0]

    def __iter__(self) -> Generator[None, None, T]:
        """Carry it on within another task."""
        try:
            while not self.step():
                yield
        finally:
            self.cancel()
        return self._results[0]
