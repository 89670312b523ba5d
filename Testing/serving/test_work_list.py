"""The work list of a folder: how far each case is, what is saved of it, and that one tab at a time has it."""

from __future__ import annotations

import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.core.locks import LockedError
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.imaging.case_search import find_cases
from FetusMapV2Lib.scene.section_editing import start_nuchal_try
from FetusMapV2Lib.serving.open_case import OpenCase
from FetusMapV2Lib.serving.work_list import WorkItem, WorkList, vouched


@pytest.fixture
def folder(patients, tmp_path: Path) -> Path:
    made = tmp_path / "cases"
    made.mkdir()
    for patient in patients:
        shutil.copy(patient.volume_path, made)
    return made


@pytest.fixture
def work(folder: Path) -> WorkList:
    return WorkList(folder, folder / "results")


@pytest.fixture
def opened(patients) -> Iterator[OpenCase]:
    case = OpenCase(patients[0].volume(), patients[0].volume_path, lambda: None, lambda name: None)
    yield case
    case.close()


@pytest.fixture
def estimate(patients) -> Estimate:
    return Estimate.given(Pose(patients[0].pose().positions, np.full(22, 0.8), np.full(22, 2.0)), "a model")


def states(work: WorkList) -> list[str]:
    return [item.state for item in work.items()]


def test_a_case_is_open_estimated_confirmed_and_changed(work: WorkList, opened: OpenCase, estimate: Estimate) -> None:
    case = work.cases[0]
    assert work.items() == [WorkItem("case-0000", "open"), WorkItem("case-0001", "open")]
    opened.show(estimate)
    work.save(case, opened)
    assert states(work) == ["estimated", "open"]
    with pytest.raises(InputError, match="no landmark was confirmed"):
        work.save_training_case(case, opened)
    opened.step("confirm", [0, 1])
    assert work.save_training_case(case, opened) == "case-0000" and vouched(opened) == 2
    assert states(work) == ["confirmed", "open"]
    opened.step("confirm", [2])
    work.save(case, opened)
    assert states(work) == ["changed", "open"]
    assert work.save_training_case(case, opened) == "case-0000"  # the same one, replaced
    (saved,) = find_cases(work._results / "training-cases")
    assert saved.pose().present.sum() == 3 and states(work) == ["confirmed", "open"]


def test_no_fetus_is_a_result_and_undoing_everything_leaves_the_case_open(
    work: WorkList, opened: OpenCase, estimate: Estimate
) -> None:
    case = work.cases[0]
    nothing = Estimate.given(Pose(np.full((22, 3), np.nan)), "a model")
    opened.show(Estimate(**{**nothing.__dict__, "status": "none", "reason": "No fetus was found."}))
    work.save(case, opened)
    assert states(work)[0] == "no fetus"
    opened.show(estimate)
    work.save(case, opened)
    opened.undo()
    work.save(case, opened)
    assert states(work)[0] == "open" and not list(work._results.glob("*.mrk.json"))


def test_the_work_is_found_again(work: WorkList, opened: OpenCase, estimate: Estimate, patients) -> None:
    case = work.cases[0]
    opened.show(estimate)
    opened.step("confirm", [4])
    start_nuchal_try(opened.poses)
    opened.answer.device, opened.answer.warnings = "cpu", ("look twice",)
    work.save(case, opened)
    again = OpenCase(patients[0].volume(), patients[0].volume_path, lambda: None, lambda name: None)
    try:
        WorkList(work._results.parent, work._results).restore(case, again)
        assert again.poses.states() == opened.poses.states() and again.poses.model == "a model"
        assert [edit.action for edit in again.poses.edit_log.edits()] == ["confirmed"]
        assert again.poses.edit_log.edits() == opened.poses.edit_log.edits()
        np.testing.assert_allclose(again.poses.sections.by_hand.nuchal, opened.poses.sections.by_hand.nuchal, atol=1e-5)
        assert (again.current().device, again.current().warnings) == ("cpu", ("look twice",))
        np.testing.assert_allclose(again.poses.pose().positions, estimate.pose.positions, atol=1e-5)
    finally:
        again.close()


def test_a_case_is_taken_by_one_tab_at_a_time(work: WorkList) -> None:
    with work.taken(work.cases[0]):
        with pytest.raises(LockedError, match="in use"), work.taken(work.cases[0]):
            pass
        with work.taken(work.cases[1]):
            pass
    with work.taken(work.cases[0]):
        pass


def test_damaged_notes_are_one_line_and_the_case_counts_as_open(work: WorkList, opened: OpenCase) -> None:
    work._results.mkdir()
    (work._results / "case-0000.work.json").write_text("{")
    assert states(work)[0] == "open"
    with pytest.raises(InputError, match="Remove it to begin anew"):
        work.restore(work.cases[0], opened)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such permissions")
def test_other_users_cannot_read_the_work(work: WorkList, opened: OpenCase, estimate: Estimate) -> None:
    opened.show(estimate)
    work.save(work.cases[0], opened)
    for path in work._results.glob("case-*"):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o077


def test_results_are_no_cases_and_a_folder_without_volumes_is_refused(
    work: WorkList, opened: OpenCase, estimate: Estimate, tmp_path: Path
) -> None:
    opened.show(estimate)
    opened.step("confirm", [0])
    work.save_training_case(work.cases[0], opened)
    assert len(WorkList(work._results.parent, work._results).cases) == 2
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no volume is in this folder"):
        WorkList(tmp_path / "empty", tmp_path / "results")
