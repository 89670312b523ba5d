"""Finding the annotated cases of a folder: volumes with their landmarks. Skipped files are reported with the reason.

A case is ``NAME.nrrd`` (or anything else that `read_volume` reads, also a folder of DICOM slices) with
``NAME.mrk.json`` and optionally ``NAME.json``.
"""

from __future__ import annotations

import logging
import os
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.core.json_files import field, read_json_object
from FetusMapV2Lib.core.manifests import read_manifest
from FetusMapV2Lib.core.safe_text import printable
from FetusMapV2Lib.imaging.file_inspection import dicom_files, inspect_file
from FetusMapV2Lib.imaging.markups import read_markups
from FetusMapV2Lib.imaging.reading import read_volume
from FetusMapV2Lib.imaging.volume import Volume

_LOG = logging.getLogger(__name__)

LANDMARKS_SUFFIX = ".mrk.json"
#: Endings of volume files, longest first; upper case is as good.
VOLUME_SUFFIXES = (
    ".seq.nrrd", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".nii", ".hdr", ".dcm", ".ima", ".vol", ".v00",
)  # fmt: skip
#: Suffixes of other files of a case, whose content is not inspected.
_OTHER_SUFFIXES = (".json", ".csv", ".png", ".mrb", ".html", ".pdf", ".raw", ".zraw", ".img", ".gz", ".txt", ".fcsv")
#: Names listed per reason; of further ones the number is given.
_MOST_NAMES = 100


@dataclass(frozen=True)
class CaseFiles:
    """The files of one case; they are read on demand."""

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

    def pose(self) -> Pose:
        """The annotated landmarks, RAS mm, NaN where missing.

        Raises:
            InputError: see `read_markups`.
        """
        return read_markups(self.landmarks_path)

    def truth(self) -> dict[str, Any]:
        """What else is known of the case; empty if nothing is.

        Raises:
            InputError: the file is not a JSON object, or its ``fetus_present`` is neither true nor false.
        """
        if not self.truth_path.exists():
            return {}
        remedy = "Correct it, or remove it if nothing else is known of the case"
        truth = read_json_object(self.truth_path, "the file of what is known of a case", remedy=remedy)
        field(truth, "fetus_present", bool, where=self.truth_path, remedy="Write true or false", default=True)
        return truth

    @property
    def fetus_present(self) -> bool:
        """False only where the case states it; a case without annotation is not a case without a fetus."""
        return bool(self.truth().get("fetus_present", True))


@dataclass(frozen=True)
class Skipped:
    """A file that looks like part of a case and is skipped.

    Attributes:
        path: of the file.
        reason: why, a clause.
    """

    path: Path
    reason: str


def find_cases(
    folder: str | os.PathLike[str], *, on_skipped: Callable[[Sequence[Skipped]], None] | None = None
) -> list[CaseFiles]:
    """All annotated cases of a folder, sorted by name.

    Args:
        folder: of the cases.
        on_skipped: called with the skipped files, if there are any; by default it is logged as a warning.

    Raises:
        InputError: the folder does not exist, cannot be listed, or holds no case.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError("this folder does not exist", where=folder, remedy="Give a folder of cases")
    try:
        search = _Search(folder)
    except OSError as error:
        raise InputError(f"the folder cannot be listed ({error.strerror})", where=folder) from None
    cases, skipped = search.result()
    if skipped:
        (on_skipped or log_skipped)(skipped)
    if not cases:
        problem = "no annotated case in this folder"
        if skipped:
            problem += f" ({len(skipped)} left out, such as {printable(skipped[0].path.name)}: {skipped[0].reason})"
        remedy = "A case is a volume NAME.nrrd with its landmarks NAME.mrk.json"
        raise InputError(problem, where=folder, remedy=remedy)
    return cases


def log_skipped(skipped: Sequence[Skipped]) -> None:
    """Log the skipped files, one line for each reason."""
    reasons: dict[str, list[str]] = {}
    for one in skipped:
        reasons.setdefault(one.reason, []).append(printable(one.path.name))
    for reason, names in reasons.items():
        more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
        _LOG.warning("%s: left out, as %s: %s%s", skipped[0].path.parent, reason, ", ".join(names[:_MOST_NAMES]), more)


def ignore_skipped(skipped: Sequence[Skipped]) -> None:
    """For callers that have already reported skipped files."""


def volumes_named(folder: Path, name: str) -> list[Path]:
    """The volumes of a case in a folder; more than one is one too many."""
    return _Search(folder).volumes(name) if folder.is_dir() else []


class _Search:
    """The entries of a folder, sorted into volumes, landmarks and others by the stem of their names."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, list[Path]] = {}  # volumes by their suffix
        self._others: dict[str, list[Path]] = {}  # possibly volumes by their content
        self._landmarks: dict[str, Path] = {}
        self._skipped: list[Skipped] = []
        for path in sorted(folder.iterdir()):
            self._add(path)

    def result(self) -> tuple[list[CaseFiles], list[Skipped]]:
        """Cases and skipped files, each sorted by name."""
        cases, taken = [], set()
        for landmarks in self._landmarks.values():
            name = landmarks.name[: -len(LANDMARKS_SUFFIX)]
            volumes = self.volumes(name)
            reason = self._reason_to_skip(name, landmarks, volumes)
            if reason:
                self._skipped.append(Skipped(landmarks, reason))
                taken.update(volumes)
            else:
                cases.append(CaseFiles(name, volumes[0], landmarks, self._folder / f"{name}.json"))
                taken.add(volumes[0])
        without = (path for paths in self._known.values() for path in paths if path not in taken)
        self._skipped += [Skipped(path, "no landmarks of this name are there") for path in without]
        return sorted(cases, key=lambda one: one.name), sorted(self._skipped, key=lambda one: one.path.name)

    def volumes(self, name: str) -> list[Path]:
        """The volumes of a name: those with a volume suffix, else those with the content of a volume."""
        key = _key(name)
        return self._known.get(key) or [path for path in self._others.get(key, []) if _holds_volume(path)]

    def _add(self, path: Path) -> None:
        lower = path.name.lower()
        landmarks = lower.endswith(LANDMARKS_SUFFIX)
        suffix = next((suffix for suffix in VOLUME_SUFFIXES if lower.endswith(suffix)), "")
        if path.name.startswith("."):
            if landmarks or suffix:
                mac = path.name.startswith("._")
                self._skip(path, "it is a metadata file of macOS" if mac else "it is hidden")
        elif landmarks and path.is_dir():
            self._skip(path, "it is a folder")
        elif landmarks:
            key = _key(path.name[: -len(LANDMARKS_SUFFIX)])
            if key in self._landmarks:
                self._skip(path, f"it has the same name as {self._landmarks[key].name}")
            else:
                self._landmarks[key] = path
        elif suffix:
            self._known.setdefault(_key(path.name[: -len(suffix)]), []).append(path)
        elif not lower.endswith(_OTHER_SUFFIXES):
            for stem in {path.name, path.stem}:
                self._others.setdefault(_key(stem), []).append(path)

    def _skip(self, path: Path, reason: str) -> None:
        self._skipped.append(Skipped(path, reason))

    def _reason_to_skip(self, name: str, landmarks: Path, volumes: Sequence[Path]) -> str:
        """Why landmarks are not a case; empty if they are one."""
        manifest = read_manifest(self._folder, name)
        if manifest is not None and manifest.staging:
            return "writing it was cut off; the next program that writes into this folder finishes it"
        if not landmarks.exists():
            return "it is a link to nothing"
        if len(volumes) == 1:
            return "" if volumes[0].exists() else "its volume is a link to nothing"
        if volumes:
            names = " and ".join(path.name for path in volumes)
            return f"it is not known which of its volumes was annotated, {names}"
        frame = re.fullmatch(r"(.+)_\d{4,}", name)
        if frame and self.volumes(frame[1]):
            return "it belongs to a frame of a sequence, and a case is one volume"
        folded = [
            path.name for key, paths in self._known.items() if key.casefold() == name.casefold() for path in paths
        ]
        return "no volume of this name is there" + (f", only {folded[0]}" if folded else "")


def _key(stem: str) -> str:
    """The normalised name, for comparisons: macOS writes accents as separate characters."""
    return unicodedata.normalize("NFC", stem)


def _holds_volume(path: Path) -> bool:
    try:
        if path.is_dir():
            return bool(dicom_files(path))
        inspect_file(path)
    except (InputError, OSError):
        return False
    return True
