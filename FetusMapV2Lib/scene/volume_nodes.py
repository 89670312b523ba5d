"""`Volume` to Slicer volume node and back, exactly, in world coordinates.

The volume of a node under a linear parent transform lies where the user sees it; colour volumes become grey.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray
from vtkmodules.util import numpy_support
from vtkmodules.vtkCommonDataModel import vtkImageData
from vtkmodules.vtkCommonMath import vtkMatrix4x4

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.imaging.volume_checks import grey
from FetusMapV2Lib.scene.node_names import node_name, safe_name

#: Voxel types that are kept as they are.
_DTYPES = (np.dtype(np.uint8), np.dtype(np.int16), np.dtype(np.uint16), np.dtype(np.float32))


def matrix_to_vtk(matrix: NDArray[Any]) -> vtkMatrix4x4:
    """A 4x4 array as a vtkMatrix4x4."""
    result = vtkMatrix4x4()
    result.DeepCopy(np.asarray(matrix, dtype=float).ravel())
    return result


def matrix_from_vtk(matrix: vtkMatrix4x4) -> NDArray[np.float64]:
    """A vtkMatrix4x4 as a (4, 4) array."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def add_volume_node(scene: slicer.vtkMRMLScene, volume: Volume, *, name: str | None = None) -> Any:
    """Add a vtkMRMLScalarVolumeNode with the voxels (copied), the geometry and a grey display.

    Args:
        scene: the MRML scene to add to.
        volume: array [k, j, i] and IJK-to-RAS matrix in mm.
        name: node name, made safe and unique in the scene; the volume's own name if not given.
    """
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", scene.GenerateUniqueName(safe_name(name or volume.name)))
    set_voxels(node, volume)
    show_grey(node, volume)
    return node


def show_grey(node: Any, volume: Volume) -> None:
    """Give a volume node a grey display that suits the voxels of `volume`."""
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeGrey")
    low, high = _grey_window(volume.array)
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(low, high)


def set_voxels(node: Any, volume: Volume) -> None:
    """Replace voxels (copied) and geometry of a scalar volume node by those of `volume`."""
    array = np.ascontiguousarray(volume.array)
    scalars = numpy_support.numpy_to_vtk(array.ravel(), deep=True, array_type=_vtk_type(array.dtype))
    scalars.SetName("ImageScalars")
    image = vtkImageData()
    image.SetDimensions(*array.shape[::-1])
    image.GetPointData().SetScalars(scalars)
    node.SetIJKToRASMatrix(matrix_to_vtk(volume.ijk_to_ras))
    node.SetAndObserveImageData(image)


def volume_from_node(node: Any) -> Volume:
    """The `Volume` that a scalar or vector volume node shows, in world coordinates.

    The parent transform, if any, is part of the geometry. RGB and RGBA become grey by luminance, other voxel types
    become int16 or float32. The array is a copy, which later changes of the node do not affect.

    Raises:
        InputError: no image in the node, a segmentation, or a parent transform that is not linear.
    """
    name = node_name(node) or "volume"
    if not node.IsA("vtkMRMLScalarVolumeNode") or node.IsA("vtkMRMLLabelMapVolumeNode"):
        raise InputError("this is not a grey or colour volume", where=name, remedy="Choose an ultrasound volume")
    image = node.GetImageData()
    scalars = image.GetPointData().GetScalars() if image is not None else None
    if scalars is None or scalars.GetNumberOfTuples() == 0:
        raise InputError("the volume holds no image", where=name, remedy="Load the volume again")
    values = numpy_support.vtk_to_numpy(scalars)
    array = _supported_type(_grey(values)).reshape(image.GetDimensions()[::-1])
    return Volume(array=array, ijk_to_ras=ijk_to_world(node), name=name, source=_file_name(node))


def ijk_to_world(node: Any) -> NDArray[np.float64]:
    """(4, 4) voxel indices (i, j, k) of a volume node to world RAS mm, its parent transform included.

    Raises:
        InputError: a parent transform that is not linear.
    """
    matrix = vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return np.asarray(parent_to_world(node) @ matrix_from_vtk(matrix))


def parent_to_world(node: Any) -> NDArray[np.float64]:
    """(4, 4) of the transforms above a node.

    Raises:
        InputError: one of them is not linear.
    """
    parent = node.GetParentTransformNode()
    if parent is None:
        return np.eye(4)
    matrix = vtkMatrix4x4()
    if not parent.IsTransformToWorldLinear() or not parent.GetMatrixTransformToWorld(matrix):
        raise InputError(
            "the volume is under a transform that is not linear",
            where=node_name(node),
            remedy="Harden the transform on the volume first",
        )
    return matrix_from_vtk(matrix)


def _file_name(node: Any) -> str:
    storage = node.GetStorageNode()
    return (storage.GetFileName() or "") if storage is not None else ""


def _grey(values: NDArray[Any]) -> NDArray[Any]:
    """(N,) or (N, components) voxels as a fresh (N,) array; alpha is ignored, RG is averaged."""
    if values.ndim == 1:
        return values.copy()
    components = values.shape[1]
    if components <= 2:
        return values[:, 0].copy()
    return grey(values)


def _supported_type(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype in _DTYPES:
        return values
    if values.dtype in (np.dtype(np.int8), np.dtype(bool)):
        return values.astype(np.int16)
    return values.astype(np.float32)


def _vtk_type(dtype: np.dtype[Any]) -> int:
    return int(numpy_support.get_vtk_array_type(dtype))


def _grey_window(array: NDArray[Any]) -> tuple[float, float]:
    """Display range: from black, or the least value below it, to a quarter above the 99.8 percentile of a sample."""
    step = tuple(slice(None, None, max(1, size // 64)) for size in array.shape)
    sample = array[step]
    low, high = min(float(sample.min()), 0.0), 1.25 * float(np.percentile(sample, 99.8))
    return (low, high) if high > low else (low, low + 1.0)
