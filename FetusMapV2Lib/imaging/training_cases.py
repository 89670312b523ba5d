"""Adding annotated cases to a folder: a volume, its landmarks as Slicer Markups, and what else is known of it.

How they are found again is in `case_search`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import Schema
from FetusMapV2Lib.core.atomic_files import write_json
from FetusMapV2Lib.core.errors import InputError, OutputError
from FetusMapV2Lib.core.publishing import next_name, published
from FetusMapV2Lib.core.version import SOFTWARE
from FetusMapV2Lib.imaging.case_search import CaseFiles, Skipped, find_cases, volumes_named
from FetusMapV2Lib.imaging.edit_log import Edit, edits_to_json
from FetusMapV2Lib.imaging.markups import write_markups
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.imaging.writing import write_volume

#: States of a landmark that a person vouches for.
VOUCHED_STATES = ("edited", "confirmed")


@dataclass(frozen=True)
class Annotation:
    """Where the landmarks of a case come from.

    Attributes:
        states: per landmark "estimated", "edited", "confirmed" or "missing".
        editor: who looked at them; may be empty.
        model: name and identity of the model that estimated them first; empty if there was none.
        edits: what was done to them by hand, the oldest first.
    """

    states: Sequence[str]
    editor: str = ""
    model: str = ""
    edits: Sequence[Edit] = ()


def write_training_case(
    folder: str | os.PathLike[str],
    name: str,
    volume: Volume,
    pose: Pose,
    annotation: Annotation,
    *,
    overwrite: bool = False,
    private: bool = True,
) -> CaseFiles:
    """Add a case to a folder that `fetusmap train` takes as it is; all of its files or none.

    Only landmarks that a person edited or confirmed are written as defined: an estimate alone would teach a
    model its own mistakes. The others are "missing", which training leaves out of its loss. ``NAME.json`` records
    editor, time, model, the state of every landmark and the edit log; nothing of it identifies a patient.

    Args:
        folder: of the cases.
        name: stem of the files.
        volume: the volume.
        pose: (N, 3) RAS mm.
        annotation: where the landmarks come from.
        overwrite: whether the files of an existing case may be replaced.
        private: see `published`.

    Raises:
        InputError: no landmark was edited or confirmed.
        OutputError: the case exists and `overwrite` is false, or it cannot be written.
        ValueError: there is not one state per landmark.
    """
    if len(annotation.states) != pose.schema.count:
        raise ValueError(f"{len(annotation.states)} states for {pose.schema.count} landmarks")
    vouched = np.array([state in VOUCHED_STATES for state in annotation.states]) & pose.present
    if not vouched.any():
        remedy = "Look at the landmarks; confirm those that are right and move the others"
        raise InputError("no landmark was confirmed or set by hand", where=name, remedy=remedy)
    target = Path(folder)
    others = [path for path in volumes_named(target, name) if path.name != f"{name}.nrrd"]
    if others:
        raise OutputError("another volume of this name is there", where=others[0], remedy="Choose another name")
    expected = [f"{name}{suffix}" for suffix in (".nrrd", ".mrk.json", ".json")]
    with published(target, name, expected=expected, overwrite=overwrite, private=private) as staging:
        write_volume(staging / f"{name}.nrrd", volume)
        truth = Pose(np.where(vouched[:, None], pose.positions, np.nan), schema=pose.schema)
        write_markups(staging / f"{name}.mrk.json", truth, descriptions=list(annotation.states))
        write_json(staging / f"{name}.json", _annotation_document(annotation, pose.schema))
    return CaseFiles(name, target / f"{name}.nrrd", target / f"{name}.mrk.json", target / f"{name}.json")


def next_case_name(folder: str | os.PathLike[str]) -> str:
    """``case-0000``, or the first number above those in the folder: a name that does not identify the patient.

    Raises:
        OutputError: the folder is a file, or cannot be created.
    """
    return next_name(Path(folder), "case", first=0)


def _annotation_document(annotation: Annotation, schema: Schema) -> dict[str, Any]:
    return {
        "fetus_present": True,
        "annotation": {
            "software": SOFTWARE,
            "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "editor": annotation.editor,
            "model": annotation.model,
            "states": dict(zip(schema.keys, annotation.states, strict=True)),
            "edit_log": edits_to_json(annotation.edits),
        },
    }


__all__ = [
    "VOUCHED_STATES",
    "Annotation",
    "CaseFiles",
    "Skipped",
    "find_cases",
    "next_case_name",
    "write_training_case",
]
