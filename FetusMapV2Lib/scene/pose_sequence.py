"""`PoseSequence`: the poses of a moving fetus as a sequence of landmarks in the browser of its volumes.

Stepping through the frames shows each frame's pose; an edit belongs to the frame in which it was made.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import vtk

from FetusMapV2Lib.anatomy.movement import Movement
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import Schema
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.estimation.sequence import movement_of
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.scene import pose_nodes
from FetusMapV2Lib.scene.control_points import local_to_world
from FetusMapV2Lib.scene.movement_nodes import MovementNodes
from FetusMapV2Lib.scene.node_lookup import nodes_by_class
from FetusMapV2Lib.scene.node_names import node_name, pose_name
from FetusMapV2Lib.scene.observations import Observations
from FetusMapV2Lib.scene.pose_scene import PoseScene
from FetusMapV2Lib.scene.pose_snapshot import PoseSnapshot
from FetusMapV2Lib.scene.scene_files import open_scene, save_scene
from FetusMapV2Lib.scene.volume_sequences import VolumeFrames, add_volume_sequence, frame_times, synchronised_sequences

Listener = Callable[["PoseSequence"], None]

SEQUENCE_ROLE = "landmarks_sequence"
#: Which frame a landmarks node shows, kept with it so that an undo finds the frame that it undoes.
FRAME_ATTRIBUTE = "FetusMapV2.Frame"
#: Seconds between frames where the user gave them.
INTERVAL_ATTRIBUTE = "FetusMapV2.FrameInterval"


class PoseSequence:
    """One moving fetus in a scene.

    Attributes:
        browser: the vtkMRMLSequenceBrowserNode of volumes and landmarks.
        sequence: the vtkMRMLSequenceNode of landmarks, one per frame.
        pose_scene: the live pose of the frame on show.
        nodes: table and plots of the movement.
    """

    def __init__(self, browser: Any, sequence: Any, pose_scene: PoseScene) -> None:
        """Use `create` or `attach`."""
        self.browser, self.sequence, self.pose_scene = browser, sequence, pose_scene
        self._poses = [self._stored(number) for number in range(self.frame_count)]
        self._movement: Movement | None = None
        self._shown = self.frame
        self._listeners: list[Listener] = []
        self._observations = Observations()
        self._busy = False
        self._open = True
        self.nodes = MovementNodes.around(sequence, self._name, self.movement())
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
            name, model: as for `PoseScene.create`.
            frame_interval_s: seconds from frame to frame, if the sequence does not say or says wrongly.

        Raises:
            InputError: the browser shows no volumes.
            ValueError: not one pose per frame.
        """
        frames = VolumeFrames(browser)
        _check_count(poses, len(frames))
        scene = browser.GetScene()
        fetus = PoseScene.create(scene, poses[0], volume_node=frames.proxy_node, name=name, model=model)
        title = node_name(fetus.landmarks_node)
        sequence = scene.AddNewNodeByClass("vtkMRMLSequenceNode", f"{title} sequence")
        sequence.SetAttribute(pose_nodes.ROLE_ATTRIBUTE, SEQUENCE_ROLE)
        _keep_interval(sequence, frame_interval_s)
        master = browser.GetMasterSequenceNode()
        sequence.SetIndexName(master.GetIndexName())
        sequence.SetIndexUnit(master.GetIndexUnit())
        sequence.SetIndexType(master.GetIndexType())
        _store(sequence, master, fetus, poses, model)
        before = browser.StartModify()  # a browser that sees a sequence without a proxy makes one of its own
        browser.AddSynchronizedSequenceNode(sequence)
        browser.AddProxyNode(fetus.landmarks_node, sequence, False)
        browser.SetOverwriteProxyName(sequence, False)
        browser.SetSaveChanges(sequence, True)
        browser.EndModify(before)
        _show_stored(sequence, browser, fetus)
        return cls(browser, sequence, fetus)

    @classmethod
    def attach(cls, browser: Any, schema: Schema, pose_scene: PoseScene | None = None) -> PoseSequence:
        """Make the poses in a browser live again, e.g. after a scene was loaded.

        Args:
            browser: of the volumes.
            schema: what the points are.
            pose_scene: the live pose of the landmarks node, if there is one already.

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
        """The frame on show, from 0."""
        return int(self.browser.GetSelectedItemNumber())

    def show(self, frame: int) -> None:
        """Show a frame: its volume, its landmarks, and what follows them."""
        self.browser.SetSelectedItemNumber(int(np.clip(frame, 0, self.frame_count - 1)))

    @property
    def times_s(self) -> np.ndarray | None:
        """(T,) seconds of the frames, by the interval that was given or by the sequence; None = not known."""
        interval = self.frame_interval_s
        return frame_times(self.browser) if interval is None else np.arange(self.frame_count) * interval

    @property
    def frame_interval_s(self) -> float | None:
        """Seconds from frame to frame as given by the user; None = as the sequence says."""
        kept = self.sequence.GetAttribute(INTERVAL_ATTRIBUTE)
        return float(kept) if kept else None

    @frame_interval_s.setter
    def frame_interval_s(self, seconds: float | None) -> None:
        _keep_interval(self.sequence, seconds)
        self._renew()

    # The poses.

    def poses(self) -> list[Pose]:
        """The poses of all frames as they are now, in world coordinates."""
        return list(self._poses)

    def movement(self) -> Movement:
        """The movement of the poses as they are now."""
        if self._movement is None:
            self._movement = movement_of(self._poses, self.times_s)
        return self._movement

    def set_poses(self, poses: Sequence[Pose], model: str = "") -> None:
        """Take new estimates of all frames into the same nodes, in place of all corrections.

        Raises:
            ValueError: not one pose per frame.
        """
        _check_count(poses, self.frame_count)
        self._busy = True
        self.browser.SetSaveChanges(self.sequence, False)
        try:
            _store(self.sequence, self.browser.GetMasterSequenceNode(), self.pose_scene, poses, model)
        finally:
            self.browser.SetSaveChanges(self.sequence, True)
            _show_stored(self.sequence, self.browser, self.pose_scene)
            self._busy = False
        self._poses = [self._stored(number) for number in range(self.frame_count)]
        self._renew()

    # Who follows.

    @property
    def is_open(self) -> bool:
        """False after `close`, and after the landmarks or the scene are gone."""
        return self._open

    def add_listener(self, callback: Listener) -> Callable[[], None]:
        """Call `callback(self)` when another frame is shown, when a pose changed, and when it ends.

        Returns:
            A function that removes the listener.
        """
        self._listeners.append(callback)

        def remove() -> None:
            if callback in self._listeners:
                self._listeners.remove(callback)

        return remove

    def close(self) -> None:
        """Stop following; the nodes stay in the scene as they are. Twice does no harm."""
        if not self._open:
            return
        self._open = False
        self._stop_listening()
        self._observations.clear()
        self._tell()
        self._listeners.clear()

    @property
    def _name(self) -> str:
        return pose_name(self.pose_scene.landmarks_node)

    def _stored(self, frame: int) -> Pose:
        """The pose of a frame as kept in the sequence."""
        node = _data_node(self.sequence, self.browser.GetMasterSequenceNode(), frame)
        schema = self.pose_scene.schema
        stored = PoseSnapshot.read(node, schema) if node is not None else None
        if stored is None or stored.problem:
            return Pose(np.full((schema.count, 3), np.nan), schema=schema)
        return replace(stored, world=local_to_world(self.pose_scene.landmarks_node, stored.local)).pose

    def _observe(self) -> None:
        scene = self.browser.GetScene()
        self._stop_listening = self.pose_scene.add_listener(self._on_pose)
        observe = self._observations.observe
        observe(self.browser, vtk.vtkCommand.ModifiedEvent, self._on_browser)
        observe(scene, scene.NodeRemovedEvent, self._on_node_removed)
        observe(scene, (scene.StartUndoEvent, scene.StartRedoEvent), self._on_history_starts)
        observe(scene, (scene.EndUndoEvent, scene.EndRedoEvent), self._on_history_ends)

    def _on_pose(self, pose_scene: PoseScene) -> None:
        if not pose_scene.is_open:
            self.close()
        elif not self._busy and _frame_of(pose_scene) == self.frame:
            pose = pose_scene.pose()
            if not _same(pose, self._poses[self.frame]):
                self._poses[self.frame] = pose
                self._renew()

    def _on_browser(self, caller: Any, event: str, data: Any = None) -> None:
        if self.frame != self._shown and self._open and not self._busy:
            self._shown = self.frame
            self._tell()

    def _on_node_removed(self, caller: Any, event: str, data: Any = None) -> None:
        scene = self.browser.GetScene()
        if scene is None or not all(scene.IsNodePresent(node) for node in (self.browser, self.sequence)):
            self.close()

    # The scene's history brings back landmarks, and not the frame that they belong to: meanwhile nothing is written to
    # the frame on show, and afterwards the browser is turned to the frame of what came back.

    def _on_history_starts(self, caller: Any, event: str, data: Any = None) -> None:
        self._busy = True
        self.browser.SetSaveChanges(self.sequence, False)

    def _on_history_ends(self, caller: Any, event: str, data: Any = None) -> None:
        if self._open and self.pose_scene.is_open:
            master, frame = self.browser.GetMasterSequenceNode(), _frame_of(self.pose_scene)
            if frame is not None and 0 <= frame < self.frame_count:
                value = master.GetNthIndexValue(frame)
                self.sequence.SetDataNodeAtValue(self.pose_scene.landmarks_node, value)
                self.show(frame)
            self.browser.SetSaveChanges(self.sequence, True)
        self._busy = False
        self._on_pose(self.pose_scene)
        self._on_browser(self.browser, "")

    def _renew(self) -> None:
        """The movement is another: table, plots and listeners follow."""
        self._movement = None
        self.nodes.update(self.movement())
        self._tell()

    def _tell(self) -> None:
        for listener in tuple(self._listeners):
            listener(self)


def landmark_sequence(browser: Any) -> Any:
    """The sequence of landmarks in a browser, None if it has none."""
    found = synchronised_sequences(browser)
    return next((one for one in found if one.GetAttribute(pose_nodes.ROLE_ATTRIBUTE) == SEQUENCE_ROLE), None)


def browser_of(landmarks_node: Any) -> Any:
    """The browser that steps through the frames of a landmarks node, None if it belongs to no sequence."""
    for browser in nodes_by_class(landmarks_node.GetScene(), "vtkMRMLSequenceBrowserNode"):
        sequence = landmark_sequence(browser)
        if sequence is not None and browser.GetProxyNode(sequence) is landmarks_node:
            return browser
    return None


def _store(sequence: Any, master: Any, fetus: PoseScene, poses: Sequence[Pose], model: str) -> None:
    """Write the poses of all frames into a sequence, by way of the landmarks node."""
    for number, pose in enumerate(poses):
        fetus.landmarks_node.SetAttribute(FRAME_ATTRIBUTE, str(number))
        fetus.set_pose(pose, model)
        sequence.SetDataNodeAtValue(fetus.landmarks_node, master.GetNthIndexValue(number))


def _show_stored(sequence: Any, browser: Any, fetus: PoseScene) -> None:
    """Put what is stored for the frame on show into the landmarks node."""
    stored = _data_node(sequence, browser.GetMasterSequenceNode(), browser.GetSelectedItemNumber())
    if stored is not None:
        fetus.landmarks_node.CopyContent(stored)


def _data_node(sequence: Any, master: Any, frame: int) -> Any:
    return sequence.GetDataNodeAtValue(master.GetNthIndexValue(frame), False)


def _frame_of(pose_scene: PoseScene) -> int | None:
    """The frame that the landmarks on show belong to."""
    kept = pose_scene.landmarks_node.GetAttribute(FRAME_ATTRIBUTE) or ""
    return int(kept) if kept.isdecimal() else None


def _keep_interval(sequence: Any, seconds: float | None) -> None:
    if seconds is None:
        sequence.RemoveAttribute(INTERVAL_ATTRIBUTE)
    else:
        sequence.SetAttribute(INTERVAL_ATTRIBUTE, f"{seconds:.9g}")


def _same(one: Pose, other: Pose) -> bool:
    """Whether two poses are equal as far as movement goes."""
    first, second = (np.zeros(0) if pose.radius90_mm is None else pose.radius90_mm for pose in (one, other))
    still = np.array_equal(one.positions, other.positions, equal_nan=True)
    return still and np.array_equal(first, second, equal_nan=True)


def _check_count(poses: Sequence[Pose], frames: int) -> None:
    if len(poses) != frames:
        raise ValueError(f"{len(poses)} poses for {frames} frames")


def write_sequence_scene(
    path: str | os.PathLike[str],
    frames: Sequence[Volume],
    estimates: Sequence[Estimate],
    times_s: Sequence[float] | np.ndarray | None = None,
    *,
    name: str = "Fetus",
    overwrite: bool = True,
) -> None:
    """Write an .mrb with a sequence of volumes, the poses in it, table and plots of the movement; whole or not at all.

    Raises:
        OutputError: as `save_scene`.
    """
    model = next((estimate.model for estimate in estimates if estimate.model), "")
    with open_scene() as scene:
        browser = add_volume_sequence(scene, frames, times_s)
        poses = [estimate.pose for estimate in estimates]
        PoseSequence.create(browser, poses, name=name, model=model).close()
        save_scene(scene, path, overwrite=overwrite)
