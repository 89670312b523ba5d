"""The selected volume and the shown pose, which always belongs to that volume.

Poses of other volumes are hidden in all views and appear in no table, list, chart or report.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import slicer
from slicer import vtkMRMLNode

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.scene import ownership
from FetusMapV2Lib.scene.pose_visibility import PoseVisibility
from FetusMapV2Panel import pose_ownership
from FetusMapV2Panel.changes import Change
from FetusMapV2Panel.frame_observer import FrameObserver
from FetusMapV2Panel.nodes import BrowserNode, LandmarksNode, VolumeNode
from FetusMapV2Panel.parameters import FetusMapV2ParameterNode
from FetusMapV2Panel.reader import reader
from FetusMapV2Panel.recent_estimates import RecentEstimates
from FetusMapV2Panel.translations import translator
from FetusMapV2Panel.undo_changes import UndoChanges

if TYPE_CHECKING:
    from FetusMapV2Lib.estimation.estimate import Estimate
    from FetusMapV2Lib.scene.pose_scene import PoseScene
    from FetusMapV2Panel.estimation import PoseEstimation

_ = translator(__name__)


def _doNothing() -> None:
    """Removes no listener."""


class Patient:
    """Keeps volume, landmarks and sequence of the settings consistent with each other and with the views.

    Args:
        logic: the module's logic.
        notify: called with each `Change`.
        reportProblem: called with a message about landmarks that cannot be shown, with "" once they can be again.

    Attributes:
        poseScene: the live nodes of the shown pose; None without one.
        isBusy: whether the settings are being synchronized; until then they may be inconsistent.
    """

    def __init__(
        self, logic: PoseEstimation, notify: Callable[[Change], None], reportProblem: Callable[[str], None]
    ) -> None:
        self._logic, self._notify, self._reportProblem = logic, notify, reportProblem
        self.poseScene: PoseScene | None = None
        self.isBusy = False
        self._parameters: FetusMapV2ParameterNode | None = None
        self._selected: tuple[str, str, str] | None = None  # IDs of volume, landmarks and browser when synchronized
        self._lastShown: dict[str, str] = {}  # volume ID -> ID of its landmarks shown last
        self._estimates = RecentEstimates()
        self._views = PoseVisibility(slicer.mrmlScene)
        self._stopObserving = _doNothing
        self._problem = ""
        self._frames = FrameObserver(self.synchronize)  # a pose of one frame is hidden on all others
        self._undoChanges = UndoChanges()

    @property
    def volume(self) -> VolumeNode | None:
        """The selected volume node; None without one."""
        return self._parameters.inputVolume if self._parameters is not None else None

    @property
    def estimate(self) -> Estimate | None:
        """The estimate of this session that produced the shown pose; None if the pose has another source."""
        return self.estimateOf(self.poseScene) if self.poseScene is not None else None

    def estimateOf(self, poseScene: PoseScene) -> Estimate | None:
        """The estimate of this session that produced a pose; None if the pose has another source."""
        return self._estimates.of(poseScene.landmarks_node)

    def close(self) -> None:
        """Stop observing nodes; the views stay as they are."""
        self._observe(None)
        self._frames.observe(None)
        self._views.close()

    # --- the settings

    def setParameters(self, parameters: FetusMapV2ParameterNode | None) -> None:
        """Use another parameter node; None while a scene closes."""
        self._parameters, self._selected = parameters, None
        if parameters is None:
            self._lastShown = {}
            self._estimates.clear()
            self._undoChanges.forget()
            self._frames.observe(None)
            self._show(None)
            self._notify(Change.SHOWN_POSE_CHANGED)

    def synchronize(self) -> None:
        """Make volume, landmarks and views consistent after a change of the settings or of the nodes in the scene."""
        if self._parameters is None or self.isBusy:
            return
        self.isBusy = True
        try:
            changes = self._reconcile(self._parameters)
        finally:
            self.isBusy = False
        for change in changes:
            self._notify(change)

    def setDefaults(self, volume: VolumeNode | None, browser: BrowserNode | None) -> None:
        """Select a volume and a sequence where none is selected; this sequence does not change the volume."""
        parameters = self._parameters
        if parameters is None:
            return
        if parameters.inputVolume is None and parameters.landmarks is None and volume is not None:
            parameters.inputVolume = volume
        if parameters.sequenceBrowser is None and browser is not None:
            self.synchronize()
            identifiers = _identifiers(parameters)
            self._selected = (identifiers[0], identifiers[1], browser.GetID())
            parameters.sequenceBrowser = browser

    def _reconcile(self, parameters: FetusMapV2ParameterNode) -> list[Change]:
        """The latest selection decides: the volume, or else the volume of the selected landmarks or sequence."""
        first, before = self._selected is None, self._selected or ("", "", "")
        isNew = [now != old for now, old in zip(_identifiers(parameters), before, strict=True)]
        if not isNew[0] and not first:
            self._selectVolumeOf(parameters, *isNew[1:])
        volume, landmarks = parameters.inputVolume, parameters.landmarks
        volumeIsNew = first or _identifiers(parameters)[0] != before[0]
        frameIsNew = pose_ownership.shownFrame(volume) != self._frames.frame
        if volumeIsNew:
            self._frames.observe(volume)
            parameters.sequenceBrowser = pose_ownership.browserOf(volume) or parameters.sequenceBrowser
        if (volumeIsNew or frameIsNew) and not (landmarks is not None and self._canStay(landmarks, volume, first)):
            parameters.landmarks = landmarks = self._poseOf(volume)
        self._frames.accept(volume)
        self._selected = _identifiers(parameters)
        shown = self._show(self._poseSceneToShow(landmarks, volume))
        changed = [Change.VOLUME_SELECTED] if self._selected[0] != before[0] else []
        # a frame without a pose may be one without a fetus, or one that was not estimated yet
        isOther = shown or bool(changed) or (frameIsNew and self.poseScene is None)
        return [*changed, Change.SHOWN_POSE_CHANGED] if isOther else []

    def _selectVolumeOf(self, parameters: FetusMapV2ParameterNode, landmarksAreNew: bool, browserIsNew: bool) -> None:
        owner = None
        if landmarksAreNew and parameters.landmarks is not None:
            owner = ownership.volume_of(parameters.landmarks)
        elif browserIsNew and parameters.sequenceBrowser is not None:
            owner = pose_ownership.volumeOf(parameters.sequenceBrowser)
        if owner is not None and owner is not parameters.inputVolume:
            parameters.inputVolume = owner

    def _canStay(self, landmarks: LandmarksNode, volume: VolumeNode | None, first: bool) -> bool:
        """A pose without a volume is shown if the user selected it, not because its volume was deleted."""
        return (
            pose_ownership.belongsTo(landmarks, volume)
            and not pose_ownership.noFetusFound(volume)
            and (volume is not None or first)
        )

    def _poseOf(self, volume: VolumeNode | None) -> LandmarksNode | None:
        """The landmarks shown last for a volume, or its newest; None after an estimate that found no fetus."""
        own = [] if pose_ownership.noFetusFound(volume) else pose_ownership.posesOfShownFrame(volume)
        last = self._lastShown.get(volume.GetID()) if volume is not None else None
        return next((node for node in own if node.GetID() == last), own[-1] if own else None)

    def _poseSceneToShow(self, landmarks: LandmarksNode | None, volume: VolumeNode | None) -> PoseScene | None:
        if landmarks is None:
            return None
        try:
            poseScene = self._logic.poseSceneOf(landmarks)
        except UserError as error:
            self._reportProblem(error.line(with_option=False))
            return None
        return poseScene if pose_ownership.belongsTo(landmarks, volume) else None

    # --- estimates

    def addEstimate(self, volume: VolumeNode | None, poseScene: PoseScene | None, estimate: Estimate | None) -> None:
        """Show a new pose if its volume is the selected one; hide it otherwise.

        Args:
            volume: the volume node that the pose was estimated in.
            poseScene: None if no fetus was found; then an earlier pose is hidden, as it is not the result.
            estimate: the estimate that produced the pose; None if its details are not needed.
        """
        if poseScene is not None:
            self._noteShown(poseScene)
            if estimate is not None:
                self.keepEstimate(poseScene, estimate)
        if self._parameters is not None and self.volume is volume:
            landmarks = poseScene.landmarks_node if poseScene is not None else None
            fits = landmarks is not None and pose_ownership.belongsTo(landmarks, volume)
            self._parameters.landmarks = landmarks if fits else self._poseOf(volume)
        self.synchronize()
        self._views.refresh()
        self._notify(Change.SHOWN_POSE_CHANGED)

    def keepEstimate(self, poseScene: PoseScene, estimate: Estimate) -> None:
        """Keep the estimate that produced a pose, which need not be shown."""
        self._estimates.add(poseScene.landmarks_node, estimate)

    def lastShownOther(self, poses: list[LandmarksNode]) -> VolumeNode | None:
        """The volume shown last, or else the newest, among those of these poses except the selected; None without."""
        others = [one for one in map(ownership.volume_of, poses) if one is not None and one is not self.volume]
        recent = list(self._lastShown)
        return max(others, key=lambda one: recent.index(one.GetID()) if one.GetID() in recent else -1, default=None)

    # --- undo and redo

    def beforeUndo(self) -> None:
        """Call before the scene undoes or redoes a step."""
        self._undoChanges.start()

    def afterUndo(self) -> list[vtkMRMLNode]:
        """Synchronize after the scene has undone or redone a step, which may restore an estimate.

        Returns:
            The volumes whose hidden poses changed, and the changed landmarks without a volume.
        """
        changed = self._undoChanges.finish()
        self._logic.restoreAfterUndo()
        if self._parameters is not None and self.poseScene is None and changed:
            self._parameters.landmarks = self._poseOf(self.volume) or self._parameters.landmarks
        self.synchronize()
        self._views.refresh()
        shown = [self.volume, self.poseScene.landmarks_node if self.poseScene is not None else None]
        return [node for node in dict.fromkeys(changed) if node is not None and node not in shown]

    # --- the shown pose

    def _show(self, poseScene: PoseScene | None) -> bool:
        """Show a pose, or none; true if it is another one than before."""
        if poseScene is not None and ownership.volume_of(poseScene.landmarks_node) is not None:
            self._noteShown(poseScene)
        changed = poseScene is not self.poseScene
        if changed:
            self._observe(poseScene)
        if self._parameters is not None:
            self._views.show_only(poseScene)
        return changed

    def _noteShown(self, poseScene: PoseScene) -> None:
        """Make a volume the last entry of those shown."""
        identifier = poseScene.volume_node.GetID()
        self._lastShown.pop(identifier, None)
        self._lastShown[identifier] = poseScene.landmarks_node.GetID()

    def _observe(self, poseScene: PoseScene | None) -> None:
        self._stopObserving()
        if poseScene is not None:
            poseScene.edit_log.examiner = reader
        self._stopObserving = poseScene.add_listener(self._onPoseChanged) if poseScene is not None else _doNothing
        self.poseScene, self._problem = poseScene, ""

    def _onPoseChanged(self, poseScene: PoseScene) -> None:
        """Handle a moved landmark, or a pose that left the scene (removed, undone, scene closed)."""
        if poseScene.is_open:
            self._updateProblem(poseScene)
            self._notify(Change.POSE_EDITED)
        else:
            self._show(None)
            self._notify(Change.SHOWN_POSE_CHANGED)

    def _updateProblem(self, poseScene: PoseScene) -> None:
        """Report points that were added, deleted or renamed elsewhere in Slicer, or clear that message."""
        problem, before = poseScene.snapshot.problem, self._problem
        self._problem = problem
        if problem and problem != before:
            text = _("The point list no longer holds the landmarks: {0}. Undo that change, or estimate the pose again.")
            self._reportProblem(text.format(problem))
        elif before and not problem:
            self._reportProblem("")


def _identifiers(parameters: FetusMapV2ParameterNode) -> tuple[str, str, str]:
    volume, landmarks, browser = (
        node.GetID() if node is not None else ""
        for node in (parameters.inputVolume, parameters.landmarks, parameters.sequenceBrowser)
    )
    return volume, landmarks, browser
