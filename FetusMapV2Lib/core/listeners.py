"""`Listeners`: functions that an object calls when something about it changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Listeners(Generic[T]):
    """Functions of one argument that are called together; each can be removed, also while they are called.

    Examples:
        >>> listeners = Listeners[str]()
        >>> remove = listeners.add(print)
        >>> listeners.notify("moved")
        moved
        >>> remove()
        >>> listeners.notify("moved again")
    """

    def __init__(self) -> None:
        self._callbacks: list[Callable[[T], None]] = []

    def add(self, callback: Callable[[T], None]) -> Callable[[], None]:
        """Add a function; returns another one that removes it, and does nothing the second time."""
        self._callbacks.append(callback)

        def remove() -> None:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

        return remove

    def notify(self, value: T) -> None:
        """Call all functions that are there now, in the order in which they were added."""
        for callback in tuple(self._callbacks):
            callback(value)

    def clear(self) -> None:
        """Remove all functions."""
        self._callbacks.clear()
