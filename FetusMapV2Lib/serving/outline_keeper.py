"""`OutlineKeeper`: head and abdomen of the open case, measured shortly after its pose has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from FetusMapV2Lib.anatomy.measurements import measurements
from FetusMapV2Lib.presenting.section_rows import section_reasons, section_rows
from FetusMapV2Lib.serving.nuchal_part import nuchal_shown
from FetusMapV2Lib.serving.open_case import OpenCase

#: A drag is not followed; this long after the last change the outlines are searched, s.
_PAUSE_S = 0.3


class OutlineKeeper:
    """Searches the outlines of one case at a time.

    Args:
        on_found: called with the values that the page shows.
    """

    def __init__(self, on_found: Callable[[dict[str, Any]], None]) -> None:
        self._on_found = on_found
        self._timer: asyncio.TimerHandle | None = None

    def note_change(self, case: OpenCase) -> None:
        """Search soon, unless the pose changes again before."""
        self.stop()
        self._on_found(outlines_shown(case))
        if case.poses is not None:
            self._timer = asyncio.get_running_loop().call_later(_PAUSE_S, self._search, case)

    def stop(self) -> None:
        """Search nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None

    def _search(self, case: OpenCase) -> None:
        if case.find_outlines():
            self._on_found(outlines_shown(case))


def outlines_shown(case: OpenCase | None) -> dict[str, Any]:
    """The rows of head and abdomen, why one is missing, and what was set by hand; none without a pose."""
    poses = None if case is None else case.poses
    found = None if poses is None else poses.sections.sections()
    days = float("nan") if poses is None else measurements(poses.pose()).dating.days
    return {
        "section_rows": [asdict(row) for row in section_rows(found, days)],
        "section_reasons": section_reasons(found),
        "sections_by_hand": poses is not None and bool(poses.sections.sections_by_hand()),
        **nuchal_shown(case),
    }
