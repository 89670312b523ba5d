"""Folders of annotated cases: a volume, its landmarks as Slicer Markups, and what else is known of it.

A case is ``NAME.nrrd`` (or another volume format) with ``NAME.mrk.json`` and optionally ``NAME.json``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from FetusMapV2Lib import __version__
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import Schema, default_schema
from FetusMapV2Lib.foundation.errors import InputError, OutputError
from FetusMapV2Lib.foundation.files import usable_folder, write_json
from FetusMapV2Lib.foundation.publishing import published
from FetusMapV2Lib.imaging.markups import read_markups, write_markups
from FetusMapV2Lib.imaging.reading import read_volume
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.imaging.writing import write_volume

#: States of a landmark that a person vouches for.
VOUCHED_STATES = ("edited", "confirmed")
VOLUME_SUFFIXES = (".nrrd", ".mha", ".mhd", ".nii", ".nii.gz", ".dcm", ".vol", ".v00")


@dataclass(frozen=True)
class CaseFiles:
    """Where one case lies; reading is left to the moment it is needed."""

    name: str
    volume_path: Path
    landmarks_path: Path
    truth_path: Path

    def volume(self) -> Volume:
        """The ultrasound volume.

        Raises:
            InputError: see `read_volume`.
        """
        return read_volume(self.volume_path)

    def pose(self, schema: Schema | None = None) -> Pose:
        """The annotated landmarks, RAS mm, NaN where missing.

        Raises:
            InputError: see `read_markups`.
        """
        return read_markups(self.landmarks_path, schema)

    def truth(self) -> dict[str, Any]:
        """What else is known of the case; empty if nothing is.

        Raises:
            InputError: the file is not JSON.
        """
        if not self.truth_path.exists():
            return {}
        try:
            return dict(json.loads(self.truth_path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise InputError(f"not a JSON object ({error})", where=self.truth_path) from error

    @property
    def fetus_present(self) -> bool:
        """False only where the case says so; a case without annotation is not a case without a fetus."""
        return bool(self.truth().get("fetus_present", True))


def find_cases(folder: str | os.PathLike[str]) -> list[CaseFiles]:
    """All annotated cases of a folder, sorted by name.

    Raises:
        InputError: the folder does not exist or holds no case.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError("this folder does not exist", where=folder, remedy="Give a folder of cases")
    cases = []
    for landmarks in sorted(folder.glob("*.mrk.json")):
        name = landmarks.name[: -len(".mrk.json")]
        volume = _volume_of(folder, name)
        if volume is not None:
            cases.append(CaseFiles(name, volume, landmarks, folder / f"{name}.json"))
    if not cases:
        raise InputError(
            "no annotated case in this folder",
            where=folder,
            remedy="A case is a volume NAME.nrrd with its landmarks NAME.mrk.json",
        )
    return cases


def _volume_of(folder: Path, name: str) -> Path | None:
    for suffix in VOLUME_SUFFIXES:
        path = folder / f"{name}{suffix}"
        if path.exists():
            return path
    return None


@dataclass(frozen=True)
class Annotation:
    """How the landmarks of a case came about.

    Attributes:
        states: per landmark "estimated", "edited", "confirmed" or "missing".
        editor: who looked at them; may be empty.
        model: name and checksum of the model that made the first guess; empty if there was none.
    """

    states: Sequence[str]
    editor: str = ""
    model: str = ""


def write_training_case(
    folder: str | os.PathLike[str],
    name: str,
    volume: Volume,
    pose: Pose,
    annotation: Annotation,
    *,
    schema: Schema | None = None,
    overwrite: bool = False,
    private: bool = True,
) -> CaseFiles:
    """Add a case to a folder that `fetusmap train` takes as it is; all of its files or none.

    Only landmarks that a person edited or confirmed are written as defined: a mere estimate would teach a model
    its own mistakes. The others are "missing", which training leaves out of its loss. ``NAME.json`` records editor,
    time, model and the state of every landmark; nothing of it identifies a patient.

    Args:
        name: stem of the files.
        pose: (N, 3) RAS mm.
        private: see `published`.

    Raises:
        InputError: no landmark was edited or confirmed.
        OutputError: the case exists and `overwrite` is false, or it cannot be written.
        ValueError: there is not one state per landmark.
    """
    schema = schema or default_schema()
    if len(annotation.states) != schema.count:
        raise ValueError(f"{len(annotation.states)} states for {schema.count} landmarks")
    vouched = np.array([state in VOUCHED_STATES for state in annotation.states]) & pose.present
    if not vouched.any():
        remedy = "Look at the landmarks; confirm those that are right and move the others"
        raise InputError("no landmark was confirmed or set by hand", where=name, remedy=remedy)
    target = Path(folder)
    other = _volume_of(target, name)
    if other is not None and other.name != f"{name}.nrrd":
        raise OutputError("another volume of this name is there", where=other, remedy="Choose another name")
    asked = [f"{name}{suffix}" for suffix in (".nrrd", ".mrk.json", ".json")]
    with published(target, name, asked=asked, overwrite=overwrite, private=private) as staging:
        write_volume(staging / f"{name}.nrrd", volume)
        truth = Pose(np.where(vouched[:, None], pose.positions, np.nan))
        write_markups(staging / f"{name}.mrk.json", truth, schema, descriptions=list(annotation.states))
        write_json(staging / f"{name}.json", _annotation_document(annotation, schema))
    return CaseFiles(name, target / f"{name}.nrrd", target / f"{name}.mrk.json", target / f"{name}.json")


def next_case_name(folder: str | os.PathLike[str]) -> str:
    """``case-0000``, or the first number above those in the folder: a name that says nothing of the patient.

    Raises:
        OutputError: the folder is a file, or cannot be made.
    """
    stems = [path.name.split(".")[0] for path in usable_folder(Path(folder)).glob("case-*")]
    numbers = [int(stem[5:]) for stem in stems if stem[5:].isdigit()]
    return f"case-{max(numbers, default=-1) + 1:04d}"


def _annotation_document(annotation: Annotation, schema: Schema) -> dict[str, Any]:
    return {
        "fetus_present": True,
        "annotation": {
            "software": f"FetusMapV2 {__version__}",
            "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "editor": annotation.editor,
            "model": annotation.model,
            "states": dict(zip(schema.keys, annotation.states, strict=True)),
        },
    }
