"""Names of report files: two volumes never share one, whatever they are called."""

from __future__ import annotations

from pathlib import Path

import vtk

from FetusMapV2Lib.core.atomic_files import safe_stem
from FetusMapV2Panel import pose_ownership


class ReportNames:
    """Remembers as long as Slicer runs which volume a report was written for, also of scenes that were closed.

    "Replace existing files" means earlier reports of the same volume: that of another patient, whose volume has the
    same name, stays.
    """

    def __init__(self):
        self._taken: dict[str, vtk.vtkWeakReference] = {}

    def of(self, folder: Path, volume) -> str:
        """The beginning of the file names of a volume's report."""
        wanted = stem = safe_stem(pose_ownership.displayName(volume))
        number = 1
        while self._isOthers(folder, stem, volume):
            number += 1
            stem = f"{wanted} {number}"
        return stem

    def keep(self, folder: Path, stem: str, volume) -> None:
        """A report was written under a name."""
        reference = vtk.vtkWeakReference()
        reference.Set(volume)
        self._taken[_key(folder, stem)] = reference

    def _isOthers(self, folder: Path, stem: str, volume) -> bool:
        reference = self._taken.get(_key(folder, stem))
        return reference is not None and reference.Get() is not volume


def _key(folder: Path, stem: str) -> str:
    """Some file systems do not tell upper case from lower case."""
    return str(folder.absolute() / stem).casefold()
