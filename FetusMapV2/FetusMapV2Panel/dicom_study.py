"""Patient and study of a volume node, from Slicer's DICOM database or from its DICOM file."""

from __future__ import annotations

from pathlib import Path

import slicer

from FetusMapV2Lib.imaging.study import Study, read_study
from FetusMapV2Panel.nodes import VolumeNode

_INSTANCES = "DICOM.instanceUIDs"


def studyOf(volumeNode: VolumeNode) -> Study | None:
    """Patient and study of a volume node; None if it does not come from DICOM, or its files no longer exist.

    Raises:
        InputError: a DICOM file that cannot be read.
    """
    paths = [Path(name) for name in _files(volumeNode)]
    return read_study(*paths) if paths and all(path.exists() for path in paths) else None


def _files(volumeNode: VolumeNode) -> list[str]:
    identifiers = (volumeNode.GetAttribute(_INSTANCES) or "").split()
    database = getattr(slicer, "dicomDatabase", None)  # absent where Slicer was built without DICOM
    if identifiers and database is not None:
        return [name for name in map(database.fileForInstance, identifiers) if name]
    storage = volumeNode.GetStorageNode()
    name = storage.GetFullNameFromFileName() if storage is not None else ""
    return [name] if name else []
