"""`Observations`: the observers that one object has on nodes and scenes, added and removed together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from vtkmodules.util.misc import calldata_type
from vtkmodules.util.vtkConstants import VTK_OBJECT

Callback = Callable[..., None]
#: Name or number of a VTK event.
Event = str | int
#: Decorator of a callback: VTK passes it the node of the event, such as the one that was added to a scene.
with_node: Callable[[Callback], Callback] = calldata_type(VTK_OBJECT)


class Observations:
    """Observers of VTK objects that have one owner.

    VTK keeps a callback, and with it its owner, until the observer is removed. Call `clear` when the owner is closed.
    """

    def __init__(self) -> None:
        self._tags: dict[tuple[Any, Event, Callback], int] = {}

    def __len__(self) -> int:
        """Number of observers."""
        return len(self._tags)

    def observe(self, subject: Any, events: Event | Iterable[Event], callback: Callback) -> None:
        """Call `callback(subject, event, ...)` on events of a VTK object; a callback is added to an event only once."""
        for event in [events] if isinstance(events, (str, int)) else events:
            if (subject, event, callback) not in self._tags:
                self._tags[subject, event, callback] = subject.AddObserver(event, callback)

    def subjects(self) -> list[Any]:
        """The observed objects."""
        return list(dict.fromkeys(subject for subject, _, _ in self._tags))

    def stop(self, subject: Any) -> None:
        """Remove the observers of one object; nothing if there are none."""
        for key in [key for key in self._tags if key[0] is subject]:
            subject.RemoveObserver(self._tags.pop(key))

    def clear(self) -> None:
        """Remove all observers."""
        for subject in self.subjects():
            self.stop(subject)
