"""`check_cases`: every case of a folder by itself, and against the others."""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.core.progress import OnProgress, ShouldCancel, Stages
from FetusMapV2Lib.imaging.case_search import CaseFiles, Skipped, find_cases
from FetusMapV2Lib.imaging.markups import unknown_labels
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.training.checking.finding import CheckedCase, CheckedFolder, Finding, errors_first
from FetusMapV2Lib.training.checking.pose_findings import Place, contradicting_sides, pose_findings
from FetusMapV2Lib.training.checking.thumbnail import thumbnails

#: Of at least this many cases with sure sides, if this share contradicts the anatomy, the folder is mirrored.
_FEWEST_MIRRORED, _MIRRORED_SHARE = 3, 0.8


@dataclass(frozen=True, eq=False)
class _Seen:
    """What is kept of a case after its volume was dropped."""

    case: CheckedCase
    files: CaseFiles
    pose: Pose | None = None
    voxels: str = ""

    def with_finding(self, finding: Finding) -> _Seen:
        return replace(self, case=replace(self.case, findings=(*self.case.findings, finding)))


def check_cases(
    folder: str | os.PathLike[str],
    *,
    pictures: bool = True,
    on_progress: OnProgress | None = None,
    should_cancel: ShouldCancel | None = None,
) -> CheckedFolder:
    """Check the annotated cases of a folder; every volume is read once.

    Args:
        folder: see `imaging.case_search.find_cases`.
        pictures: whether to make thumbnails for `page.check_page`.
        on_progress: called with the fraction done and the case.
        should_cancel: see `core.progress`.

    Raises:
        InputError: the folder does not exist or holds no case.
        Cancelled: `should_cancel` said yes.
    """
    stages = Stages(on_progress, should_cancel)
    skipped: list[Skipped] = []
    cases = find_cases(folder, on_skipped=skipped.extend)
    seen = []
    for number, files in enumerate(cases):
        stages.reach(number / len(cases), files.name)
        seen.append(_checked(files, pictures))
    seen = _with_duplicates(seen)
    general = [*_mirrored_folder(seen, Path(folder)), *map(_left_out, skipped)]
    checked = [replace(one.case, findings=errors_first(one.case.findings)) for one in seen]
    checked.sort(key=lambda case: (-case.count("error"), -case.count("warning"), case.name))
    stages.reach(1.0, "done")
    return CheckedFolder(os.fspath(folder), tuple(checked), tuple(general))


def _checked(files: CaseFiles, pictures: bool) -> _Seen:
    """One case by itself."""
    place = Place(files.name, files.landmarks_path.name)
    findings: list[Finding] = []
    volume = _volume(files, findings)
    pose, present = _pose(files, place, findings)
    placed = 0 if pose is None else int(pose.present.sum())
    if pose is not None and present and not placed:
        problem = "no landmark is placed, and the case does not say that it shows no fetus; it is left out"
        remedy = f'Place the landmarks, or write "fetus_present": false into {files.truth_path.name}'
        findings.append(place.finding("warning", "empty", "", problem, remedy))
    elif pose is not None and not present and placed:
        problem = "landmarks are placed, but the case says that it shows no fetus"
        findings.append(place.finding("error", "empty", "", problem, f"Correct {files.truth_path.name}"))
    elif pose is not None and present:
        findings += pose_findings(place, pose, volume)
    shown = pose or Pose.missing()
    drawn = thumbnails(volume, shown) if pictures and volume is not None else ()
    case = CheckedCase(files.name, placed, present, tuple(findings), drawn)
    return _Seen(case, files, pose if present and placed else None, "" if volume is None else _digest(volume))


def _volume(files: CaseFiles, findings: list[Finding]) -> Volume | None:
    place = Place(files.name, files.volume_path.name)
    try:
        volume = files.volume()
    except InputError as error:
        findings.append(place.finding("error", "volume", "", error.problem, error.remedy or "Export the volume again"))
        return None
    for warning in volume.warnings:
        problem, _, remedy = warning.partition(": ")
        findings.append(place.finding("warning", "geometry", "", problem, _capital(remedy) or "Look at the volume"))
    return volume


def _pose(files: CaseFiles, place: Place, findings: list[Finding]) -> tuple[Pose | None, bool]:
    """The landmarks, None if they cannot be read, and whether the case shows a fetus."""
    try:
        present = files.fetus_present
    except InputError as error:
        where = Place(files.name, files.truth_path.name)
        findings.append(where.finding("error", "file", "", error.problem, error.remedy))
        present = True
    try:
        return files.pose(), present
    except InputError as error:
        typos = [_typo(place, label) for label in unknown_labels(files.landmarks_path)]
        findings += typos or [place.finding("error", "file", "", error.problem, error.remedy or "Save it again")]
        return None, present


def _typo(place: Place, label: str) -> Finding:
    names = [mark.name for mark in default_schema().landmarks]
    near = difflib.get_close_matches(label.capitalize(), names, n=1)
    remedy = f"Rename the point to '{near[0]}'" if near else "Name the point after a landmark of the schema"
    return place.finding("error", "label", f"'{label}'", "is not a landmark", remedy)


def _digest(volume: Volume) -> str:
    array = np.ascontiguousarray(volume.array)
    return hashlib.sha256(f"{array.shape}|{array.dtype}|".encode() + hashlib.sha256(array.data).digest()).hexdigest()


def _with_duplicates(seen: Sequence[_Seen]) -> list[_Seen]:
    """The cases with what they share: voxels, or all landmarks."""
    result: list[_Seen] = []
    first_with: dict[str, str] = {}
    for one in seen:
        found = one
        twin = first_with.setdefault(one.voxels, one.case.name) if one.voxels else one.case.name
        if twin != one.case.name:
            place = Place(one.case.name, one.files.volume_path.name)
            problem = f"the same voxels as case {twin}"
            remedy = "Remove one of the two, or one of them tests what the other taught"
            found = found.with_finding(place.finding("error", "duplicate", "", problem, remedy))
        elif one.pose is not None:
            positions = np.round(one.pose.positions, 3)
            twin = first_with.setdefault(hashlib.sha256(positions.tobytes()).hexdigest(), one.case.name)
            if twin != one.case.name:
                place = Place(one.case.name, one.files.landmarks_path.name)
                problem = f"the same landmarks as case {twin}, on another volume"
                remedy = "One of the two files was copied; annotate this volume by itself"
                found = found.with_finding(place.finding("warning", "duplicate", "", problem, remedy))
        result.append(found)
    return result


def _mirrored_folder(seen: Sequence[_Seen], folder: Path) -> list[Finding]:
    """One finding where nearly all cases contradict the anatomy: then it is the export, not the annotator."""
    poses = [one.pose for one in seen if one.pose is not None and one.pose.present.all()]
    contradicting = sum(contradicting_sides(pose) for pose in poses)
    if len(poses) < _FEWEST_MIRRORED or contradicting < _MIRRORED_SHARE * len(poses):
        return []
    problem = (
        f"left and right contradict the anatomy in {contradicting} of {len(poses)} cases: the volumes are mirrored"
    )
    remedy = "Export them again without mirroring, or exchange left and right if they were named as seen on the screen"
    return [Finding("error", "mirrored", folder.name, folder.name, "", problem, remedy)]


def _left_out(skipped: Skipped) -> Finding:
    remedy = "Add what is missing, or remove the file"
    return Finding(
        "warning", "left-out", skipped.path.name, skipped.path.name, "", f"left out: {skipped.reason}", remedy
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
