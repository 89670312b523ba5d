"""`WorkList`: the volumes of a folder, how far each one is, and the work on it, kept in files beside each other.

A case is open in one tab at a time, on whatever computer: a lock file says so.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from FetusMapV2Lib.batch.cases import BatchCase, find_batch_cases
from FetusMapV2Lib.core.atomic_files import write_json
from FetusMapV2Lib.core.errors import InputError, OutputError
from FetusMapV2Lib.core.json_files import field, read_json_object
from FetusMapV2Lib.core.locks import locked
from FetusMapV2Lib.core.publishing import published
from FetusMapV2Lib.imaging.edit_log import edits_from_json, edits_to_json
from FetusMapV2Lib.imaging.markups import write_markups
from FetusMapV2Lib.imaging.training_cases import VOUCHED_STATES, Annotation, next_case_name, write_training_case
from FetusMapV2Lib.scene.hand_measures import HandMeasures
from FetusMapV2Lib.serving.answer import Answer, KeptPose
from FetusMapV2Lib.serving.open_case import OpenCase

ItemState = Literal["open", "estimated", "no fetus", "changed", "confirmed"]

_TRAINING_CASES = "training-cases"
_REMEDY = "Remove it to begin anew"
#: Another tab may take the same number for a training case at the same moment.
_TRIES = 5


@dataclass(frozen=True)
class WorkItem:
    """One line of the list.

    Attributes:
        name: of the case.
        state: "open" (nothing was done), "estimated", "no fetus" (none was found), "confirmed" (saved as a training
            case), or "changed" since then.
    """

    name: str
    state: ItemState


class WorkList:
    """The cases of a folder, with the files of the work on them in another one.

    Args:
        cases: the folder, searched at all depths.
        results: folder for landmarks and training cases; created with the first of them.

    Raises:
        InputError: no volume is in the folder.
    """

    def __init__(self, cases: Path, results: Path) -> None:
        self._results = results
        self.cases = find_batch_cases([str(cases)], leave_out=results).cases
        if not self.cases:
            raise InputError(
                "no volume is in this folder", where=cases, remedy="Give a folder of volumes, or one volume"
            )

    def items(self) -> list[WorkItem]:
        """All lines, as the files are now."""
        return [self.item(case) for case in self.cases]

    def item(self, case: BatchCase) -> WorkItem:
        """The line of one case, as its files are now."""
        return WorkItem(case.key, self._state(case))

    @contextlib.contextmanager
    def taken(self, case: BatchCase) -> Iterator[None]:
        """Keep a case from being opened elsewhere.

        Raises:
            LockedError: it is open elsewhere.
        """
        folder = self._folder(case)
        with locked(folder / f".{case.name}.open", f"the case {case.name}", remedy="Close it in the other tab"):
            yield

    def restore(self, case: BatchCase, opened: OpenCase) -> None:
        """Show the work that was done on a case before, if there is any.

        Raises:
            InputError: a file of it is damaged.
        """
        notes = self._notes(case)
        of_frames = {0: notes} if opened.frame_count == 1 else _frames_of(notes)
        opened.answers = {frame: _answer_of(one) for frame, one in of_frames.items()}
        paths = {frame: self._path(case, _suffix(opened, frame)) for frame in range(opened.frame_count)}
        found = {frame: path for frame, path in paths.items() if path.exists()}
        if found:
            by_hand = {frame: HandMeasures.from_document(one.get("by_hand")) for frame, one in of_frames.items()}
            opened.restore(found, edits_from_json(notes.get("edit_log", [])), by_hand)

    def save(self, case: BatchCase, opened: OpenCase) -> None:
        """Write the work on a case, all of its files or none.

        Raises:
            OutputError: they cannot be written.
        """
        self._write(case, opened, self._notes(case))

    def save_training_case(self, case: BatchCase, opened: OpenCase) -> str:
        """Add a case to the training cases, or replace what was saved of it before; its name there.

        Raises:
            InputError: no landmark was confirmed or set by hand.
            OutputError: it cannot be written.
        """
        if opened.poses is None:
            raise InputError("there is no pose yet", where=case.name, remedy="Estimate it first")
        notes = self._notes(case)
        poses = opened.poses
        key = "training_case" if opened.frame_count == 1 else f"training_case.{opened.frame}"
        annotation = Annotation(poses.states(), "", poses.model, opened.edits_of_frame())
        name = self._write_training_case(opened, annotation, str(notes.get(key, "")))
        self._write(case, opened, {**notes, key: name, "training_case": name, "training_digest": _digest(opened)})
        return name

    def _write_training_case(self, opened: OpenCase, annotation: Annotation, known: str) -> str:
        assert opened.poses is not None
        folder, pose = self._results / _TRAINING_CASES, opened.poses.pose()
        for left in reversed(range(_TRIES)):
            name = known or next_case_name(folder)
            try:
                write_training_case(folder, name, opened.volume, pose, annotation, overwrite=bool(known))
            except OutputError:
                if known or not left:
                    raise
            else:
                return name
        raise AssertionError

    def _write(self, case: BatchCase, opened: OpenCase, notes: dict[str, Any]) -> None:
        suffixes = [_suffix(opened, frame) for frame in range(opened.frame_count)]
        names = [f"{case.name}{suffix}" for suffix in (*suffixes, ".work.json")]
        with published(self._folder(case), f"{case.name}.work", expected=names, overwrite=True) as staging:
            kept = opened.poses_by_frame()
            of_frames = {frame: _notes_of(answer, kept.get(frame)) for frame, answer in sorted(opened.answers.items())}
            for frame, one in kept.items():
                descriptions = [note.text(exact=True) for note in one.snapshot.notes()]
                write_markups(staging / names[frame], one.snapshot.pose, descriptions=descriptions)
            if opened.frame_count == 1:
                notes = {**notes, **of_frames.get(0, {})}
            else:
                notes = {**notes, "frames": {str(frame): one for frame, one in of_frames.items()}}
            if kept:
                notes["digest"] = _digest(opened)
                notes["edit_log"] = edits_to_json(opened.edits())
            write_json(staging / names[-1], notes)

    def _state(self, case: BatchCase) -> ItemState:
        try:
            notes = self._notes(case)
        except InputError:
            return "open"
        if not self._has_landmarks(case, notes):
            answers = [notes, *notes.get("frames", {}).values()]
            return "no fetus" if any(one.get("status") == "none" for one in answers) else "open"
        if not notes.get("training_case"):
            return "estimated"
        return "confirmed" if notes.get("digest") == notes.get("training_digest") else "changed"

    def _has_landmarks(self, case: BatchCase, notes: dict[str, Any]) -> bool:
        suffixes = (".mrk.json", *map(_frame_suffix, _frames_of(notes)))
        return any(self._path(case, suffix).exists() for suffix in suffixes)

    def _notes(self, case: BatchCase) -> dict[str, Any]:
        path = self._path(case, ".work.json")
        if not path.exists():
            return {}
        notes = read_json_object(path, "the file of the work on a case", remedy=_REMEDY)
        field(notes, "warnings", list, where=path, remedy=_REMEDY, default=[])
        frames = field(notes, "frames", dict, where=path, remedy=_REMEDY, default={})
        if not all(frame.isdecimal() and isinstance(one, dict) for frame, one in frames.items()):
            raise InputError("the frames in the file of the work on a case are damaged", where=path, remedy=_REMEDY)
        return notes

    def _folder(self, case: BatchCase) -> Path:
        return self._results / case.folder

    def _path(self, case: BatchCase, suffix: str) -> Path:
        return self._folder(case) / f"{case.name}{suffix}"


def vouched(opened: OpenCase) -> int:
    """How many landmarks of a case a person has set or confirmed."""
    return sum(state in VOUCHED_STATES for state in opened.poses.states()) if opened.poses is not None else 0


def _digest(opened: OpenCase) -> str:
    """What identifies positions and states of the landmarks of all frames."""
    digest = hashlib.sha256()
    for one in opened.poses_by_frame().values():
        now = one.snapshot
        digest.update(now.world.round(4).tobytes() + ",".join(now.states).encode())
    return digest.hexdigest()[:16]


def _notes_of(answer: Answer, kept: KeptPose | None) -> dict[str, Any]:
    notes = {"status": answer.status, "device": answer.device, "warnings": list(answer.warnings)}
    return notes if kept is None else {**notes, "by_hand": kept.by_hand.document()}


def _frames_of(notes: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """The notes of each frame of a sequence."""
    return {int(frame): one for frame, one in notes.get("frames", {}).items()}


def _answer_of(notes: dict[str, Any]) -> Answer:
    warnings = tuple(map(str, notes.get("warnings", ())))
    return Answer(None, str(notes.get("device", "")), warnings, str(notes.get("status", "")))


def _suffix(opened: OpenCase, frame: int) -> str:
    """The end of the name of the file with the landmarks of a frame."""
    return ".mrk.json" if opened.frame_count == 1 else _frame_suffix(frame)


def _frame_suffix(frame: int) -> str:
    return f".frame-{frame:04d}.mrk.json"
