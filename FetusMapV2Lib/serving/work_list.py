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
from FetusMapV2Lib.serving.open_case import OpenCase

ItemState = Literal["open", "estimated", "no fetus", "changed", "confirmed"]

_TRAINING_CASES = "training-cases"
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
        opened.device = str(notes.get("device", ""))
        opened.warnings = tuple(map(str, notes.get("warnings", ())))
        landmarks = self._path(case, ".mrk.json")
        if landmarks.exists():
            by_hand = HandMeasures.from_document(notes.get("by_hand"))
            opened.restore(landmarks, edits_from_json(notes.get("edit_log", [])), by_hand)

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
        annotation = Annotation(poses.states(), "", poses.model, poses.edit_log.edits())
        name = self._write_training_case(opened, annotation, str(notes.get("training_case", "")))
        self._write(case, opened, {**notes, "training_case": name, "training_digest": _digest(opened)})
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
        names = [f"{case.name}{suffix}" for suffix in (".mrk.json", ".work.json")]
        status = opened.estimate.status if opened.estimate is not None else notes.get("status", "")
        notes = {**notes, "status": status, "device": opened.device, "warnings": list(opened.warnings)}
        with published(self._folder(case), f"{case.name}.work", expected=names, overwrite=True) as staging:
            if opened.poses is not None:
                notes["digest"] = _digest(opened)
                notes["by_hand"] = opened.poses.sections.by_hand.document()
                notes["edit_log"] = edits_to_json(opened.poses.edit_log.edits())
                write_markups(staging / names[0], opened.poses.pose(), descriptions=opened.notes())
            write_json(staging / names[1], notes)

    def _state(self, case: BatchCase) -> ItemState:
        try:
            notes = self._notes(case)
        except InputError:
            return "open"
        if not self._path(case, ".mrk.json").exists():
            return "no fetus" if notes.get("status") == "none" else "open"
        if not notes.get("training_case"):
            return "estimated"
        return "confirmed" if notes.get("digest") == notes.get("training_digest") else "changed"

    def _notes(self, case: BatchCase) -> dict[str, Any]:
        path = self._path(case, ".work.json")
        if not path.exists():
            return {}
        notes = read_json_object(path, "the file of the work on a case", remedy="Remove it to begin anew")
        field(notes, "warnings", list, where=path, remedy="Remove it to begin anew", default=[])
        return notes

    def _folder(self, case: BatchCase) -> Path:
        return self._results / case.folder

    def _path(self, case: BatchCase, suffix: str) -> Path:
        return self._folder(case) / f"{case.name}{suffix}"


def vouched(opened: OpenCase) -> int:
    """How many landmarks of a case a person has set or confirmed."""
    return sum(state in VOUCHED_STATES for state in opened.poses.states()) if opened.poses is not None else 0


def _digest(opened: OpenCase) -> str:
    """What identifies positions and states of the landmarks."""
    assert opened.poses is not None
    now = opened.poses.current()
    return hashlib.sha256(now.world.round(4).tobytes() + ",".join(now.states).encode()).hexdigest()[:16]
