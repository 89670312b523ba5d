"""The sequence node that stores the landmarks of all frames, in step with the volumes of a sequence browser.

Frames are written and shown by way of one landmarks node, the proxy node of the browser.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.scene import pose_nodes
from FetusMapV2Lib.scene.control_points import local_to_world
from FetusMapV2Lib.scene.hand_measures import HandMeasures
from FetusMapV2Lib.scene.node_lookup import nodes_by_class
from FetusMapV2Lib.scene.pose_scene import PoseScene
from FetusMapV2Lib.scene.pose_snapshot import PoseSnapshot
from FetusMapV2Lib.scene.volume_sequences import synchronised_sequences

SEQUENCE_ROLE = "landmarks_sequence"
#: Seconds between frames as given by the user.
INTERVAL_ATTRIBUTE = "FetusMapV2.FrameInterval"


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


def add_landmark_sequence(browser: Any, name: str) -> Any:
    """Add an empty sequence of landmarks with the index of the volumes of a browser; see `add_to_browser`."""
    sequence = browser.GetScene().AddNewNodeByClass("vtkMRMLSequenceNode", name)
    sequence.SetAttribute(pose_nodes.ROLE_ATTRIBUTE, SEQUENCE_ROLE)
    master = browser.GetMasterSequenceNode()
    sequence.SetIndexName(master.GetIndexName())
    sequence.SetIndexUnit(master.GetIndexUnit())
    sequence.SetIndexType(master.GetIndexType())
    return sequence


def add_to_browser(sequence: Any, browser: Any, landmarks_node: Any) -> None:
    """Let a browser show a sequence of landmarks in a landmarks node, and store changes of the node in it."""
    before = browser.StartModify()  # a browser that gets a sequence without a proxy node creates one
    browser.AddSynchronizedSequenceNode(sequence)
    browser.AddProxyNode(landmarks_node, sequence, False)
    browser.SetOverwriteProxyName(sequence, False)
    browser.SetSaveChanges(sequence, True)
    browser.EndModify(before)


def store_poses(sequence: Any, browser: Any, pose_scene: PoseScene, poses: Sequence[Pose], model: str) -> None:
    """Store the poses of all frames in a sequence, by way of the landmarks node."""
    landmarks = pose_scene.landmarks_node
    for frame, pose in enumerate(poses):
        landmarks.SetAttribute(pose_nodes.FRAME_ATTRIBUTE, str(frame))
        pose_scene.set_pose(pose, model)
        store_landmarks(sequence, browser, frame, landmarks)


def store_landmarks(sequence: Any, browser: Any, frame: int, landmarks: Any) -> None:
    """Store what a landmarks node holds now as that of a frame."""
    landmarks.SetAttribute(pose_nodes.FRAME_ATTRIBUTE, str(frame))
    sequence.SetDataNodeAtValue(landmarks, browser.GetMasterSequenceNode().GetNthIndexValue(frame))


def stored_poses(sequence: Any, browser: Any, pose_scene: PoseScene) -> list[Pose]:
    """The poses of all frames as stored, in world coordinates; a frame without landmarks has an empty pose."""
    found = stored_snapshots(sequence, browser, pose_scene)
    return [Pose.missing(pose_scene.schema) if one is None else one.pose for one in found]


def stored_snapshots(sequence: Any, browser: Any, pose_scene: PoseScene) -> list[PoseSnapshot | None]:
    """The poses of all frames with all that is stored of them; None for a frame without landmarks."""
    frames = range(browser.GetMasterSequenceNode().GetNumberOfDataNodes())
    return [_stored_snapshot(_data_node(sequence, browser, frame), pose_scene) for frame in frames]


def stored_hand_measures(sequence: Any, browser: Any) -> list[HandMeasures]:
    """What a person measured by hand besides the landmarks of each frame."""
    frames = range(browser.GetMasterSequenceNode().GetNumberOfDataNodes())
    nodes = [_data_node(sequence, browser, frame) for frame in frames]
    return [HandMeasures() if node is None else HandMeasures.load(node) for node in nodes]


def load_shown_frame(sequence: Any, browser: Any, landmarks_node: Any) -> None:
    """Copy what is stored for the shown frame into the landmarks node."""
    stored = _data_node(sequence, browser, browser.GetSelectedItemNumber())
    if stored is not None:
        landmarks_node.CopyContent(stored)


def stored_interval(sequence: Any) -> float | None:
    """Seconds from frame to frame as given by the user; None = as the sequence says."""
    stored = sequence.GetAttribute(INTERVAL_ATTRIBUTE)
    return float(stored) if stored else None


def store_interval(sequence: Any, seconds: float | None) -> None:
    """Store the seconds from frame to frame; None = as the sequence says."""
    if seconds is None:
        sequence.RemoveAttribute(INTERVAL_ATTRIBUTE)
    else:
        sequence.SetAttribute(INTERVAL_ATTRIBUTE, f"{seconds:.9g}")


def _data_node(sequence: Any, browser: Any, frame: int) -> Any:
    return sequence.GetDataNodeAtValue(browser.GetMasterSequenceNode().GetNthIndexValue(frame), False)


def _stored_snapshot(node: Any, pose_scene: PoseScene) -> PoseSnapshot | None:
    stored = PoseSnapshot.read(node, pose_scene.schema) if node is not None else None
    if stored is None or stored.problem:
        return None
    return replace(stored, world=local_to_world(pose_scene.landmarks_node, stored.local))
