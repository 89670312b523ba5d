"""Names of report files: two volumes never share one, even if they have the same name."""

from __future__ import annotations

from pathlib import Path

import vtk

from FetusMapV2Lib.core.atomic_files import safe_stem
from FetusMapV2Panel import pose_ownership
from FetusMapV2Panel.nodes import VolumeNode


class ReportNames:
    """Keeps, as long as Slicer runs, which volume each report was written for, also of closed scenes.

    "Replace existing files" replaces earlier reports of the same volume only: that of another patient, whose volume
    has the same name, is kept.
    """

    def __init__(self) -> None:
        self._taken: dict[str, vtk.vtkWeakReference] = {}

    def of(self, folder: Path, volume: VolumeNode) -> str:
        """The stem of the file names of a volume's report."""
        wanted = stem = safe_stem(pose_ownership.displayName(volume))
        number = 1
        while self._belongsToOther(folder, stem, volume):
            number += 1
            stem = f"{wanted} {number}"
        return stem

    def record(self, folder: Path, stem: str, volume: VolumeNode) -> None:
        """Record for which volume a report was written."""
        reference = vtk.vtkWeakReference()
        reference.Set(volume)
        self._taken[_key(folder, stem)] = reference

    def _belongsToOther(self, folder: Path, stem: str, volume: VolumeNode) -> bool:
        reference = self._taken.get(_key(folder, stem))
        return reference is not None and reference.Get() is not volume


def _key(folder: Path, stem: str) -> str:
    """The same for names that differ only in case, which some file systems do not distinguish."""
    return str(folder.absolute() / stem).casefold()
