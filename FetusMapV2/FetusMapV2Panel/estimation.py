"""From a volume node to pose nodes in the scene: the part of the module's logic that estimates, without Qt."""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import slicer

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.errors import Cancelled, InputError
from FetusMapV2Lib.core.jobs import Job
from FetusMapV2Lib.core.progress import OnProgress, ShouldCancel
from FetusMapV2Panel import other_fetuses, pose_ownership, requirements, view_orientation
from FetusMapV2Panel.parameters import EngineSettings, Settings
from FetusMapV2Panel.translations import translator

if TYPE_CHECKING:
    from FetusMapV2Lib.estimation.estimate import Estimate
    from FetusMapV2Lib.estimation.requests import Engine
    from FetusMapV2Lib.estimation.resource_estimate import ResourceEstimate
    from FetusMapV2Lib.imaging.volume import Volume
    from FetusMapV2Lib.scene.pose_scene import PoseScene
    from FetusMapV2Panel.nodes import BrowserNode, LandmarksNode, VolumeNode

_ = translator(__name__)

#: Gives an engine for settings.
EngineLoader = Callable[[EngineSettings], "Engine"]


@dataclass
class Outcome:
    """An estimate and, if there is a fetus, its live nodes.

    Attributes:
        inputVolume: the volume node that was estimated.
        estimate: what the engine answered.
        poseScene: the live nodes of the pose, None without a fetus.
        others: the live nodes of further fetuses in the volume, in the order of `Estimate.others`.
        seconds: how long it took.
        frame: the frame of a sequence that was estimated; None for a single volume.
        mirrored: whether the volume was taken as mirrored.
    """

    inputVolume: VolumeNode
    estimate: Estimate
    poseScene: PoseScene | None
    others: tuple[PoseScene, ...] = ()
    seconds: float = 0.0
    frame: int | None = None
    mirrored: bool = False


def loadEngine(settings: EngineSettings) -> Engine:
    """An engine in a process of its own, which cannot take Slicer with it when it fails.

    Raises:
        UserError: Python packages are missing.
    """
    requirements.require()
    from FetusMapV2Lib.remote.client import RemoteEngine

    # inside Slicer, sys.executable is Slicer itself
    python = shutil.which("PythonSlicer") or sys.executable
    return RemoteEngine(settings.model, settings.device, settings.memoryBudget, python=python)


class PoseEstimation:
    """Estimates and refines poses; keeps the engine loaded between cases, and one `PoseScene` per pose.

    Args:
        engineLoader: gives an engine for settings; by default one in a process of its own.
    """

    def __init__(self, engineLoader: EngineLoader | None = None) -> None:
        self._engineLoader: EngineLoader = engineLoader or loadEngine
        self._engines: dict[EngineSettings, Engine] = {}
        self._poseScenes: dict[str, PoseScene] = {}

    def process(
        self,
        inputVolume: VolumeNode | None,
        landmarks: LandmarksNode | None = None,
        settings: Settings | None = None,
        onProgress: OnProgress | None = None,
        shouldCancel: ShouldCancel | None = None,
    ) -> Job[Outcome]:
        """A job that estimates the pose in a volume node and shows it in the node's scene.

        A script waits for it with ``process(...).result()``, the panel's event loop carries it on.

        Args:
            inputVolume: scalar or vector volume node; its parent transform counts.
            landmarks: a landmarks node of an earlier estimate of this volume to put the result into, or None.
            settings: device, memory, refinement, model; the defaults if not given.
            onProgress: called with the fraction done and the name of the stage.
            shouldCancel: asked at every step.

        Raises:
            UserError: by the job: the volume, the model or the device cannot be used.
            Cancelled: by the job: `shouldCancel` said yes or the volume left the scene; the scene is as it was.
        """
        return Job(self._process(inputVolume, landmarks, settings or Settings(), onProgress, shouldCancel))

    def _process(
        self,
        inputVolume: VolumeNode | None,
        landmarks: LandmarksNode | None,
        settings: Settings,
        onProgress: OnProgress | None,
        shouldCancel: ShouldCancel | None,
    ) -> Generator[None, None, Outcome]:
        from FetusMapV2Lib.estimation.requests import EstimateRequest

        started = time.monotonic()
        if inputVolume is None:
            raise InputError(_("no volume is chosen"), remedy=_("Load and choose an ultrasound volume"))
        _report(onProgress, _("reading the volume"))
        volume, frame = _volumeOf(inputVolume, settings.mirrored), pose_ownership.shownFrame(inputVolume)
        _report(onProgress, _("loading the model"))
        request = EstimateRequest(volume, refine=settings.refine.mode)
        estimate = yield from self.engine(settings.engine).submit(request, onProgress, shouldCancel)
        if inputVolume.GetScene() is None:
            raise Cancelled("the volume left the scene")
        seconds = time.monotonic() - started
        outcome = Outcome(inputVolume, estimate, None, seconds=seconds, frame=frame, mirrored=settings.mirrored)
        return self._shown(outcome, landmarks)

    def showSeen(self, outcome: Outcome, landmarks: LandmarksNode | None = None) -> Outcome:
        """Show, as doubtful, what the network saw where it found no fetus.

        Args:
            outcome: of `process`, without a fetus.
            landmarks: see `process`.
        """
        return self._shown(replace(outcome, estimate=outcome.estimate.showing_what_was_seen()), landmarks)

    def _shown(self, outcome: Outcome, landmarks: LandmarksNode | None) -> Outcome:
        """The outcome with its pose in the scene, if it has one."""
        volume, frame, estimate = outcome.inputVolume, outcome.frame, outcome.estimate
        with _atFrame(pose_ownership.browserOf(volume), frame):
            pose_ownership.recordFetusFound(volume, estimate.has_pose, frame)
            if not estimate.has_pose:
                return outcome
            poseScene, others = self._show(estimate, volume, landmarks, outcome.mirrored)
            return replace(outcome, poseScene=poseScene, others=others)

    def refine(
        self,
        poseScene: PoseScene,
        inputVolume: VolumeNode | None = None,
        settings: Settings | None = None,
        onProgress: OnProgress | None = None,
        shouldCancel: ShouldCancel | None = None,
    ) -> Job[Estimate]:
        """A job that refines a pose around its landmarks set by hand: edited, confirmed or locked; these do not move.

        Args:
            poseScene: the live nodes of the pose; the result goes into them, as one step that can be undone.
            inputVolume: its volume, if the pose does not know it.
            settings: device, memory, model; the defaults if not given.
            onProgress: see `process`.
            shouldCancel: see `process`.

        Raises:
            UserError: by the job: no landmark is set by hand, there is no volume, or the engine refuses.
            Cancelled: by the job: `shouldCancel` said yes or the pose left the scene; the scene is as it was.
        """
        return Job(self._refine(poseScene, inputVolume, settings or Settings(), onProgress, shouldCancel))

    def _refine(
        self,
        poseScene: PoseScene,
        inputVolume: VolumeNode | None,
        settings: Settings,
        onProgress: OnProgress | None,
        shouldCancel: ShouldCancel | None,
    ) -> Generator[None, None, Estimate]:
        from FetusMapV2Lib.estimation.estimate import Estimate
        from FetusMapV2Lib.estimation.requests import RefineRequest
        from FetusMapV2Lib.scene.editing import LandmarkEditor
        from FetusMapV2Lib.scene.mirroring import is_handedness_corrected

        editor = LandmarkEditor(poseScene)
        pinned = editor.pinned()
        if not pinned:
            remedy = _("Drag a landmark to its place, or confirm one, and try again")
            raise InputError(_("no landmark is set by hand yet"), remedy=remedy)
        volumeNode = poseScene.volume_node or inputVolume
        if volumeNode is None:
            raise InputError(_("the volume of this pose is not in the scene"), remedy=_("Load and choose it"))
        _report(onProgress, _("reading the volume"))
        volume = _volumeOf(volumeNode, is_handedness_corrected(volumeNode))
        _report(onProgress, _("loading the model"))
        request = RefineRequest(volume, Estimate.given(poseScene.pose(), poseScene.model), tuple(pinned))
        refined = yield from self.engine(settings.engine).submit(request, onProgress, shouldCancel)
        if not poseScene.is_open:
            raise Cancelled("the pose left the scene")
        editor.apply_refinement(refined.pose)
        return refined

    def resources(self, inputVolume: VolumeNode, settings: Settings) -> Job[ResourceEstimate | None]:
        """A job that asks the engine what an estimate of a volume node would take; None for a node without an image.

        Raises:
            UserError: by the job: the model or the device cannot be used.
        """
        return Job(self._resources(inputVolume, settings))

    def _resources(self, inputVolume: VolumeNode, settings: Settings) -> Generator[None, None, ResourceEstimate | None]:
        from FetusMapV2Lib.estimation.requests import ResourceRequest

        image = inputVolume.GetImageData()
        if image is None:
            return None
        request = ResourceRequest(image.GetNumberOfPoints(), settings.refine.mode)
        return (yield from self.engine(settings.engine).submit(request))

    def installModels(self, folder: Path) -> Job[list[str]]:
        """A job that copies the models of a folder into the user's data folder and gives the names of the new ones.

        Raises:
            UserError: by the job: one is no good model, or the data folder cannot be written to.
        """
        return Job(self._installModels(folder))

    def _installModels(self, folder: Path) -> Generator[None, None, list[str]]:
        from FetusMapV2Lib.estimation.requests import InstallRequest
        from FetusMapV2Lib.models.model_index import list_models

        known = {entry.name for entry in list_models()}
        new = [path for path in sorted(folder.glob("*.safetensors")) if path.stem not in known]
        for path in new:
            yield from self.engine(EngineSettings()).submit(InstallRequest(str(path), path.stem))
        return [path.stem for path in new]

    def engine(self, settings: EngineSettings) -> Engine:
        """The engine for these settings, which stays loaded; one at a time, as a GPU holds one model."""
        if settings not in self._engines:
            self.close()
            self._engines = {settings: self._engineLoader(settings)}
        return self._engines[settings]

    def useEngines(self, engineLoader: EngineLoader) -> EngineLoader:
        """Take engines from another loader from now on; returns the previous one."""
        self.close()
        before, self._engineLoader = self._engineLoader, engineLoader
        return before

    def poseSceneOf(self, landmarks: LandmarksNode) -> PoseScene:
        """The live nodes around a landmarks node, attached again after a scene was loaded.

        Raises:
            UserError: the node does not hold the 22 landmarks.
        """
        from FetusMapV2Lib.scene.pose_scene import PoseScene

        self._forgetRemoved()
        identifier, scene = landmarks.GetID(), landmarks.GetScene()
        assert scene is not None
        if identifier not in self._poseScenes:
            self.keepPoseScene(PoseScene.attach(scene, landmarks, default_schema()))
        return self._poseScenes[identifier]

    def keepPoseScene(self, poseScene: PoseScene) -> None:
        """Make this the `PoseScene` of its landmarks."""
        poseScene.update_context = view_orientation.pausedRendering
        self._poseScenes[poseScene.landmarks_node.GetID()] = poseScene

    def restoreAfterUndo(self) -> None:
        """Mirror landmarks that undo or redo has restored from before the handedness of their volume was corrected."""
        from FetusMapV2Lib.scene import ownership
        from FetusMapV2Lib.scene.mirroring import rejoin

        for landmarks in ownership.all_poses(slicer.mrmlScene):
            volume = ownership.volume_of(landmarks)
            if volume is not None:
                rejoin(volume, landmarks)

    def modelOf(self, landmarks: LandmarksNode) -> str:
        """Name and checksum of the model that estimated these landmarks; empty if unknown."""
        return self.poseSceneOf(landmarks).model

    def close(self) -> None:
        """Release the engine; the next request loads it again."""
        for engine in self._engines.values():
            engine.close()
        self._engines = {}

    def _show(
        self, estimate: Estimate, inputVolume: VolumeNode, landmarks: LandmarksNode | None, mirrored: bool
    ) -> tuple[PoseScene, tuple[PoseScene, ...]]:
        """The live nodes of the pose, and those of further fetuses, as one step that can be undone."""
        from FetusMapV2Lib.scene import undo_history
        from FetusMapV2Lib.scene.mirroring import set_handedness_corrected
        from FetusMapV2Lib.scene.node_names import node_name

        scene = inputVolume.GetScene()
        assert scene is not None
        self._forgetRemoved()
        set_handedness_corrected(inputVolume, mirrored)
        undo_history.enable(scene)
        undo_history.save_state(scene)
        name = _("{0} fetus").format(node_name(inputVolume))
        # before the first one: of the poses of a volume the newest is shown
        others = tuple(self._showOther(one, inputVolume, name, n) for n, one in enumerate(estimate.others, start=2))
        poseScene = self._poseSceneToUpdate(landmarks, inputVolume)
        if poseScene is not None:
            poseScene.set_pose(estimate.pose, estimate.model)
        else:
            poseScene = self._create(estimate, inputVolume, name)
        other_fetuses.recordCount(poseScene.landmarks_node, 1 + len(others))
        return poseScene, others

    def _showOther(self, estimate: Estimate, inputVolume: VolumeNode, name: str, number: int) -> PoseScene:
        """The live nodes of a further fetus: those of an earlier estimate with that number, or new ones."""
        known = other_fetuses.landmarksOf(inputVolume, number)
        if known is not None:
            poseScene = self.poseSceneOf(known)
            poseScene.set_pose(estimate.pose, estimate.model)
            return poseScene
        poseScene = self._create(estimate, inputVolume, other_fetuses.nameOf(name, number))
        other_fetuses.recordNumber(poseScene.landmarks_node, number)
        return poseScene

    def _create(self, estimate: Estimate, inputVolume: VolumeNode, name: str) -> PoseScene:
        from FetusMapV2Lib.scene.pose_scene import PoseScene

        scene = inputVolume.GetScene()
        assert scene is not None
        poseScene = PoseScene.create(scene, estimate.pose, volume_node=inputVolume, name=name, model=estimate.model)
        self.keepPoseScene(poseScene)
        pose_ownership.recordFrame(poseScene.landmarks_node, pose_ownership.shownFrame(inputVolume))
        return poseScene

    def _poseSceneToUpdate(self, landmarks: LandmarksNode | None, inputVolume: VolumeNode) -> PoseScene | None:
        """The pose to write the result into; never one of another volume or frame."""
        if landmarks is None or not pose_ownership.belongsTo(landmarks, inputVolume):
            return None
        first = other_fetuses.firstOf(inputVolume) if other_fetuses.isOther(landmarks) else landmarks
        return None if first is None else self.poseSceneOf(first)

    def _forgetRemoved(self) -> None:
        for identifier, poseScene in list(self._poseScenes.items()):
            if not poseScene.is_open:
                del self._poseScenes[identifier]


@contextlib.contextmanager
def _atFrame(browser: BrowserNode | None, frame: int | None) -> Iterator[None]:
    """Show a frame for the time being; the user may have turned to another one."""
    if browser is None or frame is None or browser.GetSelectedItemNumber() == frame:
        yield
        return
    now = browser.GetSelectedItemNumber()
    browser.SetSelectedItemNumber(frame)
    try:
        yield
    finally:
        browser.SetSelectedItemNumber(now)


def _report(onProgress: OnProgress | None, stage: str) -> None:
    if onProgress is not None:
        onProgress(0.0, stage)


def _volumeOf(node: VolumeNode, mirrored: bool) -> Volume:
    """The checked volume of a node; `mirrored`: as it is when its handedness is corrected."""
    from FetusMapV2Lib.imaging.volume_checks import checked
    from FetusMapV2Lib.scene.mirroring import is_handedness_corrected
    from FetusMapV2Lib.scene.volume_nodes import volume_from_node
    from FetusMapV2Lib.scene.voxel_size import is_voxel_size_given

    given = is_voxel_size_given(node, pose_ownership.browserOf(node))
    corrected = is_handedness_corrected(node)
    volume = checked(volume_from_node(node), spacing_given=given, handedness_given=mirrored or corrected)
    return volume if mirrored == corrected else volume.mirrored()
