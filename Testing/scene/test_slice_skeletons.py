"""What slices show of a pose: the projected skeleton that fades with the distance, the calliper, names, and no trace in
the midsagittal plane itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vtk.util.numpy_support import vtk_to_numpy

from FetusMapV2Lib.anatomy.fetal_slices import slice_poses
from FetusMapV2Lib.anatomy.planes import fetal_axes
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.scene import pose_parts, undo_history
from FetusMapV2Lib.scene.editing import LandmarkEditor
from FetusMapV2Lib.scene.limb_lines import SHADE_ARRAY, shades
from FetusMapV2Lib.scene.offscreen_views import SliceView
from FetusMapV2Lib.scene.pose_parts import PosePart
from FetusMapV2Lib.scene.pose_scene import PoseScene
from FetusMapV2Lib.scene.pose_visibility import PoseVisibility
from FetusMapV2Lib.scene.scene_files import load_scene, save_scene
from FetusMapV2Lib.scene.slice_turning import turn_slice
from FetusMapV2Lib.scene.volume_nodes import add_volume_node

SCHEMA = default_schema()
WRIST, ELBOW = SCHEMA.index("left_wrist"), SCHEMA.index("left_elbow")


def add_slice(scene: Any, name: str = "Red") -> Any:
    view = scene.CreateNodeByClass("vtkMRMLSliceNode")
    view.UnRegister(None)
    view.SetLayoutName(name)
    view.SetSingletonTag(name)
    return scene.AddNode(view)


def cuts(pose: Pose) -> list[Any]:
    plane = pose.midsagittal_plane
    return slice_poses(pose.positions, fetal_axes(plane), plane, SCHEMA, 1.0)


def opacities(fetus: PoseScene, number: int = 0) -> np.ndarray:
    """The opacity of each point of the lines in a view."""
    array = fetus.slice_skeleton_nodes[number].GetPolyData().GetPointData().GetArray(SHADE_ARRAY)
    return np.array(shades(SCHEMA))[vtk_to_numpy(array).astype(int), 3]


def ends(fetus: PoseScene, number: int = 0) -> np.ndarray:
    """First and last point of each drawn edge, (edges, 2, 3)."""
    polydata = fetus.slice_skeleton_nodes[number].GetPolyData()
    points = vtk_to_numpy(polydata.GetPoints().GetData())
    cells = vtk_to_numpy(polydata.GetLines().GetConnectivityArray()).reshape(polydata.GetNumberOfLines(), -1)
    return points[cells[:, [0, -1]]]


def assert_drawn(fetus: PoseScene, positions: np.ndarray) -> None:
    """The lines are the edges between present landmarks."""
    wanted = np.array([[positions[edge.start], positions[edge.end]] for edge in SCHEMA.edges])
    wanted = wanted[np.isfinite(wanted).all(axis=(1, 2))]
    np.testing.assert_allclose(ends(fetus), wanted, atol=1e-4)


def test_each_slice_view_has_its_own_lines(scene: Any, pose: Pose) -> None:
    add_slice(scene)
    fetus = PoseScene.create(scene, pose)
    (red,) = fetus.slice_skeleton_nodes
    add_slice(scene, "Yellow")
    assert len(fetus.slice_skeleton_nodes) == 2, "a view that is added later has them, too"
    for node, name in zip(fetus.slice_skeleton_nodes, ("Red", "Yellow"), strict=True):
        display = node.GetDisplayNode()
        assert display.IsDisplayableInView(f"vtkMRMLSliceNode{name}") and display.GetNumberOfViewNodeIDs() == 1
        assert not display.GetVisibility3D() and node.GetHideFromEditors()
    assert red in fetus.all_nodes
    assert_drawn(fetus, pose.positions)


def test_limbs_fade_with_their_distance_and_follow_the_slice(scene: Any, pose: Pose) -> None:
    view = add_slice(scene)
    fetus = PoseScene.create(scene, pose)
    midsagittal, coronal, _ = cuts(pose)
    turn_slice(view, midsagittal)
    trunk = np.array([edge.group == "ht" for edge in SCHEMA.edges])
    by_edge = opacities(fetus).reshape(len(trunk), -1)
    assert (by_edge[trunk] == 1).all(), "in the plane"
    assert by_edge[~trunk].min() < 0.8
    turn_slice(view, coronal)
    assert opacities(fetus).reshape(len(trunk), -1)[trunk].min() < 0.6
    view.JumpSlice(*(coronal.centre + 500))
    assert set(opacities(fetus).round(3)) == {0.2}, "faint, never invisible"


def test_lines_follow_edits_missing_landmarks_and_undo(scene: Any, pose: Pose) -> None:
    add_slice(scene)
    undo_history.enable(scene)
    fetus = PoseScene.create(scene, pose)
    editor = LandmarkEditor(fetus)
    moved = pose.positions.copy()
    moved[WRIST] += (3, -2, 5)
    undo_history.save_state(scene)
    fetus.landmarks_node.SetNthControlPointPositionWorld(WRIST, *moved[WRIST])
    assert_drawn(fetus, moved)
    editor.set_missing([ELBOW])
    gap = moved.copy()
    gap[ELBOW] = np.nan
    assert_drawn(fetus, gap)
    undo_history.undo(scene)
    assert_drawn(fetus, moved)
    undo_history.undo(scene)
    assert_drawn(fetus, pose.positions)
    undo_history.redo(scene)
    assert_drawn(fetus, moved)


def test_an_undone_and_redone_pose_has_its_lines_again(scene: Any, pose: Pose) -> None:
    add_slice(scene)
    undo_history.enable(scene)
    undo_history.save_state(scene)
    PoseScene.create(scene, pose)
    undo_history.undo(scene)
    kinds = ("vtkMRMLModelNode", "vtkMRMLMarkupsNode", "vtkMRMLModelDisplayNode", "vtkMRMLMarkupsDisplayNode")
    assert not any(map(scene.GetNumberOfNodesByClass, kinds)), "nothing is left"
    undo_history.redo(scene)
    (fetus,) = PoseScene.attach_all(scene, SCHEMA)
    assert len(fetus.slice_skeleton_nodes) == 1
    assert_drawn(fetus, pose.positions)
    assert fetus.slice_skeleton_nodes[0].GetDisplayNode().GetColorNode() is not None


def test_a_saved_scene_has_them_when_it_is_loaded(scene: Any, volume: Volume, pose: Pose, tmp_path: Path) -> None:
    add_slice(scene)
    node = add_volume_node(scene, volume)
    for shift in (0.0, 5.0):
        PoseScene.create(scene, pose.with_positions(pose.positions + shift), volume_node=node)
    save_scene(scene, tmp_path / "two.mrb")
    loaded = load_scene(tmp_path / "two.mrb")
    for fetus, shift in zip(PoseScene.attach_all(loaded, SCHEMA), (0.0, 5.0), strict=True):
        assert len(fetus.slice_skeleton_nodes) == 1
        assert_drawn(fetus, pose.positions + shift)


def test_the_calliper_has_the_length_and_follows_every_edit(scene: Any, pose: Pose) -> None:
    undo_history.enable(scene)
    fetus = PoseScene.create(scene, pose)

    def text() -> str:
        return fetus.calliper_node.GetName()

    def length() -> str:
        return f"CRL {fetus.measurements()[0].value_mm:.1f} mm"

    first = text()
    assert first == length()
    undo_history.save_state(scene)
    fetus.landmarks_node.SetNthControlPointPositionWorld(0, *(pose.positions[0] + 9))
    assert text() == length() != first
    undo_history.undo(scene)
    assert text() == length() == first
    LandmarkEditor(fetus).set_missing([9])
    status = [fetus.calliper_node.GetNthControlPointPositionStatus(row) for row in range(2)]
    assert set(status) == {fetus.calliper_node.PositionMissing}, "no calliper without an end"
    display = fetus.calliper_node.GetDisplayNode()
    assert display.GetPropertiesLabelVisibility() and not display.GetVisibility3D()


def test_the_calliper_lies_in_the_slice_that_shows_it(scene: Any, pose: Pose) -> None:
    view = add_slice(scene)
    view.SetMappedInLayout(1)
    fetus = PoseScene.create(scene, pose)
    cut, plane = cuts(pose)[0], pose.midsagittal_plane

    def ends() -> np.ndarray:
        found = [[0.0] * 3, [0.0] * 3]
        for row, point in enumerate(found):
            fetus.calliper_node.GetNthControlPointPositionWorld(row, point)
        return np.array(found)

    for away, shown in ((0.0, True), (5.0, True), (30.0, False)):
        turn_slice(view, replace(cut, centre=cut.centre + away * plane.normal))
        distance = (ends() - cut.centre) @ plane.normal
        np.testing.assert_allclose(distance, away if shown else 0.0, atol=1e-6)
    turn_slice(view, cuts(pose)[2])
    np.testing.assert_allclose(ends(), pose.positions[[0, 9]], atol=1e-6)
    assert fetus.calliper_node.GetName() == f"CRL {fetus.measurements()[0].value_mm:.1f} mm"


def test_names_are_shown_of_chosen_landmarks_alone(scene: Any, pose: Pose) -> None:
    fetus = PoseScene.create(scene, pose)
    names = fetus.names_node

    def shown() -> list[int]:
        return [row for row in range(SCHEMA.count) if names.GetNthControlPointVisibility(row)]

    assert not shown() and not fetus.landmarks_node.GetDisplayNode().GetPointLabelsVisibility()
    fetus.show_names(SCHEMA.rows("la"))
    assert shown() == list(SCHEMA.rows("la"))
    assert names.GetNthControlPointLabel(WRIST) == "Left wrist"
    fetus.landmarks_node.SetNthControlPointPositionWorld(WRIST, 1.0, 2.0, 3.0)
    point = [0.0] * 3
    names.GetNthControlPointPositionWorld(WRIST, point)
    assert point == [1.0, 2.0, 3.0]
    assert names.GetLocked() and names.GetHideFromEditors()


@pytest.mark.parametrize("part", PosePart)
def test_a_part_is_switched_and_what_the_user_hid_stays_hidden(scene: Any, pose: Pose, part: PosePart) -> None:
    add_slice(scene)
    fetus = PoseScene.create(scene, pose)
    displays = [node.GetDisplayNode() for node in fetus.all_nodes]
    fetus.trace_node.GetDisplayNode().SetVisibility(False)
    before = [display.GetVisibility() for display in displays]
    pose_parts.switch(fetus, part, on=False)
    off = [display.GetVisibility() for display in displays]
    assert sum(before) > sum(off) and off[0], "the points stay"
    pose_parts.switch(fetus, part, on=False)
    pose_parts.switch(fetus, part, on=True)
    assert [display.GetVisibility() for display in displays] == before


def test_trace_and_calliper_are_drawn_where_they_can_be_read(scene: Any, pose: Pose) -> None:
    red, yellow = add_slice(scene), add_slice(scene, "Yellow")
    fetus = PoseScene.create(scene, pose)
    views = PoseVisibility(scene)
    midsagittal, _, transverse = cuts(pose)
    turn_slice(yellow, midsagittal)
    turn_slice(red, transverse)

    def seen(node: Any) -> list[str]:
        return [
            view.GetLayoutName() for view in (red, yellow) if node.GetDisplayNode().IsDisplayableInView(view.GetID())
        ]

    assert seen(fetus.trace_node) == ["Red"], "no line across the plane itself"
    assert seen(fetus.calliper_node) == ["Yellow"]
    assert seen(fetus.landmarks_node) == ["Red", "Yellow"]
    turn_slice(red, midsagittal)
    turn_slice(yellow, transverse)
    assert seen(fetus.trace_node) == ["Yellow"] and seen(fetus.calliper_node) == ["Red"]
    turned = pose.positions[:, [2, 0, 1]]  # the fetus turns, the slices stay
    fetus.set_pose(pose.with_positions(turned))
    assert seen(fetus.calliper_node) != ["Red"]
    views.close()


def test_a_slice_draws_the_limb_colours_strong_near_and_faint_far(scene: Any, volume: Volume, pose: Pose) -> None:
    node = add_volume_node(scene, volume.with_(array=np.zeros_like(volume.array)))
    fetus = PoseScene.create(scene, pose, volume_node=node)
    fetus.landmarks_node.GetDisplayNode().SetVisibility(False)
    fetus.calliper_node.GetDisplayNode().SetVisibility(False)
    view = SliceView(scene, "Yellow", (300, 300))
    try:
        midsagittal = cuts(pose)[0]
        view.look_at(node, midsagittal)
        image = view.image().astype(int)
        middle = view.to_pixels(
            np.array([pose.positions[[6, 8]].mean(axis=0), pose.positions[[ELBOW, WRIST]].mean(axis=0)])
        )
        trunk, arm = (image[round(y) - 3 : round(y) + 4, round(x) - 3 : round(x) + 4].reshape(-1, 3) for x, y in middle)
    finally:
        view.close()
    colour = 255 * np.array(SCHEMA.landmarks[6].colour)
    # another limb's line ends a pixel nearer or farther with each way of drawing, so no channel by itself
    assert np.abs(trunk - colour).max(axis=1).min() <= 8
    wanted, arm = 255 * np.array(SCHEMA.landmarks[WRIST].colour), arm.max(axis=0)
    assert (arm < wanted - 10)[1:].all() and (arm[1:] > 0.15 * wanted[1:]).all(), "fainter: it lies beside the plane"
