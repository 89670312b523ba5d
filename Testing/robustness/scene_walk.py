"""Works at random (seeded) on volumes and poses: `python Testing/robustness/scene_walk.py --walks 20 --steps 300`.

After every step each pose must be whole, drawn by its own display nodes in its own colours, and over no other volume.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

from FetusMapV2Lib.anatomy.pose import Pose  # noqa: E402
from FetusMapV2Lib.anatomy.schema import default_schema  # noqa: E402
from FetusMapV2Lib.core.errors import UserError  # noqa: E402
from FetusMapV2Lib.imaging.volume import Volume  # noqa: E402
from FetusMapV2Lib.scene import appearance, node_links, ownership, pose_nodes, undo_history  # noqa: E402
from FetusMapV2Lib.scene.editing import LandmarkEditor  # noqa: E402
from FetusMapV2Lib.scene.hand_measures import HandMeasures  # noqa: E402
from FetusMapV2Lib.scene.node_lookup import nodes_by_class  # noqa: E402
from FetusMapV2Lib.scene.pose_scene import PoseScene  # noqa: E402
from FetusMapV2Lib.scene.pose_visibility import PoseVisibility  # noqa: E402
from FetusMapV2Lib.scene.scene_files import open_scene  # noqa: E402
from FetusMapV2Lib.scene.volume_nodes import add_volume_node  # noqa: E402

_MOST_VOLUMES = 4
_ODD_NAMES = ("%s%n", "100%", "", "x" * 400, "two\nlines")


class Walk:
    """A user with a will of his own.

    Args:
        scene: an empty scene of `files.new_scene`.
        seed: of all that is done.
    """

    def __init__(self, scene: Any, seed: int) -> None:
        self._scene, self._random, self._numbers = scene, random.Random(seed), np.random.default_rng(seed)
        undo_history.enable(scene)
        for name in ("Red", "Yellow"):
            for kind in ("vtkMRMLSliceNode", "vtkMRMLSliceCompositeNode"):
                scene.AddNewNodeByClass(kind).SetLayoutName(name)
        scene.AddNewNodeByClass("vtkMRMLViewNode")
        self._views = PoseVisibility(scene)
        self._live: dict[str, PoseScene] = {}
        self._volume: Any = None
        self.done: list[str] = []

    def step(self) -> None:
        """Do something, and look at everything."""
        often = [self._move] * 3 + [self._undo, self._redo] * 3 + [self._look] * 2
        deed: Callable[[], None] = self._random.choice([*often, *self._deeds()])
        self.done.append(deed.__name__.strip("_"))
        deed()
        self._attach()
        for landmarks in pose_nodes.find_landmarks(self._scene):
            _check_links(landmarks)
            self._check_views(landmarks)
        kept = len(nodes_by_class(self._scene, "vtkMRMLMarkupsDisplayNode"))
        assert kept == 12 * len(pose_nodes.find_landmarks(self._scene)), "a display node too many or too few"

    def close(self) -> None:
        """Follow no longer."""
        self._views.close()

    # --- what is done

    def _deeds(self) -> list[Callable[[], None]]:
        of_poses = [self._estimate, self._estimate_anew, self._choose, self._edit, self._outline, self._rename]
        of_poses.append(self._hide)
        of_slicer = [self._click, self._forget, self._undo_by_menu, self._redo_by_menu]
        return [*of_poses, *of_slicer, self._delete_volume, self._delete_point]

    def _estimate(self) -> None:
        undo_history.save_state(self._scene)
        volumes = self._volumes()
        if len(volumes) < _MOST_VOLUMES and self._random.random() < 0.6:
            volumes = [add_volume_node(self._scene, Volume(np.ones((3, 3, 3), np.uint8), np.eye(4)))]
        self._volume = self._random.choice(volumes or [None])
        name = self._random.choice(_ODD_NAMES)
        fetus = PoseScene.create(self._scene, self._pose(), volume_node=self._volume, name=name)
        self._live[fetus.landmarks_node.GetID()] = fetus
        self._views.show_only(fetus)

    def _estimate_anew(self) -> None:
        for fetus in self._one_pose():
            undo_history.save_state(self._scene)
            fetus.set_pose(self._pose())

    def _move(self) -> None:
        for fetus in self._one_pose():
            undo_history.save_state(self._scene)
            rows = fetus.landmarks_node.GetNumberOfControlPoints()
            fetus.landmarks_node.SetNthControlPointPositionWorld(self._random.randrange(rows), *self._places(1)[0])

    def _edit(self) -> None:
        for fetus in self._one_pose():
            do = LandmarkEditor(fetus)
            step, what = self._random.choice([(do.swap_sides, ["legs"]), (do.reset, [1]), (do.confirm, [3])])
            step(what)

    def _outline(self) -> None:
        for fetus in self._one_pose():
            undo_history.save_state(self._scene)
            ends = self._places(1) + np.array([[9.0, 0, 0], [-9.0, 0, 0], [0, 12.0, 0], [0, -12.0, 0]])
            HandMeasures.load(fetus.landmarks_node).with_handles("head", ends).save(fetus.landmarks_node)
            undo_history.save_state(self._scene)
            fetus.sections.handles("head").SetNthControlPointPositionWorld(1, *(ends[1] - [2.0, 1.0, 0]))
            (section,) = fetus.sections.sections_by_hand()
            assert section.sizes[1].value_mm > 18.5, "the handle was dragged"

    def _choose(self) -> None:
        for volume in self._volumes()[-2:]:
            self._volume, own = volume, ownership.poses_of(self._scene, volume)
            self._views.show_only(own[-1] if own else None)

    def _look(self) -> None:
        layers = self._random.choice(nodes_by_class(self._scene, "vtkMRMLSliceCompositeNode"))
        volume = self._random.choice([None, *self._volumes()])
        layers.SetBackgroundVolumeID(volume.GetID() if volume is not None else None)

    def _undo(self) -> None:
        with contextlib.suppress(UserError):
            undo_history.undo(self._scene, self._volume)

    def _redo(self) -> None:
        with contextlib.suppress(UserError):
            undo_history.redo(self._scene, self._volume)

    def _undo_by_menu(self) -> None:
        self._scene.Undo()

    def _redo_by_menu(self) -> None:
        self._scene.Redo()

    def _click(self) -> None:
        self._scene.SaveStateForUndo()

    def _forget(self) -> None:
        undo_history.clear(self._scene)

    def _rename(self) -> None:
        for fetus in self._one_pose():
            self._random.choice(fetus.all_nodes).SetName(self._random.choice(_ODD_NAMES))

    def _hide(self) -> None:
        for fetus in self._one_pose():
            display = self._random.choice(fetus.all_nodes).GetDisplayNode()
            display.SetVisibility(not display.GetVisibility())

    def _delete_volume(self) -> None:
        for volume in self._volumes()[:1]:
            self._scene.RemoveNode(volume)
            self._volume = None if volume is self._volume else self._volume

    def _delete_point(self) -> None:
        for fetus in self._one_pose():
            undo_history.save_state(self._scene)
            fetus.landmarks_node.SetFixedNumberOfControlPoints(False)
            if fetus.landmarks_node.GetNumberOfControlPoints() > 1:
                fetus.landmarks_node.RemoveNthControlPoint(0)

    def _one_pose(self) -> list[PoseScene]:
        found = [fetus for fetus in self._live.values() if fetus.is_open]
        return [self._random.choice(found)] if found else []

    def _volumes(self) -> list[Any]:
        return nodes_by_class(self._scene, "vtkMRMLScalarVolumeNode")

    def _places(self, count: int) -> np.ndarray:
        return self._numbers.normal(size=(count, 3)) * 20

    def _pose(self) -> Pose:
        return Pose(self._places(22))

    def _attach(self) -> None:
        """As the panel does with what undo brought back."""
        for landmarks in pose_nodes.find_landmarks(self._scene):
            fetus = self._live.get(landmarks.GetID())
            if fetus is None or not fetus.is_open:
                with contextlib.suppress(UserError):
                    self._live[landmarks.GetID()] = PoseScene.attach(self._scene, landmarks, default_schema())

    # --- what must hold

    def _check_views(self, landmarks: Any) -> None:
        own = ownership.volume_of(landmarks)
        if own is None and not ownership.is_orphaned(landmarks):
            return
        layers = {one.GetLayoutName(): one for one in nodes_by_class(self._scene, "vtkMRMLSliceCompositeNode")}
        for view in nodes_by_class(self._scene, "vtkMRMLSliceNode"):
            shown = layers[view.GetLayoutName()].GetBackgroundVolumeID()
            if shown and (own is None or own.GetID() != shown):
                for display in appearance.displays(ownership.nodes_of(landmarks)):
                    assert not display.IsDisplayableInView(view.GetID()), "drawn over another volume"


def _check_links(landmarks: Any) -> None:
    views = nodes_by_class(landmarks.GetScene(), "vtkMRMLSliceNode")
    assert len(pose_nodes.follower_nodes(landmarks)) == 15 + len(views), "a node is gone, or there are too many"
    for model in node_links.models_of(landmarks):
        display = model.GetDisplayNode()
        assert display is not None, "a display node is gone"
        assert display.GetInputMeshConnection() is model.GetMeshConnection(), "a mesh is not drawn"
    colours, shades = map(landmarks.GetNodeReference, pose_nodes.TABLE_REFERENCES)
    assert colours is not None, "the colours are gone"
    for model in node_links.models_of(landmarks):
        role, used = model.GetAttribute(pose_nodes.ROLE_ATTRIBUTE), model.GetDisplayNode().GetColorNode()
        assert role != "skeleton" or used is colours, "the colours are gone"
        assert role != pose_nodes.SLICE_SKELETON_ROLE or used is shades is not None, "the shades are gone"


def walk(seed: int, steps: int) -> None:
    """One walk in a scene of its own.

    Raises:
        AssertionError: something does not hold; it says after what.
    """
    with open_scene() as scene:
        user = Walk(scene, seed)
        for number in range(steps):
            try:
                user.step()
            except AssertionError as error:
                raise AssertionError(f"seed {seed}, step {number}: {error}, after {user.done[-8:]}") from error
        user.close()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--walks", type=int, default=20)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0, help="of the first walk")
    options = parser.parse_args()
    for seed in range(options.seed, options.seed + options.walks):
        walk(seed, options.steps)
    print(f"{options.walks} walks of {options.steps} steps: all held")


if __name__ == "__main__":
    main()
