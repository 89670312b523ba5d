"""The values that the page starts with, before anything is opened, and with each case."""

from __future__ import annotations

from typing import Any

from FetusMapV2Lib.anatomy.dating import FORMULAS
from FetusMapV2Lib.serving import shown
from FetusMapV2Lib.serving.frames_shown import frames_shown
from FetusMapV2Lib.serving.outline_keeper import outlines_shown

#: What the page knows before anything was opened; what belongs to a case starts anew with each one.
START_OF_CASE: dict[str, Any] = {
    **shown.no_pose_shown(None, has_volume=False),
    **outlines_shown(None),
    **frames_shown(None),
    "has_pose": False,
    "selected": [],
    "definition": "",
    "message": "",
    "message_tone": "note",
    "is_placing": False,
    "can_show_seen": False,
    "can": shown.actions_shown(None, [], is_busy=False),
    "can_undo": False,
    "can_redo": False,
}
START: dict[str, Any] = {
    **START_OF_CASE,
    "case_name": "",
    "patient": "",
    "page_title": "FetusMapV2",
    "running": False,
    "cancellable": True,
    "fraction": 0,
    "stage": "",
    "formula": FORMULAS[0],
    "theme": "",
    "work_items": [],
    "work_number": -1,
    "work_summary": "",
    "archive": "",
}
