"""Landmark files: Slicer Markups JSON (``.mrk.json``), in which cases are annotated and results given.

Written in RAS with one control point per landmark; read in any order, in LPS or RAS.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import Landmark, Schema, default_schema
from FetusMapV2Lib.core.atomic_files import write_json
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.core.json_files import read_json
from FetusMapV2Lib.imaging.point_notes import PointNote

SCHEMA_URL = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/Schema/"
    "markups-schema-v1.0.3.json#"
)
_UPRIGHT = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
#: No volume reaches so far, in mm or in um.
_FARTHEST = 1e7
#: Of a value of the file in a message.
_LONGEST_QUOTE = 40
_REMEDY = "Save the landmarks from Slicer as Markups JSON (.mrk.json)"


def write_markups(
    path: str | os.PathLike[str],
    pose: Pose,
    *,
    descriptions: Sequence[str] | Mapping[str, str] | None = None,
    name: str = "Fetus",
    overwrite: bool = True,
) -> None:
    """Write a pose as Slicer Markups JSON (schema 1.0.3, RAS mm).

    Args:
        path: the file, usually ``case.mrk.json``.
        pose: the landmarks; missing ones are written with position status "missing".
        descriptions: one text per row, or by landmark key; confidence and radius of the pose if not given.
        name: name of the node in Slicer.
        overwrite: whether an existing file may be replaced.

    Raises:
        OutputError: the file cannot be written.

    Examples:
        >>> fm.write_markups("estimate.mrk.json", estimate.pose)  # Slicer opens it as a point list
    """
    document = markups_document(pose, descriptions=descriptions, name=name)
    write_json(path, document, overwrite=overwrite)


def markups_document(
    pose: Pose,
    *,
    descriptions: Sequence[str] | Mapping[str, str] | None = None,
    name: str = "Fetus",
) -> dict[str, Any]:
    """The document that `write_markups` writes."""
    schema = pose.schema
    points = [_control_point(pose, mark, _description(pose, mark, descriptions)) for mark in schema.landmarks]
    fiducials = {
        "type": "Fiducial",
        "name": name,
        "coordinateSystem": "RAS",
        "coordinateUnits": "mm",
        "locked": False,
        "fixedNumberOfControlPoints": True,
        "labelFormat": "%d",
        "lastUsedControlPointNumber": schema.count,
        "controlPoints": points,
        "measurements": [],
    }
    return {"@schema": SCHEMA_URL, "landmarkSchema": schema.id, "markups": [fiducials]}


def _control_point(pose: Pose, mark: Landmark, description: str) -> dict[str, Any]:
    present = bool(pose.present[mark.row])
    point: dict[str, Any] = {
        "id": str(mark.number),
        "label": mark.name,
        "description": description,
        "associatedNodeID": "",
        "orientation": _UPRIGHT,
        "selected": not pose.doubtful[mark.row],
        "locked": False,
        "visibility": True,
        "positionStatus": "defined" if present else "missing",
        "key": mark.key,
        "group": mark.group,
        "color": [round(float(channel), 4) for channel in mark.colour],
    }
    if present:
        point["position"] = [round(float(value), 6) for value in pose.positions[mark.row]]
    return point


def _description(pose: Pose, mark: Landmark, given: Sequence[str] | Mapping[str, str] | None) -> str:
    if isinstance(given, Mapping):
        return str(given.get(mark.key, ""))
    if given is not None:
        return str(given[mark.row])
    return pose_note(pose, mark.row).text()


def pose_note(pose: Pose, row: int, *, model: str = "", assumed: bool = False) -> PointNote:
    """What an estimated pose says of one of its landmarks."""
    return PointNote(
        state="estimated" if pose.present[row] else "missing",
        confidence=math.nan if pose.confidence is None else float(pose.confidence[row]),
        radius90_mm=math.nan if pose.radius90_mm is None else float(pose.radius90_mm[row]),
        model=model,
        assumed=assumed,
        doubt=pose.doubt if pose.present[row] else "",
    )


def read_markups(path: str | os.PathLike[str], schema: Schema | None = None) -> Pose:
    """Read a pose from Slicer Markups JSON.

    Points are found by their label (name or key of the landmark, upper or lower case, or its number), in any
    order; absent points and points whose position status is not "defined" are missing (NaN). The `schema` is the
    bundled one by default.

    Returns:
        The pose in RAS mm, whatever the file's coordinate system.

    Raises:
        InputError: missing or broken file, no fiducials, an unknown or doubled label, a broken position.

    Examples:
        >>> int(fm.read_markups("case-0000.mrk.json").present.sum())
        22
    """
    schema = default_schema() if schema is None else schema
    source = Path(path)
    positions = np.full((schema.count, 3), np.nan)
    known = _labels(schema)
    seen: set[int] = set()
    for markup in _fiducials(_document(source), source):
        factors = _to_ras_mm(markup, source)
        for point in _points(markup, source):
            row = _row(point, known, source)
            if row in seen:
                raise InputError(
                    f"landmark '{schema.landmarks[row].name}' is in the file twice", where=source,
                    remedy="Remove or rename one of the two points",
                )  # fmt: skip
            seen.add(row)
            if _is_placed(point, source):
                positions[row] = _position(point, source) * factors
    return Pose(positions, schema=schema)


def unknown_labels(path: str | os.PathLike[str], schema: Schema | None = None) -> list[str]:
    """The labels in a landmark file that name no landmark of the schema (default: the bundled one), each once.

    Empty for a file that `read_markups` refuses for another reason.
    """
    known = _labels(default_schema() if schema is None else schema)
    source = Path(path)
    found: list[str] = []
    try:
        points = [point for markup in _fiducials(_document(source), source) for point in _points(markup, source)]
    except InputError:
        return []
    for point in points:
        names = [point.get("label", ""), point.get("key", "")]
        if not any(isinstance(name, str) and _plain(name) in known for name in names):
            found.append(str(names[0])[:_LONGEST_QUOTE])
    return list(dict.fromkeys(found))


def _document(path: Path) -> Any:
    if not path.exists():
        raise InputError("no such landmark file", where=path, remedy="Check the path")
    return read_json(path, "the landmark file", remedy=_REMEDY)


def _fiducials(document: Any, path: Path) -> list[dict[str, Any]]:
    markups = document.get("markups") if isinstance(document, dict) else None
    if not isinstance(markups, list):
        raise InputError("this JSON holds no markups", where=path, remedy=_REMEDY)
    fiducials = [m for m in markups if isinstance(m, dict) and m.get("type", "Fiducial") == "Fiducial"]
    if not fiducials:
        raise InputError("the file holds markups, but no point list", where=path, remedy=_REMEDY)
    return fiducials


def _points(markup: dict[str, Any], path: Path) -> list[dict[str, Any]]:
    points = markup.get("controlPoints", [])
    if not isinstance(points, list) or not all(isinstance(point, dict) for point in points):
        raise InputError("the control points are not a list of points", where=path, remedy=_REMEDY)
    return points


def _to_ras_mm(markup: dict[str, Any], path: Path) -> np.ndarray:
    """Factors (3,) that take the file's coordinates to RAS mm."""
    systems = {"LPS": (-1.0, -1.0, 1.0), "RAS": (1.0, 1.0, 1.0)}
    system = markup.get("coordinateSystem", "LPS")
    if not isinstance(system, str) or system.upper() not in systems:
        problem = f"the coordinate system {_quoted(system)} is unknown"
        raise InputError(problem, where=path, remedy="Write the landmarks in RAS or LPS")
    units = markup.get("coordinateUnits", "mm")
    unit = units[0] if isinstance(units, list) and units else units
    scales = {"mm": 1.0, "um": 1e-3}
    if not isinstance(unit, str) or unit not in scales:
        raise InputError(f"the unit {_quoted(unit)} is unknown", where=path, remedy="Write the landmarks in mm")
    return np.array(systems[system.upper()]) * scales[unit]


def _is_placed(point: dict[str, Any], path: Path) -> bool:
    status = point.get("positionStatus", "defined")
    if status not in ("defined", "undefined", "preview", "missing"):
        problem = f"the position status {_quoted(status)} of {_quoted(point.get('label', ''))} is unknown"
        raise InputError(problem, where=path, remedy="Place the point again, or mark it as missing")
    return bool(status == "defined")


def _quoted(value: Any) -> str:
    """A value of the file for a message, short whatever it is."""
    text = value if isinstance(value, str) else json.dumps(value)
    return f"'{text}'" if len(text) <= _LONGEST_QUOTE else f"'{text[:_LONGEST_QUOTE]}...'"


def _plain(label: str) -> str:
    return re.sub(r"[^a-z0-9]+", " ", label.lower()).strip()


def _labels(schema: Schema) -> dict[str, int]:
    known: dict[str, int] = {}
    for mark in schema.landmarks:
        for label in (mark.name, mark.key, str(mark.number)):
            known[_plain(label)] = mark.row
    return known


def _row(point: dict[str, Any], known: dict[str, int], path: Path) -> int:
    for label in (point.get("label", ""), point.get("key", "")):
        row = known.get(_plain(label)) if isinstance(label, str) else None
        if row is not None:
            return row
    raise InputError(
        f"the label {_quoted(point.get('label', ''))} is not a landmark", where=path,
        remedy="Name every point after a landmark of the schema, such as 'Nasal tip' or 'nasal_tip'",
    )  # fmt: skip


def _position(point: dict[str, Any], path: Path) -> np.ndarray:
    value = point.get("position")
    name, remedy = _quoted(point.get("label", "")), "Place the point again, or mark it as missing"
    if not (isinstance(value, list) and len(value) == 3 and all(type(v) in (int, float) for v in value)):
        raise InputError(f"the position of {name} is not three numbers", where=path, remedy=remedy)
    place = np.array(value, dtype=np.float64)
    if np.abs(place).max() > _FARTHEST:
        problem = f"the position of {name} is farther away than anything in a volume"
        raise InputError(problem, where=path, remedy=remedy)
    return place
