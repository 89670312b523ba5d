"""Places one landmark by a click in a view; ends with the pose, the job or the selected volume."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import slicer

from FetusMapV2Lib.scene.placement import Placement
from FetusMapV2Panel.state import PanelState

if TYPE_CHECKING:
    from FetusMapV2Lib.scene.pose_scene import PoseScene


class LandmarkPlacing:
    """At most one placement at a time.

    Args:
        state: the shared state of the panel.
        onEnd: called when a placement has ended, with or without a click.
    """

    def __init__(self, state: PanelState, onEnd: Callable[[], None]) -> None:
        self._state, self._onEnd = state, onEnd
        self._placement: Placement | None = None
        self._volume: slicer.vtkMRMLScalarVolumeNode | None = None

    @property
    def isActive(self) -> bool:
        """Whether the next click in a view places a landmark."""
        return self._placement is not None

    def start(self, poseScene: PoseScene, row: int) -> None:
        """Let the next click in a view place a landmark."""
        self._volume = self._selectedVolume()
        self._placement = Placement(poseScene, row, self._onPlaced)

    def stop(self) -> None:
        """End the placement; the landmark is restored."""
        if self._placement is not None:
            self._placement.cancel()

    def stopForOtherVolume(self) -> None:
        """End the placement if another volume was selected."""
        if self._selectedVolume() is not self._volume:
            self.stop()

    def _selectedVolume(self) -> slicer.vtkMRMLScalarVolumeNode | None:
        return self._state.parameterNode.inputVolume if self._state.parameterNode is not None else None

    def _onPlaced(self, placed: bool) -> None:
        self._placement = None
        self._onEnd()
