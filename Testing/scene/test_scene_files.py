"""Scene files: written whole, live again after loading."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from FetusMapV2Lib.anatomy.biometry import measure
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.errors import InputError, OutputError
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.scene.editing import LandmarkEditor
from FetusMapV2Lib.scene.pose_scene import PoseScene
from FetusMapV2Lib.scene.scene_files import close_scene, load_scene, new_scene, open_scene, save_scene
from FetusMapV2Lib.scene.scene_writing import write_pose_scene
from FetusMapV2Lib.scene.volume_nodes import add_volume_node, matrix_to_vtk, volume_from_node

SCHEMA = default_schema()


def test_a_saved_scene_is_live_again(scene: Any, pose: Pose, volume: Volume, tmp_path: Path) -> None:
    positions = pose.positions.copy()
    positions[12] = np.nan
    volume_node = add_volume_node(scene, volume)
    fetus = PoseScene.create(scene, pose.with_positions(positions), volume_node=volume_node, name="Zwilling ä")
    fetus.landmarks_node.SetNthControlPointPositionWorld(0, 1, 2, 3)
    fetus.plane_node.GetDisplayNode().SetVisibility(False)
    names = [node.GetName() for node in fetus.all_nodes]
    path = tmp_path / "Ordner mit Ü" / "scene 1.mrb"
    save_scene(scene, path)
    assert [found.name for found in path.parent.iterdir()] == ["scene 1.mrb"]

    with open_scene(path) as loaded:
        count = loaded.GetNumberOfNodes()
        (again,) = PoseScene.attach_all(loaded, SCHEMA)
        assert loaded.GetNumberOfNodes() == count, "nothing is created"
        assert [node.GetName() for node in again.all_nodes] == names
        assert again.states()[0] == "edited" and again.states()[12] == "missing"
        assert again.states().count("estimated") == 20
        assert not again.plane_node.GetDisplayNode().GetVisibility(), "the user's display is kept"
        np.testing.assert_allclose(again.pose().positions, fetus.pose().positions, atol=1e-5)
        np.testing.assert_allclose(again.pose().confidence, fetus.pose().confidence, atol=1e-6)
        restored = volume_from_node(again.volume_node)
        np.testing.assert_array_equal(restored.array, volume.array)
        np.testing.assert_allclose(restored.ijk_to_ras, volume.ijk_to_ras, atol=1e-4)

        again.landmarks_node.SetNthControlPointPositionWorld(9, 7, 8, 9)
        moved = again.pose()
        crl = again.line_nodes["crl"].GetMeasurement("length").GetValue()
        assert crl == pytest.approx(math.dist((1, 2, 3), (7, 8, 9)), abs=1e-4)
        assert measure(moved)[0].value_mm == pytest.approx(crl, abs=1e-4)
        LandmarkEditor(again).reset()
        np.testing.assert_allclose(again.pose().positions, positions, atol=1e-4)


def test_two_fetuses_and_a_transform_survive(
    scene: Any, pose: Pose, transform_matrix: np.ndarray, tmp_path: Path
) -> None:
    first = PoseScene.create(scene, pose)
    PoseScene.create(scene, pose.with_positions(pose.positions + 30))
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(matrix_to_vtk(transform_matrix))
    first.landmarks_node.SetAndObserveTransformNodeID(transform.GetID())
    save_scene(scene, tmp_path / "twins.mrb")
    with open_scene(tmp_path / "twins.mrb") as loaded:
        one, two = PoseScene.attach_all(loaded, SCHEMA)
        np.testing.assert_allclose(one.pose().positions, pose.transformed(transform_matrix).positions, atol=1e-4)
        np.testing.assert_allclose(two.pose().positions, pose.positions + 30, atol=1e-4)
        assert not {node.GetID() for node in one.all_nodes} & {node.GetID() for node in two.all_nodes}


def test_loading_into_a_scene_that_has_a_pose_keeps_them_apart(scene: Any, pose: Pose, tmp_path: Path) -> None:
    write_pose_scene(tmp_path / "other.mrb", Volume(np.ones((4, 4, 4), np.uint8), np.eye(4)), pose)
    here = PoseScene.create(scene, pose.with_positions(pose.positions + 50))
    assert scene.ReadFromMRB(str(tmp_path / "other.mrb"), False, None)
    assert here.is_open
    np.testing.assert_allclose(here.pose().positions, pose.positions + 50, atol=1e-6)
    here.close()
    found = PoseScene.attach_all(scene, SCHEMA)
    assert len(found) == 2
    identifiers = [node.GetID() for fetus in found for node in fetus.all_nodes]
    assert len(set(identifiers)) == 32


def test_write_pose_scene_holds_volume_and_pose(volume: Volume, pose: Pose, tmp_path: Path) -> None:
    write_pose_scene(tmp_path / "case.mrb", volume, pose)
    with open_scene(tmp_path / "case.mrb") as loaded:
        (fetus,) = PoseScene.attach_all(loaded, SCHEMA)
        np.testing.assert_allclose(fetus.pose().positions, pose.positions, atol=1e-4)
        np.testing.assert_array_equal(volume_from_node(fetus.volume_node).array, volume.array)


def test_an_existing_scene_file_is_kept(scene: Any, volume: Volume, pose: Pose, tmp_path: Path) -> None:
    path = tmp_path / "scene.mrb"
    path.write_bytes(b"precious")
    with pytest.raises(OutputError, match="exists"):
        save_scene(scene, path, overwrite=False)
    with pytest.raises(OutputError, match="exists"):
        write_pose_scene(path, volume, pose, overwrite=False)
    assert path.read_bytes() == b"precious"
    save_scene(scene, path)
    assert path.read_bytes() != b"precious"


def test_a_scene_file_ends_in_mrb(scene: Any, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"\.mrb"):
        save_scene(scene, tmp_path / "scene.zip")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_a_file_is_one_clear_error(scene: Any, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("x")
    with pytest.raises(OutputError):
        save_scene(scene, tmp_path / "taken" / "scene.mrb")


@pytest.mark.parametrize("content", [None, b"", b"not a zip", "truncated", "foreign"])
def test_bad_scene_files_are_refused(scene: Any, tmp_path: Path, content: Any) -> None:
    path = tmp_path / "bad.mrb"
    if content == "truncated":
        save_scene(scene, path)
        path.write_bytes(path.read_bytes()[:-200])
    elif content == "foreign":
        with zipfile.ZipFile(path, "w") as bundle:
            bundle.writestr("letter.txt", "hello")
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError):
        load_scene(path)


def test_closing_twice_does_no_harm(pose: Pose) -> None:
    made = new_scene()
    fetus = PoseScene.create(made, pose)
    close_scene(made)
    close_scene(made)
    assert not fetus.is_open
