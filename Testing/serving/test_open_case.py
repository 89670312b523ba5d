"""The case that a tab shows: its pose, steps, undo, and what remains of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import slicer
import vtk
from reporting.samples import STUDY
from sending.archives import storage_scp

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.imaging.markups import write_markups
from FetusMapV2Lib.presenting.tones import Tone
from FetusMapV2Lib.scene.control_points import world_positions
from FetusMapV2Lib.scene.hand_measures import HandMeasures
from FetusMapV2Lib.scene.node_lookup import nodes_by_class
from FetusMapV2Lib.sending.destinations import parse_destination
from FetusMapV2Lib.serving import shown
from FetusMapV2Lib.serving.archive_part import archiving_job
from FetusMapV2Lib.serving.downloads import DOWNLOADS, write_download
from FetusMapV2Lib.serving.nuchal_part import nuchal_shown, take_nuchal_step
from FetusMapV2Lib.serving.open_case import OpenCase
from FetusMapV2Lib.serving.outline_keeper import outlines_shown
from FetusMapV2Lib.serving.section_steps import propose_again, show_section, use_shown_plane
from FetusMapV2Lib.serving.session_options import SessionOptions


@pytest.fixture
def desk(patients) -> Iterator[SimpleNamespace]:
    """An open case, with what it has told: how often the pose changed, and the views to draw."""
    heard = SimpleNamespace(poses=0, views=set())

    def on_pose() -> None:
        heard.poses += 1

    case = OpenCase(patients[0].volume(), patients[0].volume_path, on_pose, heard.views.add)
    truth = patients[0].pose()
    heard.case = case
    heard.estimate = Estimate.given(Pose(truth.positions, np.linspace(0.9, 0.3, 22), np.full(22, 2.0)), "a model")
    yield heard
    case.close()


def values(case: OpenCase) -> dict:
    return shown.pose_shown(case.poses.current(), case.estimate, case.poses.model, "intergrowth21")


def line_of(seen: dict) -> str:
    return " · ".join(part["text"] for part in seen["line_parts"])


def test_an_estimate_is_shown_in_views_line_and_tables(desk):
    desk.case.show(desk.estimate)
    assert desk.poses == 1 and desk.views == {"Red", "Yellow", "Green", "3D"}
    seen = values(desk.case)
    assert line_of(seen).startswith("CRL ") and seen["line_tone"] == "warning"
    assert [part["rows"] for part in seen["line_parts"] if "doubtful" in part["text"]] == [[*range(15, 22)]]
    assert [row["name"] for row in seen["measurement_rows"]][:1] == ["Crown-rump length"]
    listed = [line for line in seen["landmark_rows"] if "row" in line]
    assert len(listed) == 22 and listed[0]["name"] == "1 Cranial crest" and listed[0]["confidence"] == "90%"
    assert sum(line["doubtful"] for line in listed) == int((np.linspace(0.9, 0.3, 22) < 0.5).sum())


def test_a_step_changes_the_list_and_is_undone_and_redone(desk):
    desk.case.show(desk.estimate)
    desk.case.step("confirm", [0])
    assert desk.case.poses.states()[0] == "confirmed"
    desk.case.undo()
    assert desk.case.poses.states()[0] == "estimated" and desk.case.can_redo
    desk.case.redo()
    assert desk.case.poses.states()[0] == "confirmed"


def test_undoing_the_estimate_takes_the_pose_away_and_redo_brings_it_back(desk):
    desk.case.show(desk.estimate)
    desk.case.undo()
    assert desk.case.poses is None
    before = desk.poses
    desk.case.redo()
    assert desk.case.poses is not None and desk.poses > before
    np.testing.assert_allclose(desk.case.poses.pose().positions, desk.estimate.pose.positions, atol=1e-6)


def test_a_moved_landmark_moves_the_length_and_tells_the_page(desk):
    desk.case.show(desk.estimate)
    length, before = line_of(values(desk.case)), desk.poses
    desk.case.poses.landmarks_node.SetNthControlPointPositionWorld(0, 0.0, 0.0, 0.0)
    assert desk.poses > before and line_of(values(desk.case)) != length
    assert desk.case.poses.states()[0] == "edited"


def test_no_fetus_leaves_no_pose_of_an_earlier_estimate(desk):
    desk.case.show(desk.estimate)
    nothing = Estimate.given(Pose(np.full((22, 3), np.nan)), "a model")
    desk.case.show(Estimate(**{**nothing.__dict__, "status": "none", "reason": "No fetus was found."}))
    assert desk.case.poses is None and not desk.case.can_undo
    assert not nodes_by_class(desk.case.scene, "vtkMRMLMarkupsNode")
    with pytest.raises(InputError, match="nothing was seen"):
        desk.case.show_seen()


def test_a_saved_pose_is_restored_with_its_states(desk, tmp_path: Path):
    desk.case.show(desk.estimate)
    desk.case.step("confirm", [2])
    desk.case.step("missing", [5])
    notes = [note.text(exact=True) for note in desk.case.poses.current().notes()]
    write_markups(tmp_path / "work.mrk.json", desk.case.poses.pose(), descriptions=notes)
    states = desk.case.poses.states()
    again = OpenCase(desk.case.volume, desk.case.source, lambda: None, lambda name: None)
    try:
        again.restore({0: tmp_path / "work.mrk.json"})
        assert again.poses.states() == states and again.poses.volume_node is not None
    finally:
        again.close()


@pytest.mark.parametrize("name", ["csv", "landmarks", "scene"])
def test_files_are_of_the_pose_as_it_is_now(desk, tmp_path: Path, name):
    with pytest.raises(InputError, match="there is no pose yet"):
        write_download(name, desk.case, "intergrowth21", tmp_path)
    desk.case.show(desk.estimate)
    desk.case.step("confirm", [0])
    path = write_download(name, desk.case, "intergrowth21", tmp_path)
    assert path.stat().st_size > 0 and path.parent == tmp_path
    if name == "landmarks":
        assert "confirmed" in path.read_text(encoding="utf-8")
    assert DOWNLOADS[name].media_type


def test_refinement_needs_a_landmark_that_was_set_by_hand(desk):
    with pytest.raises(InputError, match="set by hand"):
        desk.case.refinement()
    desk.case.show(desk.estimate)
    desk.case.step("confirm", [0, 3])
    assert desk.case.refinement().pinned == (1, 4)
    moved = desk.estimate.pose.positions + 1.0
    assert desk.case.refined(Estimate.given(Pose(moved), "a model")) == 20


def test_a_closed_case_leaves_nothing(patients):
    calls: list[str] = []
    case = OpenCase(patients[0].volume(), patients[0].volume_path, lambda: calls.append("pose"), calls.append)
    scene = case.scene
    case.close()
    calls.clear()
    assert isinstance(scene, slicer.vtkMRMLScene) and not nodes_by_class(scene, "vtkMRMLScalarVolumeNode")
    assert not calls


def test_head_and_abdomen_are_measured_once_per_pose_and_shown_in_their_planes(desk):
    desk.case.show(desk.estimate)
    assert outlines_shown(desk.case)["section_rows"] == []
    assert desk.case.find_outlines() and not desk.case.find_outlines()
    seen = outlines_shown(desk.case)
    assert [row["name"] for row in seen["section_rows"]] == ["HC", "BPD", "OFD", "AC"]
    head = desk.case.poses.sections.sections().head
    assert seen["section_rows"][0]["remark"].endswith("found" if head.ellipse else "not seen")
    show_section(desk.case, "head")
    matrix = desk.case.views.views["Red"].node.GetSliceToRAS()
    normal = [matrix.GetElement(row, 2) for row in range(3)]
    np.testing.assert_allclose(normal, -head.plane.normal, atol=1e-6)
    node = desk.case.poses.landmarks_node
    node.SetNthControlPointPositionWorld(9, *(desk.case.poses.pose().positions[9] + [3.0, 0.0, -4.0]))
    assert desk.case.find_outlines() and not desk.case.poses.sections.sections_by_hand()
    for row in (1, 2, 3, 4):
        node.SetNthControlPointPositionMissing(row)
    assert desk.case.find_outlines()
    with pytest.raises(InputError, match="no plane of the head: too few landmarks"):
        show_section(desk.case, "head")
    assert "too few landmarks" in outlines_shown(desk.case)["section_reasons"]


def test_the_reports_of_a_case_go_to_the_archive_of_its_patient(desk):
    case = desk.case
    case.show(desk.estimate)
    stages: list[str] = []

    def sent(port: int, *, cancelled: bool = False) -> tuple[str, Tone]:
        line = SessionOptions("", archive=parse_destination(f"ARCHIVE@127.0.0.1:{port}", "ROOM1")).line()
        archive = SessionOptions.read(line).archive
        work = archiving_job(case, "fmf", archive, lambda _share, stage: stages.append(stage), lambda: cancelled)
        return work.result()

    with storage_scp(require_calling_aet=["ROOM1"]) as (port, stored):
        with pytest.raises(InputError, match="whose report it is"):
            sent(port)
        case.study = STUDY
        assert "stays there" in sent(port, cancelled=True)[0] and not stored
        text, tone = sent(port)
        assert text.startswith(f"Sent to ARCHIVE@127.0.0.1:{port}: case-0000.sr.dcm") and tone is Tone.SUCCESS
        assert [one.PatientID for one in stored] == ["P-17", "P-17"] and "sending to the archive" in stages
    assert SessionOptions.read(SessionOptions("").line()).archive is None


def drag(case: OpenCase, name: str, start: np.ndarray, by_pixels: tuple[int, int]) -> None:
    """Drag the point at a world position by mouse events of a view, as a browser sends them."""
    view = case.views.views[name]
    view.image()
    inverse = vtk.vtkMatrix4x4()
    vtk.vtkMatrix4x4.Invert(view.node.GetXYToRAS(), inverse)
    x, y, *_rest = inverse.MultiplyPoint([*start, 1.0])
    path = [(x + by_pixels[0] * part / 4, y + by_pixels[1] * part / 4) for part in range(5)]
    for event, points in (
        ("EnterEvent", path[:1]),
        ("MouseMoveEvent", path[:1]),
        ("LeftButtonPressEvent", path[:1]),
        ("MouseMoveEvent", path[1:]),
        ("LeftButtonReleaseEvent", path[-1:]),
    ):
        for at in points:
            view.interactor.SetEventInformation(round(at[0]), round(at[1]), 0, 0, "\0", 0, None)
            view.interactor.InvokeEvent(event)


def test_the_neck_is_measured_by_callipers_saved_and_undone(desk, tmp_path: Path):
    case = desk.case
    assert not nuchal_shown(case)["nuchal_allowed"]
    case.show(desk.estimate)
    assert "but you" in nuchal_shown(case)["nuchal_text"]
    take_nuchal_step(case, "try")
    assert "Drag both" in nuchal_shown(case)["nuchal_text"]
    before = world_positions(case.poses.sections.nuchal)
    for row, by in enumerate([(12, 6), (-14, 5)]):
        drag(case, "Yellow", world_positions(case.poses.sections.nuchal)[row], by)
    ends = world_positions(case.poses.sections.nuchal)
    assert (np.linalg.norm(ends - before, axis=1) > 0.3).all()
    value = float(np.linalg.norm(ends[0] - ends[1]))
    shown_now = nuchal_shown(case)
    assert f"{value:.1f} mm, one try" in shown_now["nuchal_text"] and shown_now["nuchal_tries"] == 1
    table = write_download("csv", case, "intergrowth21", tmp_path).read_text(encoding="utf-8")
    assert f"Nuchal translucency,{value:.1f},mm" in table
    again = OpenCase(case.volume, case.source, lambda: None, lambda name: None)
    try:
        notes = [note.text(exact=True) for note in case.poses.current().notes()]
        write_markups(tmp_path / "work.mrk.json", case.poses.pose(), descriptions=notes)
        kept = json.loads(json.dumps(case.poses.sections.by_hand.document()))
        again.restore({0: tmp_path / "work.mrk.json"}, by_hand={0: HandMeasures.from_document(kept)})
        assert nuchal_shown(again) == shown_now
    finally:
        again.close()
    case.undo()
    assert "Drag both" in nuchal_shown(case)["nuchal_text"]
    take_nuchal_step(case, "remove")
    assert nuchal_shown(case)["nuchal_tries"] == 0
    take_nuchal_step(case, "another")
    case.poses.landmarks_node.SetNthControlPointPositionMissing(5)
    with pytest.raises(InputError, match="the neck is missing"):
        take_nuchal_step(case, "try")


def test_an_outline_set_by_hand_is_in_the_files_until_it_is_proposed_again(desk, tmp_path: Path):
    case = desk.case
    case.show(desk.estimate)
    case.find_outlines()
    sections = case.poses.sections
    section = next(one for one in sections.sections().sections if one.ellipse is not None)
    before, found = world_positions(sections.handles(section.key)), outlines_shown(case)
    show_section(case, section.key)
    drag(case, "Red", before[0], (15, 0))
    after = outlines_shown(case)
    assert after["sections_by_hand"] and any("by hand" in row["remark"] for row in after["section_rows"])
    table = write_download("csv", case, "intergrowth21", tmp_path).read_text(encoding="utf-8")
    (size, *_others) = sections.sections().section(section.key).sizes
    assert f"{size.name},{size.value_mm:.1f},mm" in table
    propose_again(case)
    assert outlines_shown(case) == found
    red = case.views.views["Red"]
    red.logic.SetSliceOffset(red.logic.GetSliceOffset() + 1.0)
    use_shown_plane(case)
    moved = world_positions(sections.handles(section.key))
    assert np.abs((moved - before) @ section.plane.normal) == pytest.approx(np.ones(4), abs=1e-3)
    case.undo()
    assert outlines_shown(case) == found
    red.node.SetOrientation("Sagittal")
    with pytest.raises(InputError, match="cuts neither"):
        use_shown_plane(case)
