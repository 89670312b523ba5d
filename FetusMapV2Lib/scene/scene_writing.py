"""Writing scene files (.mrb) of an estimate: a volume with its pose, or a sequence of both."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.imaging.edit_log import Edit
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.scene import ownership
from FetusMapV2Lib.scene.node_names import other_fetus_name
from FetusMapV2Lib.scene.pose_scene import PoseScene
from FetusMapV2Lib.scene.pose_sequence import PoseSequence
from FetusMapV2Lib.scene.scene_files import bundle_target, open_scene, save_scene
from FetusMapV2Lib.scene.volume_nodes import add_volume_node
from FetusMapV2Lib.scene.volume_sequences import add_volume_sequence


def write_pose_scene(
    path: str | os.PathLike[str],
    volume: Volume,
    pose: Pose,
    *,
    name: str = "Fetus",
    others: Sequence[Pose] = (),
    edits: Sequence[Edit] = (),
    overwrite: bool = True,
) -> None:
    """Write an .mrb with a volume and the live nodes of a pose in it; whole or not at all.

    Args:
        path: of the file.
        volume: that the pose belongs to.
        pose: of the fetus, or of the first one.
        name: of its nodes.
        others: poses of further fetuses in the volume; their nodes are hidden, and numbered from 2 on.
        edits: what was done by hand to the landmarks of the first one.
        overwrite: whether the file may exist.

    Raises:
        OutputError: as `save_scene`.
    """
    target = bundle_target(path, overwrite)
    with open_scene() as scene:
        volume_node = add_volume_node(scene, volume)
        further = [
            PoseScene.create(scene, one, volume_node=volume_node, name=other_fetus_name(name, number))
            for number, one in enumerate(others, start=2)
        ]
        first = PoseScene.create(scene, pose, volume_node=volume_node, name=name)  # the newest is shown on loading
        first.edit_log.restore(edits)
        if further:
            ownership.show_only(scene, first.landmarks_node)
        for one in (first, *further):
            one.close()
        save_scene(scene, target, overwrite=overwrite)


def write_sequence_scene(
    path: str | os.PathLike[str],
    frames: Sequence[Volume],
    estimates: Sequence[Estimate],
    times_s: Sequence[float] | np.ndarray | None = None,
    *,
    name: str = "Fetus",
    overwrite: bool = True,
) -> None:
    """Write an .mrb with a sequence of volumes, the poses in it, table and plots of the movement; whole or not at all.

    Raises:
        OutputError: as `save_scene`.
    """
    model = next((estimate.model for estimate in estimates if estimate.model), "")
    with open_scene() as scene:
        browser = add_volume_sequence(scene, frames, times_s)
        poses = [estimate.pose for estimate in estimates]
        PoseSequence.create(browser, poses, name=name, model=model).close()
        save_scene(scene, path, overwrite=overwrite)
