"""Folders of annotated cases: a volume, its landmarks as Slicer Markups, and what else is known of it.

A case is ``NAME.nrrd`` (or another volume format) with ``NAME.mrk.json`` and optionally ``NAME.json``.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import Schema
from FetusMapV2Lib.foundation.errors import InputError
from FetusMapV2Lib.imaging.markups import read_markups
from FetusMapV2Lib.imaging.reading import read_volume
from FetusMapV2Lib.imaging.volume import Volume

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
