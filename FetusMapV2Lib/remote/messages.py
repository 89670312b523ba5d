"""What a pose engine in another process is told and what it answers: JSON values, one message a line, versioned.

Both sides check whatever they are sent before they work with it. Voxels travel in a file beside the messages. Needs
neither torch nor Qt.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np

from FetusMapV2Lib.anatomy.laterality import Laterality
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.core.json_files import field, parse_json
from FetusMapV2Lib.estimation.estimate import Estimate, Refinement, RefineMode, Status
from FetusMapV2Lib.estimation.resource_estimate import ResourceEstimate
from FetusMapV2Lib.imaging.volume import Volume

#: Raised whenever a message changes its meaning; both sides refuse another version.
VERSION = 2
#: No message is longer, bytes; an estimate takes some ten thousand.
LONGEST = 1 << 20
COMMANDS = ("load", "install", "outlook", "estimate", "refine")
EVENTS = ("ready", "alive", "progress", "result", "error")
#: What a pose may be asked with, beside the volume.
_OPTIONS = {"estimate": "refine", "refine": "mode"}
_LONGEST_TEXT = 20_000
_FARTHEST_MM = 1e6
_MOST_BYTES = 1 << 60


class MessageError(UserError):
    """A line that is no message of this version, or says what cannot be."""


def encoded(message: Mapping[str, Any]) -> str:
    """A message as one line, without its line end.

    Raises:
        ValueError: it holds a number that is none.
    """
    return json.dumps({"version": VERSION, **message}, allow_nan=False, separators=(",", ":"))


def decoded(line: str | bytes) -> dict[str, Any]:
    """A message from its line.

    Raises:
        MessageError: no JSON object, too long, or another version.
    """
    if len(line) > LONGEST:
        raise MessageError(f"a message is longer than {LONGEST} bytes")
    message = parse_json(line, f"the message {line[:60]!r}", error=MessageError)
    if not isinstance(message, dict) or message.get("version") != VERSION:
        raise MessageError(f"not a message of version {VERSION}: {line[:60]!r}")
    return message


def checked_request(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """A request to the engine whose values are of the right kind; volumes and estimates are checked when they are read.

    Raises:
        MessageError: they are not.
    """
    _get(message, "id", int)
    command = _get(message, "command", str)
    if command not in COMMANDS:
        raise MessageError(f"there is no command {command[:40]!r}")
    for key in ("model", "device"):
        if message.get(key) is not None:
            _text(message, key)
    budget = message.get("memory_budget")
    if budget is not None and not _is_whole(budget, 1, _MOST_BYTES):
        raise MessageError("the memory budget is no number of bytes")
    _get(message, "leaner", bool, False)
    if command == "install":
        _text(message, "file")
        _text(message, "name")
        if message.get("index") is not None:
            _text(message, "index")
    elif command == "outlook":
        if not _is_whole(message.get("voxels"), 0, _MOST_BYTES):
            raise MessageError("the number of voxels is none")
        _text(message, "refine")
    elif command in _OPTIONS:
        _check_options(message, command)
    return message


def _check_options(message: Mapping[str, Any], command: str) -> None:
    options = _get(message, "options", dict, {})
    known = _OPTIONS[command]
    for key in options:
        if key != known:
            raise MessageError(f"{command} has no option {key[:40]!r}")
    if options:
        _text(options, known)
    _get(message, "volume", dict)
    if command == "refine":
        _get(message, "estimate", dict)
        pinned = _get(message, "pinned", list)
        if not all(type(number) is int for number in pinned):
            raise MessageError("pinned landmarks are given by their numbers")
    elif message.get("before") is not None:
        _get(message, "before", dict)


def checked_answer(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """A message of the engine whose values are all of the right kind; results are checked when they are read.

    Raises:
        MessageError: they are not.
    """
    event = _get(message, "event", str)
    if event not in EVENTS:
        raise MessageError(f"there is no event {event[:40]!r}")
    number = message.get("id")
    if event in ("progress", "result") and type(number) is not int:
        raise MessageError("an answer without its number")
    if event == "progress":
        _number_in(message, "fraction", 0.0, 1.0)
        _text(message, "stage")
    elif event == "error":
        for key in ("kind", "problem", "where", "remedy"):
            _text(message, key)
    return message


def sendable(text: str) -> str:
    """A text for people, without what no message may hold: half characters of file names, zeros, endless length."""
    return text[:2000].encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\0")


def volume_message(volume: Volume, path: Path) -> dict[str, Any]:
    """Write a volume's voxels to a file (``.npy``) and say where they are.

    Raises:
        OSError: the file cannot be written, e.g. because the disk is full.
    """
    np.save(path, np.ascontiguousarray(volume.array), allow_pickle=False)
    return {
        "file": str(path),
        "ijk_to_ras": np.asarray(volume.ijk_to_ras, dtype=float).tolist(),
        "name": sendable(volume.name),
        "source": sendable(volume.source),
        "warnings": list(map(sendable, volume.warnings)),
    }


def volume_from(message: Mapping[str, Any]) -> Volume:
    """The volume of `volume_message`, its voxels read-only on the disk.

    Raises:
        MessageError: the file is gone or broken, or the message is no volume's.
    """
    matrix = _rows(message, "ijk_to_ras", 4)
    if len(matrix) != 4 or not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) < 1e-12:
        raise MessageError("the volume has no place in the world")
    file = _text(message, "file")
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # a file that was damaged can be anything to numpy
        raise MessageError(f"the voxels cannot be read ({error})", where=file) from error
    if not isinstance(array, np.ndarray) or array.ndim != 3 or array.dtype.kind not in "uif" or not array.size:
        raise MessageError("the file holds no voxels of a volume", where=file)
    return Volume(
        array,
        matrix,
        name=_text(message, "name"),
        source=_text(message, "source"),
        warnings=_texts(message, "warnings"),
    )


def pose_message(pose: Pose) -> dict[str, Any]:
    """A pose as JSON values; a missing number is null."""
    return {
        "positions": [[_number(value) for value in row] for row in pose.positions],
        "confidence": _numbers(pose.confidence),
        "radius90_mm": _numbers(pose.radius90_mm),
        "laterality": None if pose.laterality is None else asdict(pose.laterality),
    }


def pose_from(message: Mapping[str, Any]) -> Pose:
    """The pose of `pose_message`.

    Raises:
        MessageError: it is none.
    """
    positions = _rows(message, "positions", 3)
    laterality = message.get("laterality")
    return Pose(
        positions,
        confidence=_row(message, "confidence", len(positions), 1.0),
        radius90_mm=_row(message, "radius90_mm", len(positions), _FARTHEST_MM),
        laterality=None if laterality is None else _laterality_from(_get(message, "laterality", dict)),
    )


_OTHER = ("pose", "status", "views", "warnings", "timings", "refinement", "mean_peak_mass", "detection_score")
#: Fields of an estimate that travel as they are, and what they are.
_PLAIN = {one.name: {"str": str}[str(one.type)] for one in fields(Estimate) if one.name not in _OTHER}


def estimate_message(estimate: Estimate) -> dict[str, Any]:
    """An estimate as JSON values, without its single views."""
    return {
        **{name: getattr(estimate, name) for name in _PLAIN},
        "status": estimate.status,
        "pose": pose_message(estimate.pose),
        "detection_score": _number(estimate.detection_score),
        "mean_peak_mass": _number(estimate.mean_peak_mass),
        "timings": {stage: round(seconds, 6) for stage, seconds in estimate.timings.items()},
        "warnings": list(estimate.warnings),
        "refinement": asdict(estimate.refinement),
    }


def estimate_from(message: Mapping[str, Any]) -> Estimate:
    """The estimate of `estimate_message`; it has no views.

    Raises:
        MessageError: it is none.
    """
    pose = pose_from(_get(message, "pose", dict))
    if len(pose.positions) != default_schema().count:
        raise MessageError(f"a pose of {len(pose.positions)} landmarks, not {default_schema().count}")
    timings = _get(message, "timings", dict)
    plain: dict[str, Any] = {
        name: _text(message, name) if kind is str else _get(message, name, kind) for name, kind in _PLAIN.items()
    }
    return Estimate(
        **plain,
        pose=pose,
        status=_status(message),
        detection_score=_number_or_missing(message, "detection_score"),
        mean_peak_mass=_number_or_missing(message, "mean_peak_mass"),
        timings={stage: _number_in(timings, stage, 0.0, math.inf) for stage in timings},
        warnings=_texts(message, "warnings"),
        refinement=_refinement_from(_get(message, "refinement", dict)),
        views=(),
    )


def _status(message: Mapping[str, Any]) -> Status:
    status = _get(message, "status", str)
    if status not in get_args(Status):
        raise MessageError(f"there is no status {status[:40]!r}")
    return cast(Status, status)


def resource_estimate_from(message: Mapping[str, Any]) -> ResourceEstimate:
    """The outlook of ``asdict``.

    Raises:
        MessageError: it is none.
    """
    sizes = {key: message.get(key) for key in ("memory_bytes", "device_bytes")}
    if not all(size is None or _is_whole(size, 0, _MOST_BYTES) for size in sizes.values()):
        raise MessageError("an amount of memory is no number of bytes")
    texts = {key: _text(message, key) for key in ("device", "device_reason", "model", "memory_plan")}
    return ResourceEstimate(**texts, **sizes)  # type: ignore[arg-type]  # of the kinds that were checked


def _laterality_from(message: Mapping[str, Any]) -> Laterality:
    consistent = message.get("consistent")
    return Laterality(
        arms_confidence=_number_in(message, "arms_confidence", 0.0, 1.0),
        legs_confidence=_number_in(message, "legs_confidence", 0.0, 1.0),
        arms_swapped=_get(message, "arms_swapped", bool),
        legs_swapped=_get(message, "legs_swapped", bool),
        consistent=None if consistent is None else _get(message, "consistent", bool),
    )


def _refinement_from(message: Mapping[str, Any]) -> Refinement:
    mode = _get(message, "mode", str)
    rows = {key: _get(message, key, list) for key in ("moved", "pinned")}
    if mode not in get_args(RefineMode):
        raise MessageError(f"there is no refinement {mode[:40]!r}")
    if not all(_is_whole(number, 1, default_schema().count) for row in rows.values() for number in row):
        raise MessageError("refined landmarks are given by their numbers")
    residuals = {
        key: None if message.get(key) is None else _number_in(message, key, 0.0, _FARTHEST_MM)
        for key in ("residual_before_mm", "residual_after_mm")
    }
    if not _is_whole(message.get("iterations"), 0, 10**6):
        raise MessageError("the iterations are no number")
    known = cast(RefineMode, mode)
    return Refinement(known, tuple(rows["moved"]), tuple(rows["pinned"]), message["iterations"], **residuals)


# ---- values of the right kind, or a MessageError


def _get(message: Mapping[str, Any], key: str, kind: type[Any], default: Any = None) -> Any:
    options = {} if default is None else {"default": default}
    return field(dict(message), key, kind, error=MessageError, **options)


def _text(message: Mapping[str, Any], key: str) -> str:
    value: str = _get(message, key, str)
    if len(value) > _LONGEST_TEXT or "\0" in value:
        raise MessageError(f"the field '{key}' is no text of at most {_LONGEST_TEXT} characters")
    return value


def _texts(message: Mapping[str, Any], key: str) -> tuple[str, ...]:
    values = _get(message, key, list)
    if not all(isinstance(value, str) for value in values):
        raise MessageError(f"the field '{key}' is no list of texts")
    return tuple(values)


def _number_in(message: Mapping[str, Any], key: str, least: float, most: float) -> float:
    value: float = _get(message, key, float)
    if not least <= value <= most:
        raise MessageError(f"the field '{key}' does not lie in {least:g}-{most:g}")
    return value


def _number_or_missing(message: Mapping[str, Any], key: str) -> float:
    value = message.get(key)
    return math.nan if value is None else float(_get(message, key, float))


def _row(message: Mapping[str, Any], key: str, count: int, most: float) -> np.ndarray | None:
    if message.get(key) is None:
        return None
    values = _get(message, key, list)
    if len(values) != count or not all(value is None or _is_number(value, 0.0, most) for value in values):
        raise MessageError(f"the field '{key}' is not {count} numbers of at most {most:g}")
    return np.array([math.nan if value is None else float(value) for value in values])


def _rows(message: Mapping[str, Any], key: str, columns: int) -> np.ndarray:
    rows = _get(message, key, list)
    for row in rows:
        whole = isinstance(row, list) and len(row) == columns
        if not whole or not all(value is None or _is_number(value, -_FARTHEST_MM, _FARTHEST_MM) for value in row):
            raise MessageError(f"the field '{key}' has no {columns} numbers in each row")
    numbers = [[math.nan if value is None else float(value) for value in row] for row in rows]
    return np.array(numbers, dtype=float).reshape(len(rows), columns)


def _is_number(value: Any, least: float, most: float) -> bool:
    return type(value) in (int, float) and least <= value <= most


def _is_whole(value: Any, least: int, most: int) -> bool:
    return type(value) is int and least <= value <= most


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _numbers(values: np.ndarray | None) -> list[float | None] | None:
    return None if values is None else [_number(value) for value in values]
