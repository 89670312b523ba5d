"""What the page shows of the open case, as plain values; computed by `presenting`, as for the panel in Slicer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from FetusMapV2Lib.anatomy.measurements import measurements
from FetusMapV2Lib.anatomy.schema import Schema, default_schema
from FetusMapV2Lib.core.colours import hex_colour
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.presenting.durations import duration_text
from FetusMapV2Lib.presenting.estimate_text import detail_rows
from FetusMapV2Lib.presenting.landmark_actions import possible_actions
from FetusMapV2Lib.presenting.landmark_rows import (
    LandmarkRow,
    confidence_tip,
    definition_html,
    group_name,
    landmark_rows,
    summary_text,
)
from FetusMapV2Lib.presenting.linked_line import LinkedLine, line_of_no_fetus, line_of_pose, line_without_result
from FetusMapV2Lib.presenting.measurement_rows import measurement_rows
from FetusMapV2Lib.presenting.translation import translator
from FetusMapV2Lib.scene.pose_snapshot import PoseSnapshot

_ = translator(__name__)

#: What the page shows without a pose.
NO_POSE: dict[str, Any] = {
    "measurement_rows": [],
    "landmark_rows": [],
    "summary": "",
    "details": [],
}


def pose_shown(snapshot: PoseSnapshot, estimate: Estimate | None, model: str, formula: str) -> dict[str, Any]:
    """Result line, rows of both tables, and details of a pose.

    Args:
        snapshot: the pose as it is now.
        estimate: the estimate that it comes from; None if unknown.
        model: name and checksum of the model.
        formula: key of the dating formula that comes first.
    """
    pose = snapshot.pose
    found = measurements(pose, formula=formula)
    rows = landmark_rows(snapshot)
    return {
        **line_shown(line_of_pose(pose, found)),
        "measurement_rows": [asdict(row) for row in measurement_rows(found)],
        "landmark_rows": listed(rows, snapshot.provenance.schema),
        "summary": summary_text(rows),
        "details": [list(pair) for pair in detail_rows(pose, estimate, model)],
    }


def no_pose_shown(estimate: Estimate | None, *, has_volume: bool) -> dict[str, Any]:
    """The same without a pose: the line says why there is none.

    Args:
        estimate: the last estimate of the volume; None before.
        has_volume: whether a volume is open.
    """
    found_none = estimate is not None and not estimate.has_pose
    line = line_of_no_fetus() if found_none else line_without_result(has_volume=has_volume)
    return {**NO_POSE, **line_shown(line)}


def line_shown(line: LinkedLine) -> dict[str, Any]:
    """The result line with its parts, each with the landmarks that a click on it leads to."""
    parts = [{"text": part.text, "rows": list(part.rows), "tip": part.tip} for part in line.parts]
    return {"line_parts": parts, "line_sign": line.sign, "line_tone": line.tone.name.lower()}


def listed(rows: Sequence[LandmarkRow], schema: Schema) -> list[dict[str, Any]]:
    """The landmarks as lines of a list, with a line for the name of each group."""
    lines: list[dict[str, Any]] = []
    for group in schema.groups:
        lines.append({"key": group, "group": group_name(group)})
        for number in schema.rows(group):
            landmark, row = schema.landmarks[number], rows[number]
            lines.append(
                {
                    "key": landmark.key,
                    "row": number,
                    "name": f"{landmark.number} {landmark.name}",
                    "colour": hex_colour(landmark.colour),
                    "confidence": row.confidence_text(),
                    "state": row.state_text(),
                    "doubtful": row.doubtful,
                    "tip": confidence_tip(row, landmark) if row.radius90_mm is not None else "",
                }
            )
    return lines


def actions_shown(snapshot: PoseSnapshot | None, selected: Sequence[int], *, is_busy: bool) -> dict[str, bool]:
    """Which actions on landmarks are possible; none without a pose."""
    rows = landmark_rows(snapshot) if snapshot is not None else []
    return asdict(possible_actions(rows, list(selected) if rows else [], is_busy=is_busy))


def definition_shown(selected: Sequence[int]) -> str:
    """The definition of the one selected landmark as HTML, or how to select one."""
    if len(selected) == 1:
        return definition_html(default_schema().landmarks[selected[0]])
    return _("Select a landmark to see its definition and to move the views to it.")


def doubtful_rows(snapshot: PoseSnapshot) -> list[int]:
    """The doubtful landmarks."""
    return [number for number, row in enumerate(landmark_rows(snapshot)) if row.doubtful]


def stage_shown(stage: str, remaining: float | None) -> str:
    """The stage of a job, and how long it will still take if that is known."""
    return stage if remaining is None else _("{0}, about {1} left").format(stage, duration_text(remaining))
