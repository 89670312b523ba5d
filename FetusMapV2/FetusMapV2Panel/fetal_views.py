"""`FetalViews`: the slice views turned to the shown fetus after an estimate, and back to the axes of the volume."""

from __future__ import annotations

from typing import TYPE_CHECKING

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Panel import view_orientation
from FetusMapV2Panel.nodes import VolumeNode

if TYPE_CHECKING:
    from FetusMapV2Panel.state import PanelState


class FetalViews:
    """Remembers whether the slices are turned, so that they never keep the planes of another patient.

    Args:
        state: the shared state of the panel; its settings say whether slices are to be turned.
    """

    def __init__(self, state: PanelState) -> None:
        self._state = state
        self._areTurned = False

    def showPose(self, volume: VolumeNode | None, pose: Pose) -> None:
        """Show a volume with a new pose: the planes of the fetus, unless the user wants the axes of the volume."""
        view_orientation.showPose(volume, pose)
        parameters = self._state.parameterNode
        if parameters is not None and parameters.turnSlices:
            self._areTurned = view_orientation.turnToFetus(pose)

    def showVolume(self) -> None:
        """Show the selected volume; slices that are turned to another fetus are turned to its own, or back."""
        view_orientation.showVolume(self._state.patient.volume)
        if self._areTurned:
            pose = self._state.pose()
            self._areTurned = pose is not None and view_orientation.turnToFetus(pose)
            if not self._areTurned:
                view_orientation.resetOrientations(pose)

    def turnBack(self) -> None:
        """Show the axes of the volume, through the centre of the fetus if there is one."""
        self._areTurned = False
        view_orientation.resetOrientations(self._state.pose())
