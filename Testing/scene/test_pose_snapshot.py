"""The snapshot of a pose: taken once per change, derived from once, handed to all that follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slicer
import vtk

from FetusMapV2Lib.anatomy import pose as pose_module
from FetusMapV2Lib.anatomy.measurements import measurements
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.imaging.markups import write_markups
from FetusMapV2Lib.scene import pose_snapshot
from FetusMapV2Lib.scene.editing import LandmarkEditor
from FetusMapV2Lib.scene.pose_scene import PoseScene
from FetusMapV2Lib.scene.pose_snapshot import PoseSnapshot

WRIST = 12


@pytest.fixture
def fetus(scene: slicer.vtkMRMLScene, pose: Pose) -> PoseScene:
    return PoseScene.create(scene, pose)


def counting(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[str]:
    """Calls of a function of a module from now on."""
    calls, function = [], getattr(module, name)

    def counted(*arguments: Any) -> Any:
        calls.append(name)
        return function(*arguments)

    monkeypatch.setattr(module, name, counted)
    return calls


def move(fetus: PoseScene, row: int = WRIST, by: float = 1.0) -> None:
    place = np.array(fetus.landmarks_node.GetNthControlPointPositionWorld(row)) + by
    fetus.landmarks_node.SetNthControlPointPositionWorld(row, *place)


def test_a_move_is_derived_from_once_however_many_listen(fetus: PoseScene, monkeypatch: pytest.MonkeyPatch) -> None:
    move(fetus)
    heard: list[object] = []

    def read(which: PoseScene) -> None:
        heard.append((measurements(which.pose()), which.states(), which.snapshot.doubtful))

    for _ in range(3):
        fetus.add_listener(read)
    planes = counting(monkeypatch, pose_module, "midsagittal_plane")
    comparisons = counting(monkeypatch, pose_snapshot, "at_same_place")
    move(fetus)
    assert len(heard) == 3
    assert len(planes) == 1
    assert len(comparisons) == 3, "with the estimate, the refinement and the confirmed positions, once each"


def test_listeners_get_the_snapshot_after_the_change(fetus: PoseScene) -> None:
    before, heard = fetus.snapshot, []
    fetus.add_listener(lambda which: heard.append((which.snapshot, which.current())))
    move(fetus)
    ((given, current),) = heard
    assert given is current is fetus.snapshot is not before
    assert given.moved_since(before).nonzero()[0].tolist() == [WRIST]
    assert given.states[WRIST] == "edited" and before.states[WRIST] == "estimated"
    assert given.pose is given.pose


def test_nothing_new_is_read_while_nothing_changes(fetus: PoseScene) -> None:
    assert fetus.current() is fetus.snapshot
    assert PoseSnapshot.read(fetus.landmarks_node, fetus.schema, fetus.snapshot) is fetus.snapshot
    assert PoseSnapshot.read(fetus.landmarks_node, fetus.schema) is not fetus.snapshot


def change_position(node: Any) -> None:
    node.SetNthControlPointPositionWorld(0, 1.0, 2.0, 3.0)


def change_lock(node: Any) -> None:
    node.SetNthControlPointLocked(0, True)


def change_name(node: Any) -> None:
    node.SetNthControlPointLabel(0, "another")


@pytest.mark.parametrize("change", [change_position, change_lock, change_name])
def test_changes_are_read_before_their_events_are_told(fetus: PoseScene, change: Callable[[Any], None]) -> None:
    node, before = fetus.landmarks_node, fetus.snapshot
    modifying = node.StartModify()
    change(node)
    assert fetus.snapshot is before
    now = fetus.current()
    assert now is not before
    assert (fetus.pose().positions[0] == [1, 2, 3]).all() == (change is change_position)
    assert bool(fetus.locks()[0]) == (change is change_lock)
    assert bool(fetus.problem) == (change is change_name)
    node.EndModify(modifying)
    assert fetus.snapshot.stored == now.stored


def test_local_positions_are_those_below_the_transform(fetus: PoseScene, positions: np.ndarray) -> None:
    node = fetus.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform = vtk.vtkTransform()
    transform.Translate(10.0, 0.0, -5.0)
    node.SetMatrixTransformToParent(transform.GetMatrix())
    fetus.landmarks_node.SetAndObserveTransformNodeID(node.GetID())
    np.testing.assert_allclose(fetus.snapshot.local, positions, atol=1e-9)
    np.testing.assert_allclose(fetus.snapshot.world, positions + np.array([10.0, 0.0, -5.0]), atol=1e-9)
    assert set(fetus.snapshot.states) == {"estimated"}


def test_a_doubtful_pose_stays_doubtful_until_every_point_is_confirmed(scene: slicer.vtkMRMLScene, pose: Pose) -> None:
    doubt = "A score of 0.77, below the 0.80."
    fetus = PoseScene.create(scene, replace(pose, doubt=doubt))
    present = pose.present
    assert (fetus.snapshot.doubtful == present).all()
    node = fetus.landmarks_node
    assert not any(node.GetNthControlPointSelected(row) for row in np.flatnonzero(present).tolist())
    assert PoseScene.attach(scene, node, pose.schema).pose().doubt == doubt
    editor = LandmarkEditor(fetus)
    editor.confirm([WRIST])
    assert not fetus.snapshot.doubtful[WRIST] and fetus.pose().doubt == doubt
    assert "doubtful" not in fetus.snapshot.notes()[WRIST].text()
    editor.confirm(np.flatnonzero(present).tolist())
    assert fetus.pose().doubt == ""


def test_the_doubt_comes_back_from_a_landmark_file(scene: slicer.vtkMRMLScene, pose: Pose, tmp_path: Path) -> None:
    write_markups(tmp_path / "case.mrk.json", replace(pose, doubt="A score of 0.77."))
    logic = slicer.vtkSlicerMarkupsLogic()
    logic.SetMRMLScene(scene)
    node = scene.GetNodeByID(logic.LoadMarkups(str(tmp_path / "case.mrk.json"), "case"))
    assert PoseScene.attach(scene, node, pose.schema).pose().doubt == "A score of 0.77."
