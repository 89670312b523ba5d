"""Outlines and callipers in a scene: drawn where they lie, dragged, kept, undone, and gone with a pose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
import vtk

from FetusMapV2Lib.anatomy.body_sections import BodySection, HeadAndAbdomen
from FetusMapV2Lib.anatomy.ellipse import Ellipse
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.anatomy.standard_planes import abdomen_plane, head_plane
from FetusMapV2Lib.scene import section_editing, undo_history
from FetusMapV2Lib.scene.control_points import world_positions
from FetusMapV2Lib.scene.pose_scene import PoseScene
from FetusMapV2Lib.scene.pose_visibility import PoseVisibility
from FetusMapV2Lib.scene.scene_files import open_scene, save_scene
from FetusMapV2Lib.scene.slice_turning import turn_slice

SCHEMA = default_schema()


@pytest.fixture
def found(pose: Pose) -> HeadAndAbdomen:
    head = BodySection("head", head_plane(pose), Ellipse(1.0, -0.5, 12.0, 9.0, 1.4), 0.9)
    return HeadAndAbdomen(head, BodySection("abdomen", abdomen_plane(pose), reason="the edge of the skin is not seen"))


@pytest.fixture
def fetus(scene: Any, pose: Pose, found: HeadAndAbdomen) -> PoseScene:
    undo_history.enable(scene)
    made = PoseScene.create(scene, pose)
    made.sections.show(found)
    return made


def drag(fetus: PoseScene, node: Any, row: int, by: Any) -> None:
    """As Slicer does it: a state for undo, then the point moves."""
    undo_history.save_state(fetus.scene)
    node.SetNthControlPointPositionWorld(row, *(world_positions(node)[row] + by))


def circumference(fetus: PoseScene) -> float:
    return fetus.sections.sections().head.sizes[0].value_mm


def test_handles_lie_at_the_ends_of_the_axes_and_the_outline_goes_through_them(fetus, found):
    handles = world_positions(fetus.sections.handles("head"))
    sizes = np.linalg.norm(handles[::2] - handles[1::2], axis=1)
    assert sizes == pytest.approx([18.0, 24.0])
    assert (handles[0] - handles[1]) @ found.head.plane.x_axis > 0 < (handles[2] - handles[3]) @ found.head.plane.y_axis
    mesh = fetus.sections.outline("head").GetPolyData()
    points = np.array([mesh.GetPoint(index) for index in range(mesh.GetNumberOfPoints())])
    assert np.linalg.norm(points[:, None] - handles, axis=2).min(axis=0) == pytest.approx(np.zeros(4), abs=0.6)
    assert np.isnan(world_positions(fetus.sections.handles("abdomen"))).all()
    assert not fetus.sections.sections_by_hand()


def test_a_dragged_handle_changes_the_ellipse_and_tells_the_listeners(fetus, found):
    heard = []
    fetus.add_listener(lambda one: heard.append(circumference(one)))
    handles = fetus.sections.handles("head")
    before, plane = world_positions(handles), found.head.plane
    drag(fetus, handles, 0, 3.0 * plane.x_axis + 2.0 * plane.normal)
    (section,) = fetus.sections.sections_by_hand()
    assert section.by_hand and [size.note for size in section.sizes] == ["ellipse set by hand"] * 3
    after = world_positions(handles)
    assert after[1] == pytest.approx(before[1], abs=1e-5), "the opposite end stays"
    assert (after - before) @ plane.normal == pytest.approx(np.zeros(4), abs=1e-5), "in the plane"
    assert np.linalg.norm(after[2] - after[3]) == pytest.approx(24.0), "the other axis keeps its length"
    assert 2 * section.ellipse.minor_mm == pytest.approx(np.linalg.norm(after[0] - before[1]))
    assert heard[-1] == section.sizes[0].value_mm == circumference(fetus) > found.head.sizes[0].value_mm
    drag(fetus, handles, 0, after[1] - after[0])
    assert world_positions(handles) == pytest.approx(after, abs=1e-5), "no axis becomes nothing"


def test_another_outline_that_was_found_counts_as_found(fetus, found):
    larger = found.with_section(BodySection("head", found.head.plane, Ellipse(0.0, 0.0, 14.0, 10.0, 1.4), 0.9))
    fetus.sections.show(larger)
    assert not fetus.sections.sections_by_hand()
    assert circumference(fetus) == pytest.approx(larger.head.sizes[0].value_mm)
    fetus.sections.show(None)
    fetus.sections.show(found)
    assert not fetus.sections.sections_by_hand()


def test_undo_redo_and_a_new_proposal(fetus, found):
    handles, first = fetus.sections.handles("head"), circumference(fetus)
    drag(fetus, handles, 2, 4.0 * found.head.plane.y_axis)
    second = circumference(fetus)
    for step, wanted in ((undo_history.undo, first), (undo_history.redo, second)):
        step(fetus.scene)
        assert circumference(fetus) == pytest.approx(wanted, abs=1e-6)
        lengths = np.linalg.norm(np.diff(world_positions(fetus.sections.handles("head"))[2:], axis=0))
        assert lengths == pytest.approx(24.0 if wanted == first else 28.0, abs=0.1)
    assert section_editing.propose_again(fetus, "head") and not section_editing.propose_again(fetus, "head")
    assert circumference(fetus) == pytest.approx(first)
    undo_history.undo(fetus.scene)
    assert circumference(fetus) == pytest.approx(second, abs=1e-6)


def test_they_move_with_the_volume_and_are_kept_with_the_scene(fetus, found, tmp_path: Path):
    drag(fetus, fetus.sections.handles("head"), 0, found.head.plane.x_axis)
    section_editing.start_nuchal_try(fetus)
    for row in (0, 1):
        drag(fetus, fetus.sections.nuchal, row, [0.0, 0.0, 0.5 + row])
    transform = fetus.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(1, 3, 7.0)
    transform.SetMatrixTransformToParent(matrix)
    before, length = world_positions(fetus.sections.handles("head")), circumference(fetus)
    fetus.landmarks_node.SetAndObserveTransformNodeID(transform.GetID())
    assert world_positions(fetus.sections.handles("head")) == pytest.approx(before + np.array([0, 7.0, 0]))
    save_scene(fetus.scene, tmp_path / "case.mrb")
    with open_scene(tmp_path / "case.mrb") as scene:
        (again,) = PoseScene.attach_all(scene, SCHEMA)
        assert again.sections.sections_by_hand()[0].sizes[0].value_mm == pytest.approx(length, abs=1e-4)
        assert world_positions(again.sections.handles("head")) == pytest.approx(
            before + np.array([0, 7.0, 0]), abs=1e-4
        )
        assert again.sections.tries().shape == (1, 2, 3)
        assert again.sections.nuchal.GetName() == fetus.sections.nuchal.GetName() != "NT"
        assert len(set(again.sections.nodes)) == 5


def test_a_try_counts_once_both_callipers_were_moved(fetus):
    assert not section_editing.remove_nuchal_try(fetus)
    assert section_editing.start_nuchal_try(fetus)
    line = fetus.sections.nuchal
    assert np.isfinite(world_positions(line)).all() and len(fetus.sections.tries()) == 0
    drag(fetus, line, 0, [0.0, 0.3, 0.0])
    assert len(fetus.sections.tries()) == 0 and line.GetName() == "NT"
    drag(fetus, line, 1, [0.0, 0.0, 0.4])
    ends = world_positions(line)
    assert fetus.sections.tries() == pytest.approx(ends[None], abs=1e-5)
    assert line.GetName() == f"NT {np.linalg.norm(ends[0] - ends[1]):.1f} mm"
    section_editing.start_nuchal_try(fetus)
    section_editing.start_nuchal_try(fetus)
    assert len(fetus.sections.tries()) == 1 and len(fetus.sections.by_hand.nuchal) == 2
    assert section_editing.remove_nuchal_try(fetus) and section_editing.remove_nuchal_try(fetus)
    assert len(fetus.sections.tries()) == 0 and np.isnan(world_positions(line)).all()
    undo_history.undo(fetus.scene)
    assert len(fetus.sections.tries()) == 1


def test_without_the_neck_no_callipers_are_shown(fetus):
    fetus.landmarks_node.SetNthControlPointPositionMissing(SCHEMA.index("hind_neck"))
    assert not section_editing.start_nuchal_try(fetus)


def test_an_outline_is_drawn_in_slices_near_its_plane_alone(scene, fetus, found):
    views = PoseVisibility(scene)
    slices = {name: scene.AddNewNodeByClass("vtkMRMLSliceNode") for name in ("Red", "Green")}
    views.show_only(fetus)
    display = fetus.sections.outline("head").GetDisplayNode()
    turn_slice(slices["Red"], found.head.cut(1.0))
    assert display.IsDisplayableInView(slices["Red"].GetID())
    assert not display.IsDisplayableInView(slices["Green"].GetID())
    slices["Red"].JumpSliceByOffsetting(*(fetus.pose().positions[SCHEMA.index("rump")]))
    assert not display.IsDisplayableInView(slices["Red"].GetID())
    views.close()


def test_they_go_with_the_pose_and_with_a_new_estimate(scene, fetus, found, pose):
    drag(fetus, fetus.sections.handles("head"), 0, found.head.plane.x_axis)
    fetus.set_pose(pose)
    assert not fetus.sections.sections_by_hand()
    other = PoseScene.create(scene, pose.with_positions(pose.positions + 50.0))
    assert not set(other.sections.nodes) & set(fetus.sections.nodes)
    nodes = fetus.sections.nodes
    scene.RemoveNode(fetus.landmarks_node)
    assert not any(scene.IsNodePresent(node) for node in nodes)
    assert all(scene.IsNodePresent(node) for node in other.sections.nodes)
    assert isinstance(other.sections.nuchal, slicer.vtkMRMLMarkupsLineNode)
