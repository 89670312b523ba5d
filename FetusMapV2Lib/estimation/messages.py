"""What a pose engine in another process is told and what it answers: JSON values, one message a line, versioned.

Voxels travel in a file beside the messages. Needs neither torch nor Qt.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from FetusMapV2Lib.anatomy.laterality import Laterality
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.estimation.estimate import Estimate, Refinement
from FetusMapV2Lib.imaging.volume import Volume

#: Raised whenever a message changes its meaning; both sides refuse another version.
VERSION = 1


class MessageError(ValueError):
    """A line that is no message of this version."""


def encoded(message: Mapping[str, Any]) -> str:
    """A message as one line, without its line end."""
    return json.dumps({"version": VERSION, **message}, allow_nan=False, separators=(",", ":"))


def decoded(line: str) -> dict[str, Any]:
    """A message from its line.

    Raises:
        MessageError: no JSON object, or another version.
    """
    try:
        message = json.loads(line)
    except ValueError as error:
        raise MessageError(f"not a message: {line[:80]!r}") from error
    if not isinstance(message, dict) or message.get("version") != VERSION:
        raise MessageError(f"not a message of version {VERSION}: {line[:80]!r}")
    return message


def volume_message(volume: Volume, path: Path) -> dict[str, Any]:
    """Write a volume's voxels to a file (``.npy``) and say where they are.

    Raises:
        OSError: the file cannot be written, e.g. because the disk is full.
    """
    np.save(path, np.ascontiguousarray(volume.array), allow_pickle=False)
    return {
        "file": str(path),
        "ijk_to_ras": np.asarray(volume.ijk_to_ras, dtype=float).tolist(),
        "name": volume.name,
        "source": volume.source,
        "warnings": list(volume.warnings),
    }


def volume_from(message: Mapping[str, Any]) -> Volume:
    """The volume of `volume_message`, its voxels read-only on the disk.

    Raises:
        OSError, ValueError: the file is gone or broken.
    """
    array = np.load(message["file"], mmap_mode="r", allow_pickle=False)
    return Volume(
        array,
        np.array(message["ijk_to_ras"], dtype=float),
        name=str(message["name"]),
        source=str(message["source"]),
        warnings=tuple(map(str, message["warnings"])),
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
    """The pose of `pose_message`."""
    laterality = message["laterality"]
    return Pose(
        np.array([[_float(value) for value in row] for row in message["positions"]]),
        confidence=_array(message["confidence"]),
        radius90_mm=_array(message["radius90_mm"]),
        laterality=None if laterality is None else Laterality(**laterality),
    )


_OTHER = ("pose", "looks", "warnings", "timings", "refinement", "clarity")
#: Fields of an estimate that travel as they are.
_PLAIN = tuple(field.name for field in fields(Estimate) if field.name not in _OTHER)


def estimate_message(estimate: Estimate) -> dict[str, Any]:
    """An estimate as JSON values, without its single looks."""
    return {
        **{name: getattr(estimate, name) for name in _PLAIN},
        "pose": pose_message(estimate.pose),
        "presence": _number(estimate.presence),
        "clarity": _number(estimate.clarity),
        "timings": {stage: round(seconds, 6) for stage, seconds in estimate.timings.items()},
        "warnings": list(estimate.warnings),
        "refinement": asdict(estimate.refinement),
    }


def estimate_from(message: Mapping[str, Any]) -> Estimate:
    """The estimate of `estimate_message`; it has no looks."""
    values = {name: message[name] for name in _PLAIN}
    values |= {name: _float(message[name]) for name in ("presence", "clarity")}
    return Estimate(
        **values,
        pose=pose_from(message["pose"]),
        timings=dict(message["timings"]),
        warnings=tuple(message["warnings"]),
        refinement=_refinement_from(message["refinement"]),
        looks=(),
    )


def _refinement_from(message: Mapping[str, Any]) -> Refinement:
    return Refinement(**{**message, "moved": tuple(message["moved"]), "pinned": tuple(message["pinned"])})


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _float(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _numbers(values: np.ndarray | None) -> list[float | None] | None:
    return None if values is None else [_number(value) for value in values]


def _array(values: list[float | None] | None) -> np.ndarray | None:
    return None if values is None else np.array([_float(value) for value in values])
