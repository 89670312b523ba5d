"""Observes which frame a volume of a sequence shows."""

from __future__ import annotations

from collections.abc import Callable

import vtk

from FetusMapV2Panel import pose_ownership
from FetusMapV2Panel.nodes import BrowserNode, VolumeNode


class FrameObserver:
    """Observes one volume at a time.

    Args:
        onChange: called when the volume shows another frame than at the last `accept`.

    Attributes:
        frame: the frame at the last `accept`, from 0; None for a static volume.
    """

    def __init__(self, onChange: Callable[[], None]) -> None:
        self._onChange = onChange
        self._observed: tuple[BrowserNode, int] | None = None
        self.frame: int | None = None

    def observe(self, volume: VolumeNode | None) -> None:
        """Observe another volume; None ends it."""
        if self._observed is not None:
            before, tag = self._observed
            before.RemoveObserver(tag)
        self._observed = None
        browser = pose_ownership.browserOf(volume)
        if browser is not None:
            self._observed = browser, browser.AddObserver(vtk.vtkCommand.ModifiedEvent, self._onBrowser)

    def accept(self, volume: VolumeNode | None) -> None:
        """Take the shown frame of a volume as the known one."""
        self.frame = pose_ownership.shownFrame(volume)

    def _onBrowser(self, caller: BrowserNode, event: str) -> None:
        if caller.GetSelectedItemNumber() != self.frame:
            self._onChange()
