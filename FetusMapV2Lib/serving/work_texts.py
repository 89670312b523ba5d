"""How far a case of the work list is, in the words of the page."""

from __future__ import annotations

from FetusMapV2Lib.presenting.translation import translator
from FetusMapV2Lib.serving.work_list import ItemState

_ = translator(__name__)


def state_text(state: ItemState) -> str:
    """A state as it is shown."""
    return {
        "open": _("open"),
        "estimated": _("estimated"),
        "no fetus": _("no fetus"),
        "changed": _("changed"),
        "confirmed": _("confirmed"),
    }[state]
