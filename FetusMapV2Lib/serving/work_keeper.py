"""`WorkKeeper`: the open case of a work list: its lock, and its work, saved soon after each change."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from FetusMapV2Lib.batch.cases import BatchCase
from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.serving.open_case import OpenCase
from FetusMapV2Lib.serving.work_list import WorkItem, WorkList

#: Seconds without another change before the work is saved.
_SETTLE_S = 1.0


class WorkKeeper:
    """Takes cases of a list one after the other; does nothing for a volume that is in no list.

    Args:
        work_list: the list; None without a folder.
        on_saved: called when the list has changed, with what went wrong, "" if nothing did.
    """

    def __init__(self, work_list: WorkList | None, on_saved: Callable[[str], None]) -> None:
        self._list, self._on_saved = work_list, on_saved
        self._case: BatchCase | None = None
        self._opened: OpenCase | None = None
        self._lock = contextlib.ExitStack()
        self._timer: asyncio.TimerHandle | None = None
        self._unsaved = False
        self._items: list[WorkItem] = []
        self.look()

    @property
    def number(self) -> int | None:
        """Which case of the list is open; None without one."""
        return None if self._list is None or self._case is None else self._list.cases.index(self._case)

    def items(self) -> list[WorkItem]:
        """The lines of the list, as `look` has found them; none without a folder."""
        return self._items

    def look(self) -> None:
        """Look how far all cases are; other tabs work on them too."""
        self._items = self._list.items() if self._list is not None else []

    def path(self, number: int) -> Path:
        """The volume of a case of the list."""
        assert self._list is not None
        return self._list.cases[number].path

    def lock(self, number: int) -> contextlib.ExitStack:
        """Take a case, which no other tab can open from now on; hand it to `take`, or close it.

        Raises:
            LockedError: it is open elsewhere.
        """
        assert self._list is not None
        stack = contextlib.ExitStack()
        if number != self.number:
            stack.enter_context(self._list.taken(self._list.cases[number]))
        return stack

    def take(self, number: int, opened: OpenCase, lock: contextlib.ExitStack) -> None:
        """Keep the work on a case that was opened, and show what was done on it before.

        Raises:
            InputError: a file of the earlier work is damaged; it is left as it is, and nothing is saved over it.
        """
        assert self._list is not None
        if number != self.number:
            self.leave()
        case = self._list.cases[number]
        self._lock.push(lock.pop_all())
        self._list.restore(case, opened)
        self._case, self._opened, self._unsaved = case, opened, False
        self.look()

    def leave(self) -> None:
        """Save and release the case.

        Raises:
            OutputError: the work cannot be saved; the case is not left.
        """
        self._save()
        self._case = self._opened = None
        self._lock.close()

    def note_change(self) -> None:
        """Save soon."""
        if self._case is None:
            return
        self._unsaved = True
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(_SETTLE_S, self.save)

    def save(self) -> None:
        """Save now what has changed; what cannot be saved is tried again with the next change."""
        try:
            self._save()
        except UserError as error:
            self._on_saved(error.line(with_option=False))
        else:
            self._on_saved("")

    def _save(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._unsaved and self._list is not None and self._case is not None and self._opened is not None:
            self._list.save(self._case, self._opened)
            self._unsaved = False
            self._look_at_case()

    def _look_at_case(self) -> None:
        number = self.number
        if self._list is not None and self._case is not None and number is not None:
            self._items[number] = self._list.item(self._case)

    def save_training_case(self) -> str:
        """Save the case for training; its name there.

        Raises:
            UserError: there is nothing to save, or it cannot be written.
        """
        if self._list is None or self._case is None or self._opened is None:
            raise UserError("this volume is in no work list", remedy="Start `fetusmap serve` with a folder of volumes")
        name = self._list.save_training_case(self._case, self._opened)
        self._unsaved = False
        self._look_at_case()
        self._on_saved("")
        return name
