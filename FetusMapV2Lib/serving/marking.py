"""`Marking`: the landmarks that are selected on the page, and the one that the next click in a view places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.presenting.linked_line import next_row
from FetusMapV2Lib.presenting.tones import Tone
from FetusMapV2Lib.presenting.translation import translator
from FetusMapV2Lib.serving import shown
from FetusMapV2Lib.serving.open_case import OpenCase

_ = translator(__name__)


class Marking:
    """Selects and places landmarks of the open case.

    Args:
        state: of trame's server.
        case: returns the open case, None without one.
        say: shows a message.
        on_change: called after another selection, and when placing begins or ends.
    """

    def __init__(
        self,
        state: Any,
        case: Callable[[], OpenCase | None],
        say: Callable[[str, Tone], None],
        on_change: Callable[[], None],
    ) -> None:
        self._state, self._case, self._say, self._on_change = state, case, say, on_change

    @property
    def rows(self) -> list[int]:
        """The selected landmarks."""
        return [int(row) for row in self._state.selected]

    def select(self, row: int, extend: bool = False) -> None:
        """Select a landmark of the list, and turn the views to it."""
        chosen = set(self.rows) ^ {row} if extend else {row}
        self._mark(sorted(chosen))
        case = self._case()
        if case is not None and case.poses is not None and not extend:
            case.focus(row)

    def go_to_next(self, rows: list[int]) -> None:
        """Go to the landmark of these that follows the selected one in the list."""
        selected = self.rows
        row = next_row(rows, selected[0] if selected else None, default_schema())
        if row is not None:
            self.select(row)

    def next_doubtful(self) -> None:
        """Go to the next doubtful landmark."""
        case = self._case()
        poses = case.poses if case is not None else None
        if poses is not None:
            self.go_to_next(shown.doubtful_rows(poses.current()))

    def place(self) -> None:
        """Let the next click place the selected landmark, or give that up."""
        case, selected = self._case(), self.rows
        if case is None:
            return
        if case.is_placing or len(selected) != 1:
            case.stop_placing()
            self._say("", Tone.NOTE)
        else:
            name = default_schema().landmarks[selected[0]].name
            case.place(selected[0])
            self._say(_("Click in a view where {0} is. A right click or Esc cancels.").format(name), Tone.NOTE)
        self._on_change()

    def stop_placing(self) -> None:
        """Place no landmark any more."""
        case = self._case()
        if case is not None and case.is_placing:
            self.place()

    def grabbed(self, row: int) -> None:
        """Select a landmark that the mouse has grabbed."""
        if self.rows != [row]:
            self._mark([row])

    def _mark(self, rows: list[int]) -> None:
        """Mark landmarks in the list, and name their groups in the views."""
        with self._state as state:
            state.selected = rows
        case = self._case()
        if case is not None:
            case.name_groups(rows)
        self._on_change()
