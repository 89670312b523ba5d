"""`PoseSequence`: the poses of a moving fetus as a sequence of landmarks in the browser of its volumes.

Stepping through the frames shows each frame's pose; an edit belongs to the frame in which it was made.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from vtkmodules.vtkCommonCore import vtkCommand

from FetusMapV2Lib.anatomy.movement import Movement
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import Schema
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.core.listeners import Listeners
from FetusMapV2Lib.estimation.sequence import movement_of
from FetusMapV2Lib.scene.hand_measures import HandMeasures
from FetusMapV2Lib.scene.movement_nodes import MovementNodes
from FetusMapV2Lib.scene.node_names import node_name, pose_name
from FetusMapV2Lib.scene.observations import Observations
from FetusMapV2Lib.scene.pose_nodes import stored_frame
from FetusMapV2Lib.scene.pose_scene import PoseScene
from FetusMapV2Lib.scene.pose_snapshot import PoseSnapshot
from FetusMapV2Lib.scene.sequence_storage import (
    add_landmark_sequence,
    add_to_browser,
    landmark_sequence,
    load_shown_frame,
    store_interval,
    store_landmarks,
    store_poses,
    stored_hand_measures,
    stored_interval,
    stored_poses,
    stored_snapshots,
)
from FetusMapV2Lib.scene.volume_sequences import VolumeFrames, frame_times

Listener = Callable[["PoseSequence"], None]


class PoseSequence:
    """One moving fetus in a scene.

    Attributes:
        browser: the vtkMRMLSequenceBrowserNode of volumes and landmarks.
        sequence: the vtkMRMLSequenceNode of landmarks, one per frame.
        pose_scene: the live pose of the shown frame.
        nodes: table and plots of the movement.
    """

    def __init__(self, browser: Any, sequence: Any, pose_scene: PoseScene) -> None:
        """Use `create` or `attach`."""
        self.browser, self.sequence, self.pose_scene = browser, sequence, pose_scene
        self._poses = stored_poses(self.sequence, self.browser, self.pose_scene)
        self._movement: Movement | None = None
        self._shown = self.frame
        self._listeners = Listeners[PoseSequence]()
        self._observations = Observations()
        self._busy = False
        self._open = True
        self.nodes = MovementNodes.for_sequence(sequence, self._name, self.movement())
        self._observe()

    @classmethod
    def create(
        cls,
        browser: Any,
        poses: Sequence[Pose],
        *,
        name: str = "Fetus",
        model: str = "",
        frame_interval_s: float | None = None,
    ) -> PoseSequence:
        """Add the poses of all frames to the scene of a browser that shows volumes.

        Args:
            browser: a sequence browser of volumes, one per pose.
            poses: RAS mm (world), all landmarks missing in a frame without a fetus.
            name: as for `PoseScene.create`.
            model: as for `PoseScene.create`.
            frame_interval_s: seconds from frame to frame, if the sequence does not say or says wrongly.

        Raises:
            InputError: the browser shows no volumes.
            ValueError: not one pose per frame.
        """
        frames = VolumeFrames(browser)
        _check_count(poses, len(frames))
        scene = browser.GetScene()
        fetus = PoseScene.create(scene, poses[0], volume_node=frames.proxy_node, name=name, model=model)
        sequence = add_landmark_sequence(browser, f"{node_name(fetus.landmarks_node)} sequence")
        store_interval(sequence, frame_interval_s)
        store_poses(sequence, browser, fetus, poses, model)
        add_to_browser(sequence, browser, fetus.landmarks_node)
        load_shown_frame(sequence, browser, fetus.landmarks_node)
        return cls(browser, sequence, fetus)

    @classmethod
    def attach(cls, browser: Any, schema: Schema, pose_scene: PoseScene | None = None) -> PoseSequence:
        """Observe the poses in a browser again, e.g. after a scene was loaded.

        Args:
            browser: a sequence browser of volumes and landmarks.
            schema: of the landmarks.
            pose_scene: the live pose of the landmarks node, if there already is one.

        Raises:
            InputError: the browser holds no landmarks of a fetus.
        """
        sequence = landmark_sequence(browser)
        proxy = browser.GetProxyNode(sequence) if sequence is not None else None
        if proxy is None:
            raise InputError(
                "this sequence has no landmarks yet", where=node_name(browser), remedy="Estimate all its frames first"
            )
        return cls(browser, sequence, pose_scene or PoseScene.attach(browser.GetScene(), proxy, schema))

    # The frames.

    @property
    def frame_count(self) -> int:
        """How many frames there are."""
        return int(self.browser.GetMasterSequenceNode().GetNumberOfDataNodes())

    @property
    def frame(self) -> int:
        """The shown frame, from 0."""
        return int(self.browser.GetSelectedItemNumber())

    def show(self, frame: int) -> None:
        """Show a frame: its volume, its landmarks, and what follows them."""
        self.browser.SetSelectedItemNumber(int(np.clip(frame, 0, self.frame_count - 1)))

    @property
    def times_s(self) -> np.ndarray | None:
        """(T,) seconds of the frames, by the interval that was given or by the sequence; None = unknown."""
        interval = self.frame_interval_s
        return frame_times(self.browser) if interval is None else np.arange(self.frame_count) * interval

    @property
    def frame_interval_s(self) -> float | None:
        """Seconds from frame to frame as given by the user; None = as the sequence says."""
        return stored_interval(self.sequence)

    @frame_interval_s.setter
    def frame_interval_s(self, seconds: float | None) -> None:
        store_interval(self.sequence, seconds)
        self._update_movement()

    # The poses.

    def poses(self) -> list[Pose]:
        """The poses of all frames as they are now, in world coordinates."""
        return list(self._poses)

    def snapshots(self) -> list[PoseSnapshot | None]:
        """The poses of all frames as they are now, with all that is stored of them; None where nothing is."""
        return stored_snapshots(self.sequence, self.browser, self.pose_scene)

    def hand_measures(self) -> list[HandMeasures]:
        """What a person measured besides in each frame."""
        return stored_hand_measures(self.sequence, self.browser)

    def movement(self) -> Movement:
        """The movement of the poses as they are now."""
        if self._movement is None:
            self._movement = movement_of(self._poses, self.times_s)
        return self._movement

    def set_poses(self, poses: Sequence[Pose], model: str = "") -> None:
        """Replace the poses of all frames and all their corrections by new estimates, in the same nodes.

        Raises:
            ValueError: not one pose per frame.
        """
        _check_count(poses, self.frame_count)
        with self._storing():
            store_poses(self.sequence, self.browser, self.pose_scene, poses, model)

    def restore(self, landmarks: Mapping[int, Any]) -> None:
        """Put landmarks that were read from files into their frames; the other frames stay as they are.

        Args:
            landmarks: landmarks node by frame, see `landmark_writing.adopt_landmarks`.
        """
        with self._storing():
            for frame, node in landmarks.items():
                store_landmarks(self.sequence, self.browser, frame, node)

    @contextlib.contextmanager
    def _storing(self) -> Iterator[None]:
        """Nothing of the landmarks node is stored by itself during the block; then it shows its frame again."""
        self._busy = True
        self.browser.SetSaveChanges(self.sequence, False)
        try:
            yield
        finally:
            self.browser.SetSaveChanges(self.sequence, True)
            load_shown_frame(self.sequence, self.browser, self.pose_scene.landmarks_node)
            self._busy = False
        self._poses = stored_poses(self.sequence, self.browser, self.pose_scene)
        self._update_movement()

    # Listeners.

    @property
    def is_open(self) -> bool:
        """False after `close`, and after the landmarks or the scene are gone."""
        return self._open

    def add_listener(self, callback: Listener) -> Callable[[], None]:
        """Call `callback(self)` when another frame is shown, when a pose changed, and when it ends.

        Returns:
            A function that removes the listener.
        """
        return self._listeners.add(callback)

    def close(self) -> None:
        """Stop observing the nodes; they stay in the scene as they are. Closing twice does no harm."""
        if not self._open:
            return
        self._open = False
        self._stop_listening()
        self._observations.clear()
        self._listeners.notify(self)
        self._listeners.clear()

    @property
    def _name(self) -> str:
        return pose_name(self.pose_scene.landmarks_node)

    def _observe(self) -> None:
        scene = self.browser.GetScene()
        self._stop_listening = self.pose_scene.add_listener(self._on_pose)
        observe = self._observations.observe
        observe(self.browser, vtkCommand.ModifiedEvent, self._on_browser)
        observe(scene, scene.NodeRemovedEvent, self._on_node_removed)
        observe(scene, (scene.StartUndoEvent, scene.StartRedoEvent), self._on_history_starts)
        observe(scene, (scene.EndUndoEvent, scene.EndRedoEvent), self._on_history_ends)

    def _on_pose(self, pose_scene: PoseScene) -> None:
        if not pose_scene.is_open:
            self.close()
        elif not self._busy and stored_frame(pose_scene.landmarks_node) == self.frame:
            pose = pose_scene.pose()
            if not _same_movement(pose, self._poses[self.frame]):
                self._poses[self.frame] = pose
                self._update_movement()

    def _on_browser(self, caller: Any, event: str, data: Any = None) -> None:
        if self.frame != self._shown and self._open and not self._busy:
            self._shown = self.frame
            self._listeners.notify(self)

    def _on_node_removed(self, caller: Any, event: str, data: Any = None) -> None:
        scene = self.browser.GetScene()
        if scene is None or not all(scene.IsNodePresent(node) for node in (self.browser, self.sequence)):
            self.close()

    # Undo restores landmarks but not the frame that was shown: meanwhile nothing is stored in the shown frame, and
    # afterwards the browser shows the frame that the restored landmarks belong to.

    def _on_history_starts(self, caller: Any, event: str, data: Any = None) -> None:
        self._busy = True
        self.browser.SetSaveChanges(self.sequence, False)

    def _on_history_ends(self, caller: Any, event: str, data: Any = None) -> None:
        if self._open and self.pose_scene.is_open:
            master, frame = self.browser.GetMasterSequenceNode(), stored_frame(self.pose_scene.landmarks_node)
            if frame is not None and 0 <= frame < self.frame_count:
                value = master.GetNthIndexValue(frame)
                self.sequence.SetDataNodeAtValue(self.pose_scene.landmarks_node, value)
                self.show(frame)
            self.browser.SetSaveChanges(self.sequence, True)
        self._busy = False
        self._on_pose(self.pose_scene)
        self._on_browser(self.browser, "")

    def _update_movement(self) -> None:
        """Recompute the movement; update table and plots, and call the listeners."""
        self._movement = None
        self.nodes.update(self.movement())
        self._listeners.notify(self)


def _same_movement(one: Pose, other: Pose) -> bool:
    """Whether positions and radii of two poses are equal, on which the movement depends."""
    first, second = (np.zeros(0) if pose.radius90_mm is None else pose.radius90_mm for pose in (one, other))
    same_positions = np.array_equal(one.positions, other.positions, equal_nan=True)
    return same_positions and np.array_equal(first, second, equal_nan=True)


def _check_count(poses: Sequence[Pose], frames: int) -> None:
    if len(poses) != frames:
        raise ValueError(f"{len(poses)} poses for {frames} frames")
