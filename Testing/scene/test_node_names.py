"""Any name works: of a volume, of a pose, and one that a user gives later; percent signs would end the process."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.scene import undo_history
from FetusMapV2Lib.scene.node_names import safe_name
from FetusMapV2Lib.scene.pose_scene import PoseScene
from FetusMapV2Lib.scene.pose_sequence import PoseSequence
from FetusMapV2Lib.scene.scene_files import open_scene, save_scene
from FetusMapV2Lib.scene.volume_nodes import add_volume_node
from FetusMapV2Lib.scene.volume_sequences import add_volume_sequence

SCHEMA = default_schema()

NAMES = {
    "plain": "plain",
    "Zwilling ä 中": "Zwilling ä 中",
    "gain 50% scan": "gain 50% scan",
    "%s%n%5000d%": "%s%n%5000d%",
    "two\nlines\tand \x1b[31mcolour\x07": "two lines and [31mcolour",
    "f\udcfct": "füt",
    "\ud800 broken \uffff": "broken",
    "../up\\and/down:*?": "../up\\and/down:*?",
    "": "Volume",
    " \r\n ": "Volume",
    "x" * 300: "x" * 120,
    "中" * 200: "中" * 40,
    "%" * 200: "%" * 40,
    "\u202egnp.exe": "gnp.exe",
}


@pytest.fixture
def small() -> Volume:
    return Volume(np.ones((3, 3, 3), np.uint8), np.eye(4))


@pytest.mark.parametrize(("name", "expected"), NAMES.items())
def test_a_safe_name_is_a_line_that_files_can_carry(name: str, expected: str) -> None:
    assert safe_name(name) == expected
    assert safe_name(expected) == expected


def test_volume_and_pose_of_any_name_live_are_renamed_and_saved(
    scene: Any, small: Volume, pose: Pose, tmp_path: Path
) -> None:
    undo_history.enable(scene)
    for (name, expected), renamed in zip(NAMES.items(), itertools.cycle(["100%", "%s%n"]), strict=False):
        volume_node = add_volume_node(scene, small, name=name)
        assert volume_node.GetName().startswith(expected if name else small.name)
        called = name or volume_node.GetName()
        fetus = PoseScene.create(scene, pose, volume_node=volume_node, name=called, model=called)
        for node in (volume_node, *fetus.all_nodes):
            node.SetName(f"{renamed} {node.GetName()}"[:130])
        fetus.landmarks_node.SetNthControlPointPositionMissing(2)
        fetus.landmarks_node.SetNthControlPointPositionWorld(0, 1, 2, 3)
        undo_history.save_state(scene)  # copies all nodes
        fetus.landmarks_node.SetNthControlPointLabel(3, "")
        undo_history.save_state(scene)
        undo_history.undo(scene)
        fetus.landmarks_node.SetNthControlPointLabel(3, "Nasal bone")
        for markups in (fetus.landmarks_node, fetus.plane_node, *fetus.line_nodes.values()):
            assert "%" not in markups.GetName()
            assert "%N" not in markups.GetControlPointLabelFormat()
        again = PoseScene.attach(scene, fetus.landmarks_node, SCHEMA)
        assert again.all_nodes == fetus.all_nodes
        for one in (fetus, again):
            one.close()
    save_scene(scene, tmp_path / "any.mrb")
    with open_scene(tmp_path / "any.mrb") as loaded:
        assert len(PoseScene.attach_all(loaded, SCHEMA)) == len(NAMES)


@pytest.mark.parametrize("name", ["100%", "%s\n%n", "x" * 300])
def test_a_sequence_of_any_name(scene: Any, small: Volume, pose: Pose, tmp_path: Path, name: str) -> None:
    browser = add_volume_sequence(scene, [small] * 3, name=name)
    poses = PoseSequence.create(browser, [pose] * 3, name=name)
    poses.pose_scene.landmarks_node.SetName("%s%n")
    for frame in (2, 0):
        poses.show(frame)
        poses.pose_scene.landmarks_node.SetNthControlPointPositionWorld(0, 1, 2, frame)
    save_scene(scene, tmp_path / "moving.mrb")
    with open_scene(tmp_path / "moving.mrb") as loaded:
        again = PoseSequence.attach(loaded.GetFirstNodeByClass("vtkMRMLSequenceBrowserNode"), SCHEMA)
        assert again.poses()[2].positions[0].tolist() == pytest.approx([1, 2, 2])


def test_a_scene_is_saved_without_characters_that_nobody_could_read_again(scene: Any, tmp_path: Path) -> None:
    node = scene.AddNewNodeByClass("vtkMRMLModelNode")
    node.SetName("ring\x07 100%")
    save_scene(scene, tmp_path / "bell.mrb")
    with open_scene(tmp_path / "bell.mrb") as loaded:
        assert loaded.GetFirstNodeByClass("vtkMRMLModelNode").GetName() == "ring 100%"
