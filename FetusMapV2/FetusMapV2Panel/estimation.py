"""From a volume node to pose nodes in the scene: the Qt-free core of the module's logic."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from slicer.i18n import tr as _

from FetusMapV2Lib.foundation.errors import Cancelled, InputError
from FetusMapV2Panel import requirements
from FetusMapV2Panel.parameters import Device


@dataclass
class Outcome:
    """One estimate and, if there is a fetus, its live nodes."""

    inputVolume: Any
    estimate: Any
    poseScene: Any | None


def loadEngine(device: str):
    """The engine with the default model on a device, in a process of its own: whatever happens there, Slicer lives."""
    requirements.require()
    from FetusMapV2Lib.estimation.remote import RemoteEngine

    # inside Slicer, sys.executable is Slicer itself
    return RemoteEngine(device=device, python=shutil.which("PythonSlicer") or sys.executable)


class PoseEstimation:
    """Keeps the engine warm between cases and the pose scenes alive while their nodes live."""

    def __init__(self, engineLoader: Callable[[str], Any] | None = None):
        self._engineLoader = engineLoader or loadEngine
        self._engines: dict[str, Any] = {}
        self._poseScenes: dict[str, Any] = {}

    def process(
        self,
        inputVolume,
        landmarks=None,
        device: Device = Device.AUTO,
        onProgress: Callable[[float, str], None] | None = None,
        shouldCancel: Callable[[], bool] | None = None,
    ) -> Outcome:
        """Estimate the pose in a volume node and show it in the node's scene.

        Args:
            inputVolume: scalar or vector volume node; its parent transform counts.
            landmarks: a landmarks node of an earlier estimate of this volume to put the result into, or None.
            device: where the network runs.

        Raises:
            UserError: the volume, the model or the device cannot be used.
            Cancelled: `shouldCancel` said yes or the volume left the scene; the scene is as it was.
        """
        if inputVolume is None:
            raise InputError(_("no volume is chosen"), remedy=_("Load and choose an ultrasound volume"))
        engine, volume = self._engineAndVolume(device, inputVolume, onProgress)
        estimate = engine.estimate(volume, on_progress=onProgress, should_cancel=shouldCancel)
        if inputVolume.GetScene() is None:
            raise Cancelled("the volume left the scene")
        if not estimate.found:
            return Outcome(inputVolume, estimate, None)
        return Outcome(inputVolume, estimate, self._show(estimate, inputVolume, landmarks))

    def refine(
        self,
        poseScene,
        inputVolume=None,
        device: Device = Device.AUTO,
        onProgress: Callable[[float, str], None] | None = None,
        shouldCancel: Callable[[], bool] | None = None,
    ):
        """Refine a pose around its landmarks that were set by hand: edited, confirmed or locked; these do not move.

        Args:
            poseScene: the live nodes of the pose; the result goes into them, as one step that can be undone.
            inputVolume: its volume, if the pose does not know it.
            device: where the network runs.

        Returns:
            The refined estimate.

        Raises:
            UserError: no landmark is set by hand, there is no volume, or the engine refuses.
            Cancelled: `shouldCancel` said yes or the pose left the scene; the scene is as it was.
        """
        from FetusMapV2Lib.estimation.estimate import Estimate
        from FetusMapV2Lib.scene.editing import LandmarkEditor

        editor = LandmarkEditor(poseScene)
        pinned = editor.pinned()
        if not pinned:
            remedy = _("Drag a landmark to its place, or confirm one, and try again")
            raise InputError(_("no landmark is set by hand yet"), remedy=remedy)
        volumeNode = poseScene.volume_node or inputVolume
        if volumeNode is None:
            raise InputError(_("the volume of this pose is not in the scene"), remedy=_("Load and choose it"))
        engine, volume = self._engineAndVolume(device, volumeNode, onProgress)
        estimate = Estimate.given(poseScene.pose(), poseScene.model)
        refined = engine.refine(volume, estimate, pinned, on_progress=onProgress, should_cancel=shouldCancel)
        if not poseScene.is_open:
            raise Cancelled("the pose left the scene")
        editor.take_refined(refined.pose)
        return refined

    def poseSceneOf(self, landmarks):
        """The live nodes around a landmarks node, attached again after a scene was loaded.

        Raises:
            UserError: the node does not hold the 22 landmarks.
        """
        from FetusMapV2Lib.scene.pose_scene import PoseScene

        self._forgetRemoved()
        identifier = landmarks.GetID()
        if identifier not in self._poseScenes:
            self._poseScenes[identifier] = PoseScene.attach(landmarks.GetScene(), landmarks)
        return self._poseScenes[identifier]

    def modelOf(self, landmarks) -> str:
        """Name and checksum of the model that made these landmarks, if known."""
        return self.poseSceneOf(landmarks).model

    def close(self) -> None:
        """End the engine's process; the next estimate starts a new one."""
        for engine in self._engines.values():
            if hasattr(engine, "close"):
                engine.close()
        self._engines = {}

    def _engineAndVolume(self, device: Device, volumeNode, onProgress):
        from FetusMapV2Lib.imaging.checks import checked
        from FetusMapV2Lib.scene.volumes import volume_from_node

        report = onProgress or (lambda fraction, stage: None)
        report(0.0, _("reading the volume"))
        volume = checked(volume_from_node(volumeNode))
        report(0.0, _("loading the model"))
        return self._engine(device.value), volume

    def _engine(self, device: str):
        if device not in self._engines:
            self.close()
            self._engines = {device: self._engineLoader(device)}  # one at a time: a GPU holds one model
        return self._engines[device]

    def _show(self, estimate, inputVolume, landmarks):
        from FetusMapV2Lib.scene import history
        from FetusMapV2Lib.scene.pose_scene import PoseScene

        scene = inputVolume.GetScene()
        self._forgetRemoved()
        history.turn_on(scene)
        history.keep(scene)
        poseScene = self._poseSceneToUpdate(landmarks, inputVolume)
        if poseScene is not None:
            poseScene.set_pose(estimate.pose, estimate.model)
        else:
            name = _("{0} fetus").format(inputVolume.GetName())
            poseScene = PoseScene.create(scene, estimate.pose, volume_node=inputVolume, name=name, model=estimate.model)
            self._poseScenes[poseScene.landmarks_node.GetID()] = poseScene
        return poseScene

    def _poseSceneToUpdate(self, landmarks, inputVolume):
        """Another volume's landmarks are never overwritten."""
        if landmarks is None:
            return None
        poseScene = self.poseSceneOf(landmarks)
        return poseScene if poseScene.volume_node is inputVolume else None

    def _forgetRemoved(self) -> None:
        for identifier, poseScene in list(self._poseScenes.items()):
            if not poseScene.is_open:
                del self._poseScenes[identifier]
