"""`OpenCase`: the one patient that a tab shows: volume, scene, views, pose, and the steps on it. Without trame."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.estimation.requests import RefineRequest
from FetusMapV2Lib.imaging.edit_log import Edit
from FetusMapV2Lib.imaging.head_abdomen import measure_head_and_abdomen
from FetusMapV2Lib.imaging.markups import read_markups
from FetusMapV2Lib.imaging.study import Study
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.presenting.translation import translator
from FetusMapV2Lib.scene import ownership, undo_history
from FetusMapV2Lib.scene.control_points import grabbed_row
from FetusMapV2Lib.scene.editing import LandmarkEditor
from FetusMapV2Lib.scene.hand_measures import HandMeasures
from FetusMapV2Lib.scene.live_views import LiveViews
from FetusMapV2Lib.scene.observations import Observations
from FetusMapV2Lib.scene.placement import Placement
from FetusMapV2Lib.scene.pose_scene import PoseScene
from FetusMapV2Lib.scene.pose_visibility import PoseVisibility
from FetusMapV2Lib.scene.scene_files import application_of, close_scene, new_scene
from FetusMapV2Lib.scene.volume_nodes import add_volume_node
from FetusMapV2Lib.serving.answer import Answer, KeptPose
from FetusMapV2Lib.serving.steps import STEPS

_ = translator(__name__)

#: Nobody has measured anything.
NOTHING_BY_HAND: Mapping[int, HandMeasures] = {}


class OpenCase:
    """A volume with its pose, in a scene of its own.

    Of a sequence (`SequenceCase`), what the methods show, change and return is of the shown frame.

    Attributes:
        name: of the case, as it is shown.
        source: the file or folder that it was read from.
        views: the four views of its scene.
        frame_count: 1, but for a sequence.
        answers: of the engine, by frame, from 0.

    Args:
        volume: the volume.
        source: the file or folder that it was read from.
        on_pose: called after every change of the pose.
        on_view: called with the name of a view that has to be drawn again.
        on_grabbed: called with the row of a landmark that the mouse has grabbed.
        study: patient and study of a DICOM volume.
    """

    frame_count = 1

    def __init__(
        self,
        volume: Volume,
        source: Path,
        on_pose: Callable[[], None],
        on_view: Callable[[str], None],
        on_grabbed: Callable[[int], None] = lambda row: None,
        study: Study | None = None,
    ) -> None:
        self.name, self._volume, self.source, self.study = volume.name, volume, source, study
        self.answers: dict[int, Answer] = {}
        self._poses: PoseScene | None = None
        self._editor: LandmarkEditor | None = None
        self._on_pose, self._on_grabbed = on_pose, on_grabbed
        self._grabs = Observations()
        self._searched: tuple[Any, ...] | None = None
        self._placement: Placement | None = None
        self.scene = new_scene()
        self._volume_node = self._add_volume()
        self.views = LiveViews(self.scene, on_view)
        self._visibility = PoseVisibility(self.scene)
        self.views.show_volume(self._volume_node)

    def _add_volume(self) -> Any:
        """Add the volume to the scene; the node in which it is shown."""
        return add_volume_node(self.scene, self._volume)

    # --- what is shown

    @property
    def frame(self) -> int:
        """The shown frame, from 0."""
        return 0

    @property
    def volume(self) -> Volume:
        """The volume.

        Raises:
            InputError: this frame of a sequence could not be read.
        """
        return self._volume

    @property
    def file_name(self) -> str:
        """The beginning of the names of files of what is shown."""
        return self.name

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is to be known of the file that it was read from."""
        return self._volume.warnings

    @property
    def answer(self) -> Answer:
        """What the engine has answered."""
        return self.answers.setdefault(self.frame, Answer())

    @property
    def estimate(self) -> Estimate | None:
        """The last answer of the engine; None before."""
        return self.answer.estimate

    @property
    def poses(self) -> PoseScene | None:
        """The live nodes of the pose; None without one."""
        return self._poses

    def show_frame(self, frame: int) -> None:
        """Show another frame of a sequence; a static volume has none."""

    # --- the pose

    @property
    def patient(self) -> str:
        """Name, date of birth and day of the study, where the volume has them."""
        if self.study is None:
            return ""
        born = _("born {0}").format(self.study.readable_birth_date) if self.study.readable_birth_date else ""
        named = (self.study.readable_name, self.study.patient_id, born, self.study.readable_date)
        return " · ".join(filter(None, named))

    def show(self, estimate: Estimate) -> None:
        """Show the answer of the engine; without a fetus an earlier pose goes, as it is not the result.

        Showing a pose is a step that can be undone.
        """
        self.answers[self.frame] = Answer.of(estimate)
        if not estimate.has_pose:
            self._close_pose()
            return
        self._show_pose(estimate)
        self._turn_views()

    def _show_pose(self, estimate: Estimate) -> None:
        undo_history.enable(self.scene)
        undo_history.save_state(self.scene)
        if self._poses is not None:
            self._poses.set_pose(estimate.pose, estimate.model)
        else:
            fetus = f"{self.name} fetus"
            self._keep(PoseScene.create(
                self.scene, estimate.pose, volume_node=self._volume_node, name=fetus, model=estimate.model
            ))  # fmt: skip

    def show_seen(self) -> None:
        """Show, as doubtful, what the network saw although it found no fetus.

        Raises:
            InputError: nothing was seen.
        """
        if self.estimate is None or self.estimate.seen is None:
            raise InputError("nothing was seen in this volume", where=self.name)
        self.show(self.estimate.showing_what_was_seen())

    def restore(
        self,
        landmarks: Mapping[int, Path],
        edits: Sequence[Edit] = (),
        by_hand: Mapping[int, HandMeasures] = NOTHING_BY_HAND,
    ) -> None:
        """Show a pose that was saved with the states of its landmarks, and what was done to them by hand.

        Args:
            landmarks: file by frame.
            edits: of all frames.
            by_hand: what a person measured besides, by frame.

        Raises:
            InputError: a file holds no landmarks of this schema, or is of a frame that does not exist.
        """
        node = self._loaded(landmarks[0])
        by_hand.get(0, HandMeasures()).save(node)
        poses = PoseScene.attach(self.scene, node, default_schema())
        ownership.assign_volume(node, self._volume_node)
        poses.edit_log.restore(edits)
        self._keep(poses)
        self._turn_views()

    def _loaded(self, path: Path) -> Any:
        read_markups(path)  # the checks, with their messages
        markups = application_of(self.scene).modules["Markups"]
        node = self.scene.GetNodeByID(markups.LoadMarkups(str(path), f"{self.name} fetus"))
        if node is None:
            raise InputError("the landmarks cannot be read", where=path, remedy="Estimate the pose again")
        return node

    def poses_by_frame(self) -> dict[int, KeptPose]:
        """The pose of each frame that has one, as it is now."""
        return {} if self.poses is None else {0: KeptPose(self.poses.current(), self.poses.sections.by_hand)}

    def edits(self) -> tuple[Edit, ...]:
        """What was done by hand to the landmarks of all frames."""
        return () if self._poses is None else self._poses.edit_log.edits()

    def edits_of_frame(self) -> tuple[Edit, ...]:
        """What was done by hand to the landmarks of the shown frame."""
        return tuple(edit for edit in self.edits() if edit.frame in (None, self.frame))

    # --- steps

    def step(self, name: str, rows: list[int]) -> None:
        """Take one of `STEPS`; nothing without a pose."""
        if self._editor is not None and self.poses is not None and name in STEPS:
            STEPS[name](self._editor, rows)

    def undo(self) -> None:
        """Undo one step."""
        self._travel(undo_history.undo)

    def redo(self) -> None:
        """Redo one step."""
        self._travel(undo_history.redo)

    @property
    def can_undo(self) -> bool:
        """Whether there is an earlier state."""
        return undo_history.can_undo(self.scene)

    @property
    def can_redo(self) -> bool:
        """Whether there is an undone state."""
        return undo_history.can_redo(self.scene)

    @property
    def is_placing(self) -> bool:
        """Whether the next click in a view places a landmark."""
        return self._placement is not None and self._placement.is_running

    def place(self, row: int) -> None:
        """Let the next click in a view place a landmark; `stop_placing` leaves it where it was."""
        self.stop_placing()
        if self.poses is not None:
            self._placement = Placement(self.poses, row, lambda placed: self._on_pose())

    def stop_placing(self) -> None:
        """Place no landmark any more."""
        if self._placement is not None:
            self._placement.cancel()
        self._placement = None

    def focus(self, row: int) -> None:
        """Turn the views to a landmark; nothing if it is missing."""
        position = self.poses.pose().positions[row] if self.poses is not None else np.full(3, np.nan)
        if np.isfinite(position).all():
            self.views.focus(position)

    def find_outlines(self) -> bool:
        """Search head and abdomen in the volume, unless that was done for this pose; true if it was done now."""
        if self.poses is None:
            return False
        pose = self.poses.pose()
        wanted = (self.poses, self.frame, pose.positions.tobytes(), pose.doubt)
        if wanted == self._searched:
            return False
        self._searched = wanted
        self.poses.sections.show(measure_head_and_abdomen(self.volume, pose))
        return True

    def name_groups(self, rows: list[int]) -> None:
        """Name the landmarks in the views that belong to the groups of these, and no others."""
        if self.poses is not None:
            schema = self.poses.schema
            groups = {schema.landmarks[row].group for row in rows}
            self.poses.show_names([one.row for one in schema.landmarks if one.group in groups])

    def refinement(self) -> RefineRequest:
        """What to ask the engine for a refinement around the landmarks that were set by hand.

        Raises:
            InputError: none was.
        """
        pinned = self._editor.pinned() if self._editor is not None else ()
        if self.poses is None or not pinned:
            remedy = "Drag a landmark to its place, or confirm one, and try again"
            raise InputError("no landmark is set by hand yet", remedy=remedy)
        return RefineRequest(self.volume, Estimate.given(self.poses.pose(), self.poses.model), tuple(pinned))

    def refined(self, estimate: Estimate) -> int:
        """Show a refinement; the number of landmarks that it moved."""
        if self.poses is None or self._editor is None:
            return 0
        before = self.poses.pose().positions
        self._editor.apply_refinement(estimate.pose)
        return int((np.nan_to_num(np.linalg.norm(self.poses.pose().positions - before, axis=1)) > 0).sum())

    def current(self) -> Estimate:
        """The pose as it is now, with device and warnings of its estimate.

        Raises:
            InputError: there is no pose.
        """
        if self.poses is None:
            raise InputError("there is no pose yet", where=self.name, remedy="Estimate it first")
        given = Estimate.given(self.poses.pose(), self.poses.model)
        return replace(given, device=self.answer.device, warnings=self.answer.warnings)

    def close(self) -> None:
        """Release scene and views."""
        self.stop_placing()
        self._on_pose = lambda: None
        self._grabs.clear()
        if self._poses is not None:
            self._poses.close()
        self._visibility.close()
        self.views.close()
        close_scene(self.scene)

    # --- helpers

    def _turn_views(self) -> None:
        """Show the planes of the fetus in the slices, and the upright fetus in 3D."""
        assert self.poses is not None
        pose = self.poses.pose()
        self.views.show_pose(pose)
        self.views.show_planes(pose)

    def _travel(self, go: Callable[[Any], None]) -> None:
        """Undo or redo; the step may take the pose away or bring it back."""
        self.stop_placing()
        go(self.scene)
        landmarks = ownership.poses_of(self.scene, self._volume_node)
        if self._poses is not None and not self._poses.is_open:
            self._poses = self._editor = None
        if self._poses is None and landmarks:
            self._keep(PoseScene.attach(self.scene, landmarks[-1], default_schema()))
        self._on_pose()

    def _keep(self, poses: PoseScene) -> None:
        self._poses, self._editor = poses, LandmarkEditor(poses)
        self._visibility.show_only(poses)
        self.name_groups([])
        poses.add_listener(lambda changed: self._on_pose())
        self._grabs.clear()
        self._grabs.observe(poses.landmarks_node, poses.landmarks_node.PointStartInteractionEvent, self._on_grab)
        self._on_pose()

    def _on_grab(self, caller: Any, event: str, index: Any = None) -> None:
        row = grabbed_row(caller)
        if row is not None:
            self._on_grabbed(row)

    def _close_pose(self) -> None:
        """Remove the pose; the result is that there is none."""
        poses, self._poses, self._editor = self._poses, None, None
        if poses is not None:
            nodes = poses.all_nodes
            poses.close()
            for node in nodes:
                self.scene.RemoveNode(node)
            undo_history.clear(self.scene)
        self._on_pose()
