"""Writing into a landmarks node: an estimate with its record, and the description of every point."""

from __future__ import annotations

from typing import Any

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import Schema
from FetusMapV2Lib.scene import control_points, pose_nodes
from FetusMapV2Lib.scene.corrections import Corrections
from FetusMapV2Lib.scene.estimate_record import ESTIMATE_ATTRIBUTE, EstimateRecord
from FetusMapV2Lib.scene.hand_measures import HandMeasures
from FetusMapV2Lib.scene.node_names import printable
from FetusMapV2Lib.scene.pose_snapshot import PoseSnapshot
from FetusMapV2Lib.scene.provenance import Provenance


def write_estimate(node: Any, pose: Pose, model: str) -> None:
    """Replace positions, locks, corrections and what was measured by hand by an estimate, as one modification.

    Args:
        node: the landmarks node; points that are no landmarks of the pose's schema are recreated.
        pose: world positions.
        model: name and identity of the model; may be empty.
    """
    before = node.StartModify()
    try:
        if control_points.list_problem(node, pose.schema):
            control_points.recreate_points(node, pose.schema)
        for row, position in enumerate(pose.positions):
            control_points.set_world_position(node, row, position)
            node.SetNthControlPointLocked(row, False)
        record = EstimateRecord.of(pose, control_points.local_positions(node))
        corrections = Corrections.none(pose.schema.count)
        Provenance(record, corrections, printable(model), pose.schema, printable(pose.doubt)).save(node)
        HandMeasures().save(node)
    finally:
        node.EndModify(before)


def write_descriptions(node: Any, snapshot: PoseSnapshot) -> None:
    """Describe in each point where it comes from, and show doubtful points as not selected."""
    for row, note in enumerate(snapshot.notes()):
        text, doubtful = note.text(), bool(snapshot.doubtful[row])
        if node.GetNthControlPointDescription(row) != text:
            node.SetNthControlPointDescription(row, text)
        if node.GetNthControlPointSelected(row) == doubtful:
            node.SetNthControlPointSelected(row, not doubtful)


def adopt_landmarks(node: Any, schema: Schema) -> None:
    """Turn a point list from a file into a landmarks node, with what its points say of their estimate.

    Raises:
        InputError: it does not hold the landmarks of this schema.
    """
    pose_nodes.check_landmarks(node, schema)
    if not node.GetAttribute(ESTIMATE_ATTRIBUTE):
        pose_nodes.mark_as_landmarks(node, schema)
        Provenance.from_notes(node, schema).save(node)
