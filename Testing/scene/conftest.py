"""A made-up fetus of 12 weeks, an empty MRML scene, and Slicer's habit of listing nodes in the subject hierarchy."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import slicer
import vtk

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.scene.scene_files import close_scene, new_scene

# Left, dorsal, cranial in mm: the rows are the landmarks 1 to 22.
_BODY = [
    (0, -4, 30), (0, -15, 24), (0, -19.5, 17), (0, -16.5, 19), (0, -12, 10), (0, 4, 10), (0, 7, 2), (0, -9, -12),
    (0, 7, -18), (0, 3, -27),
    (7.5, 2, 3), (10, -4, -5), (6, -12, -1), (-7.5, 2, 3), (-10.5, -3, -5), (-9, -12, 2),
    (4, 0, -24), (7, -9, -20), (5, -14, -28), (-4, 0, -24), (-7, -9.5, -21), (-3, -13, -30),
]  # fmt: skip


@pytest.fixture
def positions() -> np.ndarray:
    """(22, 3) RAS mm: the fetus lies obliquely; its left points to (0.6, 0.8, 0)."""
    left, cranial = np.array([0.6, 0.8, 0.0]), np.array([0.0, 0.0, -1.0])
    frame = np.stack([left, np.cross(cranial, left), cranial])
    return np.array(_BODY, dtype=float) @ frame + np.array([5.0, -8.0, 12.0])


@pytest.fixture
def pose(positions: np.ndarray) -> Pose:
    """The fetus with confidences 0.3 (doubtful) to 0.9 and radii."""
    return Pose(positions, np.linspace(0.9, 0.3, 22), np.linspace(1.5, 4.0, 22))


@pytest.fixture
def volume(positions: np.ndarray) -> Volume:
    """An oblique, anisotropic volume of speckle around the fetus."""
    random = np.random.default_rng(5)
    array = random.gamma(2.0, 25.0, (40, 50, 60)).clip(0, 255).astype(np.uint8)
    turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1.0]])
    matrix = np.eye(4)
    matrix[:3, :3] = turn * np.array([1.6, 1.8, 2.2])
    matrix[:3, 3] = positions.mean(axis=0) - matrix[:3, :3] @ np.array([30, 25, 20])
    return Volume(array=array, ijk_to_ras=matrix, name="case é 1")


@pytest.fixture
def scene() -> Iterator[slicer.vtkMRMLScene]:
    """An empty scene with Slicer's logics."""
    made = new_scene()
    yield made
    close_scene(made)


@pytest.fixture
def listed_scene(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLScene:
    """A scene where nodes have subject hierarchy items from being added to being removed, as in the application."""

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def on_added(_scene: object, _event: str, node: object) -> None:
        if node.IsA("vtkMRMLDisplayableNode") and not node.GetHideFromEditors():  # type: ignore[attr-defined]
            hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def on_removal(_scene: object, _event: str, node: object) -> None:
        item = hierarchy.GetItemByDataNode(node)
        if item:
            hierarchy.RemoveItem(item, False, False)

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    scene.AddObserver(scene.NodeAddedEvent, on_added)
    scene.AddObserver(scene.NodeAboutToBeRemovedEvent, on_removal)
    return scene


@pytest.fixture
def transform_matrix() -> np.ndarray:
    """A rigid 4x4 transform."""
    matrix = np.eye(4)
    matrix[:3, :3] = [[0, -1, 0], [0.6, 0, -0.8], [0.8, 0, 0.6]]
    matrix[:3, 3] = [11, -7, 3]
    return matrix
