"""From a sequence of volumes to the poses of all its frames in the scene: the logic for 4D, without Qt."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.errors import Cancelled, InputError
from FetusMapV2Lib.core.jobs import Job
from FetusMapV2Lib.core.progress import OnProgress, ShouldCancel
from FetusMapV2Panel import pose_ownership
from FetusMapV2Panel.estimation import EngineLoader, PoseEstimation
from FetusMapV2Panel.parameters import Settings
from FetusMapV2Panel.translations import translator

if TYPE_CHECKING:
    from FetusMapV2Lib.estimation.estimate import Estimate
    from FetusMapV2Lib.scene.pose_sequence import PoseSequence
    from FetusMapV2Lib.scene.volume_sequences import VolumeFrames
    from FetusMapV2Panel.nodes import BrowserNode, LandmarksNode

_ = translator(__name__)


@dataclass
class SequenceOutcome:
    """The estimates of all frames and, if there is a fetus in one of them, their live nodes."""

    browser: BrowserNode
    estimates: tuple[Estimate, ...]
    poseSequence: PoseSequence | None

    @property
    def found(self) -> int:
        """Number of frames with a fetus beyond doubt."""
        return sum(estimate.found for estimate in self.estimates)

    @property
    def doubtful(self) -> int:
        """Number of frames in which it is doubtful whether there is a fetus; their poses are shown."""
        return sum(estimate.has_pose and not estimate.found for estimate in self.estimates)

    @property
    def reason(self) -> str:
        """Why there is no fetus in the first frame without one; empty if all have one."""
        return next((estimate.reason for estimate in self.estimates if not estimate.found), "")


class SequenceEstimation(PoseEstimation):
    """Estimates poses in volumes and in sequences of volumes.

    Args:
        engineLoader: see `PoseEstimation`.
    """

    def __init__(self, engineLoader: EngineLoader | None = None) -> None:
        super().__init__(engineLoader)
        self._poseSequences: dict[str, PoseSequence] = {}

    def processSequence(
        self,
        browser: BrowserNode | None,
        settings: Settings | None = None,
        frameInterval: float | None = None,
        onProgress: OnProgress | None = None,
        shouldCancel: ShouldCancel | None = None,
        showFrames: bool = False,
    ) -> Job[SequenceOutcome]:
        """A job that estimates the pose in every frame of a sequence browser and shows it in the browser's scene.

        An earlier estimate of the same sequence is replaced, corrections included. This cannot be undone: the undo
        history of the scene is cleared.

        Args:
            browser: sequence browser node that steps through volumes.
            settings: device, memory, refinement, model; the defaults if not given.
            frameInterval: seconds between frames in place of the sequence's own times.
            onProgress: see `PoseEstimation.process`.
            shouldCancel: see `PoseEstimation.process`.
            showFrames: let the browser show each frame while it is estimated, and at the end the one from before.

        Raises:
            UserError: by the job: there are no volumes, or the model or the device cannot be used.
            Cancelled: by the job: `shouldCancel` said yes or the sequence left the scene; the scene is as it was.
        """
        settings = settings or Settings()
        return Job(self._processSequence(browser, settings, frameInterval, onProgress, shouldCancel, showFrames))

    def _processSequence(
        self,
        browser: BrowserNode | None,
        settings: Settings,
        frameInterval: float | None,
        onProgress: OnProgress | None,
        shouldCancel: ShouldCancel | None,
        showFrames: bool,
    ) -> Generator[None, None, SequenceOutcome]:
        from FetusMapV2Lib.estimation.sequence import sequence_job
        from FetusMapV2Lib.scene.mirroring import is_handedness_corrected
        from FetusMapV2Lib.scene.volume_sequences import VolumeFrames
        from FetusMapV2Lib.scene.voxel_size import is_voxel_size_given

        if browser is None:
            raise InputError(_("no sequence is chosen"), remedy=_("Load and choose a 4D ultrasound volume"))
        frames = VolumeFrames(browser, spacing_given=is_voxel_size_given(None, browser))
        corrected = is_handedness_corrected(frames.proxy_node)
        frames.mirrored, frames.handedness_given = settings.mirrored != corrected, settings.mirrored or corrected
        before = browser.GetSelectedItemNumber()
        if showFrames:
            frames.on_read = browser.SetSelectedItemNumber
        try:
            estimates = yield from sequence_job(
                self.engine(settings.engine),
                frames,
                refine=settings.refine.mode,
                on_progress=onProgress,
                should_cancel=shouldCancel,
            )
        finally:
            if showFrames and browser.GetScene() is not None:
                browser.SetSelectedItemNumber(before)
        if browser.GetScene() is None:
            raise Cancelled("the sequence left the scene")
        shown = any(estimate.has_pose for estimate in estimates)
        if frames.proxy_node is not None:
            pose_ownership.recordFetusFound(frames.proxy_node, shown)
        poseSequence = self._showSequence(browser, frames, estimates, settings, frameInterval) if shown else None
        return SequenceOutcome(browser, estimates, poseSequence)

    def poseSequenceOf(self, browser: BrowserNode | None) -> PoseSequence | None:
        """The live poses of a browser, attached again after a scene was loaded; None if it has none yet."""
        from FetusMapV2Lib.scene.pose_sequence import PoseSequence
        from FetusMapV2Lib.scene.sequence_storage import landmark_sequence

        self._poseSequences = {key: one for key, one in self._poseSequences.items() if one.is_open}
        if browser is None:
            return None
        sequence = landmark_sequence(browser)
        proxy: LandmarksNode | None = browser.GetProxyNode(sequence) if sequence is not None else None
        if proxy is None:
            return None
        identifier = browser.GetID()
        if identifier not in self._poseSequences:
            self._poseSequences[identifier] = PoseSequence.attach(browser, default_schema(), self.poseSceneOf(proxy))
        return self._poseSequences[identifier]

    def _showSequence(
        self,
        browser: BrowserNode,
        frames: VolumeFrames,
        estimates: tuple[Estimate, ...],
        settings: Settings,
        frameInterval: float | None,
    ) -> PoseSequence:
        from FetusMapV2Lib.scene import undo_history
        from FetusMapV2Lib.scene.mirroring import set_handedness_corrected
        from FetusMapV2Lib.scene.node_names import node_name
        from FetusMapV2Lib.scene.pose_sequence import PoseSequence

        poses = [estimate.pose for estimate in estimates]
        model = next((estimate.model for estimate in estimates if estimate.model), "")
        set_handedness_corrected(frames.proxy_node, settings.mirrored)
        poseSequence = self.poseSequenceOf(browser)
        if poseSequence is not None:
            poseSequence.set_poses(poses, model)
            poseSequence.frame_interval_s = frameInterval
        else:
            name = _("{0} fetus").format(node_name(frames.proxy_node))
            poseSequence = PoseSequence.create(browser, poses, name=name, model=model, frame_interval_s=frameInterval)
            self._poseSequences[browser.GetID()] = poseSequence
            self.keepPoseScene(poseSequence.pose_scene)
        scene = browser.GetScene()
        assert scene is not None
        undo_history.clear(scene)
        return poseSequence
