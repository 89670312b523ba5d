"""`SequenceCase`: the open case where it is 4D: frames to choose from, each with its own pose and answer."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from FetusMapV2Lib.anatomy.movement import Movement
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.imaging.edit_log import Edit
from FetusMapV2Lib.imaging.study import Study
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.scene import undo_history
from FetusMapV2Lib.scene.hand_measures import HandMeasures
from FetusMapV2Lib.scene.landmark_writing import adopt_landmarks
from FetusMapV2Lib.scene.pose_scene import PoseScene
from FetusMapV2Lib.serving.answer import Answer, KeptPose
from FetusMapV2Lib.serving.case_frames import CaseFrames, HeldFrames
from FetusMapV2Lib.serving.open_case import NOTHING_BY_HAND, OpenCase


class SequenceCase(OpenCase):
    """A sequence of volumes with the pose of each, in a scene of its own.

    The page is told of a step when volume and landmarks are those of one frame, not in between.

    Attributes:
        frames: the frames.

    Args:
        frames: all volumes.
        source: see `OpenCase`.
        on_pose: see `OpenCase`; also called after a step to another frame.
        on_view: see `OpenCase`.
        on_grabbed: see `OpenCase`.
        study: see `OpenCase`.
    """

    def __init__(
        self,
        frames: HeldFrames,
        source: Path,
        on_pose: Callable[[], None],
        on_view: Callable[[str], None],
        on_grabbed: Callable[[int], None] = lambda row: None,
        study: Study | None = None,
    ) -> None:
        self._held, self._is_between = frames, False

        def on_pose_of_one_frame() -> None:
            if not self._is_between:
                on_pose()

        super().__init__(frames.first, source, on_pose_of_one_frame, on_view, on_grabbed, study)
        self.name, self.frame_count = self.frames.name, len(self.frames)
        del self._held  # the nodes have the voxels

    def _add_volume(self) -> Any:
        self.frames = CaseFrames(self.scene, self._held, self.source)
        return self.frames.volumes.proxy_node

    # --- what is shown

    @property
    def frame(self) -> int:
        """The shown frame, from 0."""
        return self.frames.shown

    @property
    def volume(self) -> Volume:
        """The volume of the shown frame; see `OpenCase.volume`."""
        return self.frames.volume()

    @property
    def file_name(self) -> str:
        """The name of the shown frame."""
        return self.frames.frame_name(self.frame)

    @property
    def poses(self) -> PoseScene | None:
        """The live nodes of the pose; None if the shown frame has none."""
        return None if self._poses is None or self._poses.current().is_empty else self._poses

    def movement(self) -> Movement | None:
        """The movement between the poses; None with fewer than two."""
        return self.frames.movement()

    def show_frame(self, frame: int) -> None:
        """Show another frame: its volume, its pose if it has one, and nothing of the one before."""
        if frame == self.frame:
            return
        self.stop_placing()
        with self._step():
            self.frames.show(frame)

    # --- poses

    def show_all(self, estimates: Sequence[Estimate]) -> None:
        """Show the answers of the engine for all frames in place of all before; this cannot be undone."""
        self.answers = {frame: Answer.of(estimate) for frame, estimate in enumerate(estimates)}
        model = next((estimate.model for estimate in estimates if estimate.model), "")
        with self._step():
            self._start()
            self.frames.set_poses([estimate.pose for estimate in estimates], model)
            undo_history.clear(self.scene)
            undo_history.enable(self.scene)
            if self.poses is not None:
                self._turn_views()

    def restore(
        self,
        landmarks: Mapping[int, Path],
        edits: Sequence[Edit] = (),
        by_hand: Mapping[int, HandMeasures] = NOTHING_BY_HAND,
    ) -> None:
        """Show poses that were saved; see `OpenCase.restore`."""
        for frame, path in landmarks.items():
            if not 0 <= frame < self.frame_count:
                raise InputError("this file is of a frame that the volume does not have", where=path)
        with self._step():
            nodes = {frame: self._loaded(path) for frame, path in landmarks.items()}
            for frame, node in nodes.items():
                adopt_landmarks(node, default_schema())
                by_hand.get(frame, HandMeasures()).save(node)
            self._start()
            self.frames.restore(nodes)
            for node in nodes.values():
                self.scene.RemoveNode(node)
            assert self._poses is not None
            self._poses.edit_log.restore(edits)
            if self.poses is not None:
                self._turn_views()

    def poses_by_frame(self) -> dict[int, KeptPose]:
        """The pose of each frame that has one, as it is now."""
        return self.frames.kept()

    def close(self) -> None:
        """Release scene and views."""
        self.frames.close()
        super().close()

    # --- helpers

    def _start(self) -> None:
        """From now on there are nodes for the poses, also where a frame has none."""
        if self._poses is None:
            self._keep(self.frames.start().pose_scene)

    def _show_pose(self, estimate: Estimate) -> None:
        self._start()
        super()._show_pose(estimate)

    def _travel(self, go: Callable[[Any], None]) -> None:
        """Undo or redo; the step leads to the frame in which it was made."""
        with self._step():
            super()._travel(go)

    def _close_pose(self) -> None:
        """Remove the pose of the shown frame; the result is that there is none."""
        self.frames.clear_shown()
        undo_history.clear(self.scene)
        self._on_pose()

    @contextlib.contextmanager
    def _step(self) -> Iterator[None]:
        """Outlines of another frame are hidden after the block, until those of the shown one are found."""
        before, self._is_between = self.frame, True
        try:
            yield
        finally:
            self._is_between = False
        if self._poses is not None and before != self.frame:
            self._poses.sections.show(None)
        self._searched = None
        self._on_pose()
