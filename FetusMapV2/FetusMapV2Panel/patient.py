"""The chosen volume and the pose on show, which is always a pose of that volume.

Poses of other volumes are out of all views, and no table, list, chart or report tells of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import slicer
import vtk
from slicer.i18n import tr as _

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.scene import ownership, pose_nodes
from FetusMapV2Lib.scene.estimate_record import ESTIMATE_ATTRIBUTE
from FetusMapV2Lib.scene.own_views import OwnViews
from FetusMapV2Lib.scene.provenance import ATTRIBUTES
from FetusMapV2Panel import pose_ownership
from FetusMapV2Panel.changes import Change

#: Estimates of this session that are remembered; each is small.
_MOST_ESTIMATES = 64


def _nothing() -> None:
    """No listener to remove."""


class Patient:
    """Keeps volume, landmarks and sequence of the settings in agreement, and the views with them.

    Args:
        logic: the module's logic.
        tell: called with each `Change`.
        complain: called with a line about landmarks that cannot be shown, an empty one when they can be again.

    Attributes:
        poseScene: the live nodes of the pose on show, None without one.
        isBusy: whether the settings are being brought into agreement; they are to be looked at afterwards.
    """

    def __init__(self, logic, tell: Callable[[Change], None], complain: Callable[[str], None]):
        self._logic, self._tell, self._complain = logic, tell, complain
        self.poseScene: Any | None = None
        self.isBusy = False
        self._parameters: Any | None = None
        self._seen: tuple[str, str, str] | None = None
        self._last: dict[str, str] = {}  # volume -> landmarks last on show, by ID
        self._estimates: dict[tuple[str, str], Any] = {}
        self._views = OwnViews(slicer.mrmlScene)
        self._stopWatching = _nothing
        self._problem = ""
        self._browser: tuple[Any, int] | None = None
        self._frame: int | None = None
        self._beforeStep: dict[str, tuple[str | None, tuple[Any, ...]]] = {}

    @property
    def volume(self) -> Any:
        """The chosen volume node, None without one."""
        return self._parameters.inputVolume if self._parameters is not None else None

    @property
    def estimate(self) -> Any:
        """The estimate of this session that gave the pose on show, None if it came from elsewhere."""
        return self._estimates.get(_estimateKey(self.poseScene.landmarks_node)) if self.poseScene is not None else None

    def close(self) -> None:
        """The panel goes; the views stay as they are."""
        self._watch(None)
        self._followFrames(None)
        self._views.close()

    # --- the settings

    def use(self, parameters) -> None:
        """Take other settings, None while a scene closes."""
        self._parameters, self._seen = parameters, None
        if parameters is None:
            self._last, self._estimates, self._beforeStep = {}, {}, {}
            self._followFrames(None)
            self._show(None)
            self._tell(Change.POSE_SHOWN)

    def follow(self) -> None:
        """The settings were modified, or nodes came or went: bring volume, landmarks and views into agreement."""
        if self._parameters is None or self.isBusy:
            return
        self.isBusy = True
        try:
            changes = self._agree(self._parameters)
        finally:
            self.isBusy = False
        for change in changes:
            self._tell(change)

    def suggest(self, volume, browser) -> None:
        """Fill in what is not chosen yet; a sequence that is only suggested does not change the volume."""
        parameters = self._parameters
        if parameters.inputVolume is None and parameters.landmarks is None and volume is not None:
            parameters.inputVolume = volume
        if parameters.sequenceBrowser is None and browser is not None:
            self.follow()
            self._seen = (*self._seen[:2], browser.GetID())
            parameters.sequenceBrowser = browser

    def _agree(self, parameters) -> list[Change]:
        """What is chosen last decides: the volume; or else landmarks or a sequence, whose volume is chosen then."""
        first, before = self._seen is None, self._seen or ("", "", "")
        anew = [now != old for now, old in zip(_identifiers(parameters), before, strict=True)]
        if not anew[0] and not first:
            self._chooseVolumeOf(parameters, *anew[1:])
        volume, landmarks = parameters.inputVolume, parameters.landmarks
        volumeAnew = first or _identifiers(parameters)[0] != before[0]
        turned = pose_ownership.frameOf(volume) != self._frame
        if volumeAnew:
            self._followFrames(volume)
            parameters.sequenceBrowser = pose_ownership.browserOf(volume) or parameters.sequenceBrowser
        if (volumeAnew or turned) and not (landmarks is not None and self._mayStay(landmarks, volume, first)):
            parameters.landmarks = landmarks = self._poseOf(volume)
        self._frame = pose_ownership.frameOf(volume)
        self._seen = _identifiers(parameters)
        shown = self._show(self._poseSceneToShow(landmarks, volume))
        changed = [Change.VOLUME_CHOSEN] if self._seen[0] != before[0] else []
        return [*changed, Change.POSE_SHOWN] if shown or changed else []

    def _chooseVolumeOf(self, parameters, landmarksAnew: bool, browserAnew: bool) -> None:
        owner = None
        if landmarksAnew and parameters.landmarks is not None:
            owner = ownership.volume_of(parameters.landmarks)
        elif browserAnew and parameters.sequenceBrowser is not None:
            owner = pose_ownership.volumeOfBrowser(parameters.sequenceBrowser)
        if owner is not None and owner is not parameters.inputVolume:
            parameters.inputVolume = owner

    def _mayStay(self, landmarks, volume, first: bool) -> bool:
        """A pose without a volume is shown where somebody chose it, not because a volume was deleted."""
        return (
            pose_ownership.isOf(landmarks, volume)
            and not pose_ownership.foundNone(volume)
            and (volume is not None or first)
        )

    def _poseOf(self, volume) -> Any:
        """The landmarks last on show for a volume, or its newest; None after an estimate that found no fetus."""
        own = [] if pose_ownership.foundNone(volume) else pose_ownership.posesOf(volume)
        last = self._last.get(volume.GetID()) if volume is not None else None
        return next((node for node in own if node.GetID() == last), own[-1] if own else None)

    def _poseSceneToShow(self, landmarks, volume) -> Any:
        if landmarks is None:
            return None
        try:
            poseScene = self._logic.poseSceneOf(landmarks)
        except UserError as error:
            self._complain(error.line(with_option=False))
            return None
        return poseScene if pose_ownership.isOf(landmarks, volume) else None

    # --- estimates

    def take(self, volume, poseScene, estimate) -> None:
        """A pose was estimated: it is shown if its volume is the chosen one, and hidden otherwise.

        Args:
            poseScene: None if no fetus was found; an earlier pose is not left on show as if it were the answer.
            estimate: what gave it, None if nothing more is to be told of it.
        """
        if poseScene is not None:
            self._remember(poseScene)
            if estimate is not None:
                self._estimates[_estimateKey(poseScene.landmarks_node)] = estimate
            while len(self._estimates) > _MOST_ESTIMATES:
                del self._estimates[next(iter(self._estimates))]
        if self.volume is volume:
            fits = poseScene is not None and pose_ownership.isOf(poseScene.landmarks_node, volume)
            self._parameters.landmarks = poseScene.landmarks_node if fits else self._poseOf(volume)
        self.follow()
        self._views.refresh()
        self._tell(Change.POSE_SHOWN)

    def lastOther(self, poses: list[Any]) -> Any:
        """Of the volumes of these poses, without the chosen one, the one last on show, or the newest; None without."""
        others = [one for one in map(ownership.volume_of, poses) if one is not None and one is not self.volume]
        recent = list(self._last)
        return max(others, key=lambda one: recent.index(one.GetID()) if one.GetID() in recent else -1, default=None)

    # --- undo and redo

    def beforeStep(self) -> None:
        """The scene is about to go back or forth by a step."""
        self._beforeStep = _states()

    def afterStep(self) -> list[Any]:
        """The scene went back or forth: an estimate may have come back.

        Returns:
            What changed out of sight: other volumes than the chosen one, and landmarks without a volume.
        """
        after, before = _states(), self._beforeStep
        changed = [key for key in before.keys() | after.keys() if before.get(key) != after.get(key)]
        byID = slicer.mrmlScene.GetNodeByID
        owners = {key: byID((after.get(key) or before[key])[0] or "") or byID(key) for key in sorted(changed)}
        self._logic.restoreAfterUndo()
        if self._parameters is not None and self.poseScene is None and changed:
            self._parameters.landmarks = self._poseOf(self.volume) or self._parameters.landmarks
        self.follow()
        self._views.refresh()
        shown = [self.volume, self.poseScene.landmarks_node if self.poseScene is not None else None]
        return [node for node in dict.fromkeys(owners.values()) if node is not None and node not in shown]

    # --- what is on show

    def _show(self, poseScene) -> bool:
        """Put a pose, or none, on show; true if it is another one."""
        if poseScene is not None and ownership.volume_of(poseScene.landmarks_node) is not None:
            self._remember(poseScene)
        changed = poseScene is not self.poseScene
        if changed:
            self._watch(poseScene)
        if self._parameters is not None:
            self._views.show_only(poseScene)
        return changed

    def _remember(self, poseScene) -> None:
        """The volume last on show comes last."""
        identifier = poseScene.volume_node.GetID()
        self._last.pop(identifier, None)
        self._last[identifier] = poseScene.landmarks_node.GetID()

    def _watch(self, poseScene) -> None:
        self._stopWatching()
        self._stopWatching = poseScene.add_listener(self._onPoseChanged) if poseScene is not None else _nothing
        self.poseScene, self._problem = poseScene, ""

    def _onPoseChanged(self, poseScene) -> None:
        """On every move of a landmark, and when the pose leaves the scene (removed, undone, scene closed)."""
        if poseScene.is_open:
            self._sayProblem(poseScene)
            self._tell(Change.POSE_MOVED)
        else:
            self._show(None)
            self._tell(Change.POSE_SHOWN)

    def _sayProblem(self, poseScene) -> None:
        """Points were added, deleted or renamed elsewhere in Slicer, or that was undone."""
        problem, before = poseScene.problem, self._problem
        self._problem = problem
        if problem and problem != before:
            text = _("The point list no longer holds the landmarks: {0}. Undo that, or estimate the pose anew.")
            self._complain(text.format(problem))
        elif before and not problem:
            self._complain("")

    def _followFrames(self, volume) -> None:
        """Watch which frame the chosen volume shows: a pose of one frame is not shown on another."""
        if self._browser is not None:
            browser, tag = self._browser
            browser.RemoveObserver(tag)
        browser = pose_ownership.browserOf(volume)
        tag = browser.AddObserver(vtk.vtkCommand.ModifiedEvent, self._onBrowser) if browser is not None else 0
        self._browser = (browser, tag) if browser is not None else None

    def _onBrowser(self, caller, event) -> None:
        if caller.GetSelectedItemNumber() != self._frame:
            self.follow()


def _identifiers(parameters) -> tuple[str, str, str]:
    chosen = parameters.inputVolume, parameters.landmarks, parameters.sequenceBrowser
    return tuple(node.GetID() if node is not None else "" for node in chosen)


def _estimateKey(landmarks) -> tuple[str, str]:
    """Undo may bring back an earlier estimate into the same landmarks."""
    return landmarks.GetID(), landmarks.GetAttribute(ESTIMATE_ATTRIBUTE) or ""


def _states() -> dict[str, tuple[str | None, tuple[Any, ...]]]:
    """Volume and state of all poses by the ID of their landmarks."""
    return {
        node.GetID(): (
            node.GetNodeReferenceID(pose_nodes.VOLUME_REFERENCE),
            (pose_nodes.local_positions(node).tobytes(), *map(node.GetAttribute, ATTRIBUTES)),
        )
        for node in ownership.all_poses(slicer.mrmlScene)
    }
