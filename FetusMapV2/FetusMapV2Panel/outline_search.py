"""`OutlineSearch`: head and abdomen measured in the volume of the shown pose, shortly after it has changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.presenting.tones import Tone
from FetusMapV2Lib.scene.volume_nodes import volume_from_node
from FetusMapV2Panel.state import PanelState

#: Landmarks that are being dragged are not followed; this long after the last change the outlines are searched.
_PAUSE_MS = 200


class OutlineSearch:
    """Shows what it finds in the nodes of the pose.

    Args:
        state: the shared state of the panel.
        widget: parent of the timer.
        onFound: called after other outlines were found, or none.
    """

    def __init__(self, state: PanelState, widget: qt.QWidget, onFound: Callable[[], None]) -> None:
        self._state, self._onFound = state, onFound
        self._searched: tuple[Any, ...] | None = None
        self._timer = qt.QTimer(widget)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_PAUSE_MS)
        self._timer.connect("timeout()", self.search)

    def startSoon(self) -> None:
        """Search after a pause, unless the pose changes again before."""
        self._timer.start()

    def search(self) -> None:
        """Search now, unless that was done for this pose in this volume."""
        from FetusMapV2Lib.imaging.head_abdomen import measure_head_and_abdomen

        self._timer.stop()
        fetus = self._state.poseScene
        volumeNode = None if fetus is None else fetus.volume_node
        if fetus is None or volumeNode is None or self._state.running:
            return
        pose = fetus.pose()
        image = volumeNode.GetImageData()
        changes = 0 if image is None else image.GetMTime()
        wanted = (fetus, volumeNode, changes, pose.positions.tobytes(), pose.doubt)
        if wanted == self._searched:
            return
        try:
            found = measure_head_and_abdomen(volume_from_node(volumeNode), pose)
        except UserError as error:
            self._state.say(error.line(with_option=False), Tone.ERROR)
            found = None
        self._searched = wanted
        fetus.sections.show(found)
        self._onFound()

    def forget(self) -> None:
        """Hide what was found; outlines set by hand stay."""
        self._timer.stop()
        if self._searched is not None and self._searched[0].is_open:
            self._searched[0].sections.show(None)
        self._searched = None
