"""A 4D case: each frame has its own volume, pose, answer and files, and nothing of another one is ever shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.imaging.case_search import find_cases
from FetusMapV2Lib.scene.section_editing import start_nuchal_try
from FetusMapV2Lib.serving.case_frames import read_frames
from FetusMapV2Lib.serving.downloads import write_download
from FetusMapV2Lib.serving.frames_shown import frames_message, frames_shown
from FetusMapV2Lib.serving.outline_keeper import outlines_shown
from FetusMapV2Lib.serving.sequence_case import SequenceCase
from FetusMapV2Lib.serving.work_list import WorkList

NOWHERE = Pose(np.full((22, 3), np.nan))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three volumes over time, each with its own brightness; the second one is black, so it cannot be used."""
    first = np.random.default_rng(0).integers(1, 100, (24, 20, 20)).astype(np.uint8)
    image = SimpleITK.JoinSeries([SimpleITK.GetImageFromArray(one) for one in (first, 0 * first, 2 * first)])
    image.SetSpacing((4.0, 4.0, 4.0, 0.5))
    path = tmp_path_factory.mktemp("sequence") / "cases" / "moving.nii"
    path.parent.mkdir()
    SimpleITK.WriteImage(image, str(path))
    return path


@pytest.fixture
def desk(file: Path, patients) -> Iterator[SimpleNamespace]:
    """An open sequence, what it has told, and an estimate of the same pose, moved, for each frame."""
    heard = SimpleNamespace(frames=[])
    case = SequenceCase(read_frames(file), file, lambda: heard.frames.append(seen(case)), lambda name: None)
    truth = patients[0].pose().positions
    heard.case = case
    heard.poses = [Pose(truth + 3.0 * frame, np.full(22, 0.8), np.full(22, 2.0)) for frame in range(3)]
    heard.estimates = [Estimate.given(pose, "a model") for pose in heard.poses]
    yield heard
    case.close()


def seen(case: SequenceCase) -> tuple[int, float | None]:
    """The shown frame, and where its first landmark is; None without a pose."""
    return case.frame, None if case.poses is None else round(float(case.poses.pose().positions[0, 0]), 3)


def place_of(desk: SimpleNamespace, frame: int) -> float:
    return round(float(desk.poses[frame].positions[0, 0]), 3)


def test_a_pose_is_shown_in_its_own_frame_alone(desk) -> None:
    case = desk.case
    assert case.frame_count == 3 and case.name == "moving" and case.file_name == "moving_0000"
    case.show_frame(2)
    assert case.volume.array.max() > 100 and case.estimate is None
    case.show(desk.estimates[2])
    assert case.find_outlines() and outlines_shown(case)["section_rows"]
    desk.frames.clear()
    case.show_frame(0)
    assert desk.frames == [(0, None)]  # told once, when all is of one frame
    assert case.volume.array.max() < 100 and case.estimate is None
    assert outlines_shown(case)["section_rows"] == [] and not case.find_outlines()
    assert not any(node.GetNumberOfDefinedControlPoints() for node in case.frames.poses.pose_scene.sections.draggable)
    with pytest.raises(InputError, match="no pose yet"):
        write_download("csv", case, "intergrowth21", Path())
    case.show_frame(1)
    with pytest.raises(InputError):
        _ = case.volume
    case.show_frame(7)  # the last one
    assert seen(case) == (2, place_of(desk, 2)) and case.estimate is desk.estimates[2]


def test_all_frames_are_shown_with_their_movement_and_edits_are_undone_in_their_frame(desk, tmp_path: Path) -> None:
    case, unreadable = desk.case, replace(Estimate.given(NOWHERE), status="unreadable", reason="It is black.")
    estimates = [desk.estimates[0], unreadable, desk.estimates[2]]
    assert frames_shown(case)["movement_rows"] == []
    case.show_all(estimates)
    shown = frames_shown(case)
    assert (shown["frame"], shown["frame_count"], shown["frame_text"]) == (0, 3, "Frame 1 of 3, 0.00 s")
    assert [row["name"] for row in shown["movement_rows"]][:1] == ["Activity"]
    assert frames_message(case, estimates)[0].startswith("A fetus was found in 2 of 3 frames.\nIt is black.")
    for frame, place in ((1, None), (2, place_of(desk, 2)), (0, place_of(desk, 0))):
        case.show_frame(frame)
        assert seen(case) == (frame, place) and case.estimate is estimates[frame]
    case.step("confirm", [4])
    case.show_frame(2)
    assert set(case.poses.states()) == {"estimated"} and case.edits_of_frame() == ()
    table = write_download("movement", case, "intergrowth21", tmp_path)
    assert table.name == "moving.movement.csv" and len(table.read_text(encoding="utf-8").splitlines()) >= 4
    assert write_download("landmarks", case, "intergrowth21", tmp_path).name == "moving_0002.mrk.json"
    case.undo()
    assert seen(case) == (0, place_of(desk, 0)) and set(case.poses.states()) == {"estimated"}


def test_undoing_the_estimate_of_a_frame_and_none_in_a_frame_leave_the_others(desk) -> None:
    case = desk.case
    case.show(desk.estimates[0])
    case.show_frame(2)
    case.show(desk.estimates[2])
    case.undo()
    assert seen(case) == (2, None)
    case.redo()
    assert seen(case) == (2, place_of(desk, 2))
    case.show(replace(Estimate.given(NOWHERE), status="none", reason="No fetus was found."))
    assert seen(case) == (2, None) and case.answer.status == "none"
    case.show_frame(0)
    assert seen(case) == (0, place_of(desk, 0)) and case.answer.status == "found"
    case.show_all([replace(Estimate.given(NOWHERE), status="none", reason="No fetus was found.")] * 3)
    assert seen(case) == (0, None) and frames_message(case, [case.estimate] * 3)[0] == "No fetus was found."


def test_the_work_on_each_frame_is_saved_and_found_again(desk, file: Path, tmp_path: Path) -> None:
    case, work = desk.case, WorkList(file.parent, tmp_path / "results")
    (listed,) = work.cases
    for frame in (2, 0):
        case.show_frame(frame)
        case.show(replace(desk.estimates[frame], device="cpu", warnings=(f"frame {frame}",)))
        case.step("confirm", [frame + 1])
        if frame == 2:
            start_nuchal_try(case.poses)
    work.save(listed, case)
    assert [item.state for item in work.items()] == ["estimated"]
    names = sorted(path.name for path in (tmp_path / "results").glob("moving*"))
    assert names == ["moving.frame-0000.mrk.json", "moving.frame-0002.mrk.json", "moving.work.json"]
    assert work.save_training_case(listed, case) == "case-0000"
    case.show_frame(2)
    assert work.save_training_case(listed, case) == "case-0001"
    assert [item.state for item in work.items()] == ["confirmed"]
    saved = find_cases(tmp_path / "results" / "training-cases")
    assert [int(one.volume().array.max()) > 100 for one in saved] == [False, True]
    again = SequenceCase(read_frames(file), file, lambda: None, lambda name: None)
    try:
        work.restore(listed, again)
        assert again.frame == 0 and [edit.frame for edit in again.edits()] == [2, 0]
        for frame in (1, 2, 0):
            again.show_frame(frame)
            assert seen(again) == (frame, None if frame == 1 else place_of(desk, frame))
            if frame != 1:
                assert len(again.poses.sections.by_hand.nuchal) == (frame == 2)
                assert again.poses.states()[frame + 1] == "confirmed"
                assert again.poses.states().count("estimated") == 21
                assert (again.answer.device, again.answer.warnings) == ("cpu", (f"frame {frame}",))
        again.step("missing", [0])
        work.save(listed, again)
        assert [item.state for item in work.items()] == ["changed"]
        with pytest.raises(InputError, match="a frame that the volume does not have"):
            again.restore({3: tmp_path / "results" / names[0]})
    finally:
        again.close()
