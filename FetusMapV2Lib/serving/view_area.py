"""`ViewArea`: a place of the page that shows a view of Slicer as pictures, and passes it what the mouse does there."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from numpy.typing import NDArray
from trame_rca.rca import VtkRemoteControlledArea
from trame_rca.schedulers import RcaImageRenderScheduler
from trame_rca.utils import RcaViewAdapter

from FetusMapV2Lib.scene.live_views import LiveSliceView, LiveThreeDView

#: Pictures a second of the view under the mouse, and of the others, which must not hold up the numbers.
FOCUSED_FPS, OTHER_FPS = 15.0, 3.0
#: JPEG quality of pictures in motion and at rest. With the same for both, a change is drawn once.
_FOCUSED_QUALITY, _OTHER_QUALITY = (60, 92), (88, 88)
_NUMBERS_FIRST_S = 0.005
#: A view is drawn with this many pixels at most; a screen of high density enlarges it.
_MOST_PIXELS = 1_000_000


class ViewArea:
    """Shows one view of the open case, black without one.

    Args:
        name: of the area in the page.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._view: LiveSliceView | LiveThreeDView | None = None
        self._window: VtkRemoteControlledArea | None = None
        self._size = (400, 400)
        self._drawing: asyncio.TimerHandle | None = None
        self._scheduler = RcaImageRenderScheduler(
            self,
            target_fps=OTHER_FPS,
            interactive_quality=_OTHER_QUALITY[0],
            still_quality=_OTHER_QUALITY[1],
            rca_encoder="jpeg",
        )
        self.adapter = RcaViewAdapter(self, name, scheduler=self._scheduler, do_schedule_render_on_interaction=False)
        self.adapter.max_pixel_count = _MOST_PIXELS

    def show(self, view: LiveSliceView | LiveThreeDView | None) -> None:
        """Show another view, or none."""
        self._view = view
        self._window = VtkRemoteControlledArea(view.window) if view is not None else None
        if view is not None:
            view.resize(*self._size)
        self.draw()

    def draw(self) -> None:
        """Send a picture soon, but after the numbers that changed with it: drawing holds up the whole process."""
        if self._drawing is None:
            self._drawing = asyncio.get_running_loop().call_later(_NUMBERS_FIRST_S, self._draw)

    def _draw(self) -> None:
        self._drawing = None
        self._scheduler.schedule_render()

    def focus(self, focused: bool) -> None:
        """Send more pictures while the mouse is over the view."""
        self._scheduler.target_fps = FOCUSED_FPS if focused else OTHER_FPS
        self._scheduler.update_quality(*(_FOCUSED_QUALITY if focused else _OTHER_QUALITY))
        self.draw()

    # --- what trame-rca asks of an area

    @property
    def img_cols_rows(self) -> tuple[NDArray[np.uint8], int, int]:
        """The picture (rows, columns, 3), and its size."""
        if self._view is None or self._window is None:
            width, height = self._size
            return np.zeros((height, width, 3), np.uint8), width, height
        self._view.prepare()
        picture, columns, rows = self._window.img_cols_rows
        return picture, columns, rows

    def process_resize_event(self, width: int, height: int) -> None:
        """The area of the page has another size."""
        self._size = (width, height)
        if self._view is not None:
            self._view.resize(width, height)

    def process_interaction_event(self, event: dict[str, Any]) -> None:
        """The mouse or a finger did something in the area."""
        if self._window is not None:
            self._window.process_interaction_event(event)
