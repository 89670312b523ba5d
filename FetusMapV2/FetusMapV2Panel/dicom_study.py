"""Whose volume a node holds, from Slicer's DICOM database or from the DICOM file it was read from."""

from __future__ import annotations

from pathlib import Path

import slicer

from FetusMapV2Lib.imaging.study import Study, read_study

_INSTANCES = "DICOM.instanceUIDs"


def studyOf(volumeNode) -> Study | None:
    """Patient and study of a volume node; None if it did not come from DICOM, or its files are gone.

    Raises:
        InputError: a DICOM file that cannot be read.
    """
    paths = [Path(name) for name in _files(volumeNode)]
    return read_study(*paths) if paths and all(path.exists() for path in paths) else None


def _files(volumeNode) -> list[str]:
    identifiers = (volumeNode.GetAttribute(_INSTANCES) or "").split()
    database = getattr(slicer, "dicomDatabase", None)
    if identifiers and database is not None:
        return [name for name in map(database.fileForInstance, identifiers) if name]
    storage = volumeNode.GetStorageNode()
    name = storage.GetFullNameFromFileName() if storage is not None else ""
    return [name] if name else []
