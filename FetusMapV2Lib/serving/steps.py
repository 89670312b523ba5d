"""The steps on selected landmarks that the page offers."""

from __future__ import annotations

from collections.abc import Callable

from FetusMapV2Lib.scene.editing import LandmarkEditor

#: Steps on the selected landmarks, by the name that a page calls them.
STEPS: dict[str, Callable[[LandmarkEditor, list[int]], None]] = {
    "confirm": lambda editor, rows: editor.confirm(rows),
    "withdraw": lambda editor, rows: editor.confirm(rows, confirmed=False),
    "missing": lambda editor, rows: editor.set_missing(rows),
    "lock": lambda editor, rows: editor.lock(rows),
    "unlock": lambda editor, rows: editor.lock(rows, locked=False),
    "reset": lambda editor, rows: editor.reset(rows),
    "reset_all": lambda editor, rows: editor.reset(),
    "swap_arms": lambda editor, rows: editor.swap_sides(["arms"]),
    "swap_legs": lambda editor, rows: editor.swap_sides(["legs"]),
    "swap_all": lambda editor, rows: editor.swap_sides(),
}
