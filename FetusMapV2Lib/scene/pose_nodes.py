"""The MRML nodes of a pose: made once, found again by reference after loading, filled with positions.

Everything hangs on the landmarks node: it refers to the skeleton, the plane, the lengths and the volume.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray

from FetusMapV2Lib.anatomy.schema import Schema
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.scene import appearance
from FetusMapV2Lib.scene.control_points import list_problem, recreate_points
from FetusMapV2Lib.scene.node_lookup import nodes_by_class
from FetusMapV2Lib.scene.node_names import node_name, without_name_in_labels

Array = NDArray[np.float64]

ROLE_ATTRIBUTE = "FetusMapV2.Role"
SCHEMA_ATTRIBUTE = "FetusMapV2.Schema"
LANDMARKS_ROLE = "landmarks"
SKELETON_REFERENCE = "FetusMapV2.Skeleton"
COLOURS_REFERENCE = "FetusMapV2.Colours"
PLANE_REFERENCE = "FetusMapV2.MidsagittalPlane"
TRACE_REFERENCE = "FetusMapV2.MidsagittalTrace"
LENGTH_REFERENCE = "FetusMapV2.Length."
VOLUME_REFERENCE = "FetusMapV2.Volume"

_LINE_NAMES = {
    "crl": "CRL",
    "left_femur": "left femur",
    "right_femur": "right femur",
    "left_humerus": "left humerus",
    "right_humerus": "right humerus",
}


def length_rows(schema: Schema) -> dict[str, tuple[int, int]]:
    """The measured lengths: key to the rows of its two ends."""
    return {"crl": schema.crl_rows, **schema.bones}


def find_landmarks(scene: slicer.vtkMRMLScene) -> list[Any]:
    """All landmarks nodes of poses in the scene."""
    points = nodes_by_class(scene, "vtkMRMLMarkupsFiducialNode")
    return [node for node in points if node.GetAttribute(ROLE_ATTRIBUTE) == LANDMARKS_ROLE]


def reference_roles(landmarks: Any) -> list[str]:
    """The roles under which a landmarks node refers to what was made for it."""
    roles = (landmarks.GetNthNodeReferenceRole(index) for index in range(landmarks.GetNumberOfNodeReferenceRoles()))
    single = (SKELETON_REFERENCE, PLANE_REFERENCE, TRACE_REFERENCE, COLOURS_REFERENCE)
    return [role for role in roles if role in single or role.startswith(LENGTH_REFERENCE)]


def followers(landmarks: Any) -> list[Any]:
    """The nodes that a landmarks node refers to as showing its pose: skeleton, plane, trace and lengths."""
    found = (landmarks.GetNodeReference(role) for role in reference_roles(landmarks) if role != COLOURS_REFERENCE)
    return [node for node in found if node is not None]


def unique_name(scene: slicer.vtkMRMLScene, name: str) -> str:
    """`name`, or `name 2`, ... if the scene has landmarks of that name already."""
    number, unique = 1, name
    while scene.GetFirstNodeByName(f"{unique} landmarks") is not None:
        number += 1
        unique = f"{name} {number}"
    return unique


def check_landmarks(node: Any, schema: Schema) -> None:
    """Raise InputError unless `node` holds the landmarks of the schema in their order."""
    where = node_name(node) if node is not None else ""
    if node is None or not node.IsA("vtkMRMLMarkupsFiducialNode"):
        raise InputError("this is not a point list", where=where, remedy="Choose the landmarks of a fetus")
    kept = node.GetAttribute(SCHEMA_ATTRIBUTE)
    if kept and kept != schema.id:
        raise InputError(f"the landmarks follow another schema ({kept})", where=where, remedy=f"Use {schema.id}")
    problem = list_problem(node, schema)
    if problem:
        raise InputError(
            f"the point list does not hold the {schema.count} landmarks in their order: {problem}",
            where=where,
            remedy="Estimate the pose anew, or load a landmark file made by this extension",
        )


def add_landmarks(scene: slicer.vtkMRMLScene, name: str, schema: Schema) -> Any:
    """A fiducial node with one named point per landmark, all missing, their number fixed."""
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", f"{name} landmarks")
    without_name_in_labels(node)
    recreate_points(node, schema)
    make_landmarks(node, schema)
    return node


def make_landmarks(node: Any, schema: Schema) -> None:
    """Make a point list with the right points the landmarks of a pose, e.g. one that was loaded from a file."""
    before = node.StartModify()
    without_name_in_labels(node)
    node.SetFixedNumberOfControlPoints(True)
    node.SetAttribute(ROLE_ATTRIBUTE, LANDMARKS_ROLE)
    node.SetAttribute(SCHEMA_ATTRIBUTE, schema.id)
    node.EndModify(before)
    _with_display(node, appearance.show_landmarks)


def add_colours(scene: slicer.vtkMRMLScene, name: str, schema: Schema) -> Any:
    """A hidden colour table with the colour of each landmark."""
    node = scene.CreateNodeByClass("vtkMRMLColorTableNode")
    node.UnRegister(None)
    node.SetName(f"{name} colours")
    node.SetTypeToUser()
    node.SetHideFromEditors(True)
    node.SetNumberOfColors(schema.count)
    for landmark in schema.landmarks:
        node.SetColor(landmark.number - 1, landmark.name, *landmark.colour, 1.0)
    node.GetLookupTable().SetRange(0.0, schema.count - 1.0)
    return scene.AddNode(node)


def add_skeleton(scene: slicer.vtkMRMLScene, name: str, polydata: vtk.vtkPolyData, colours: Any) -> Any:
    """A model node that shows `polydata` in the colours of the limbs."""
    node = scene.AddNewNodeByClass("vtkMRMLModelNode", f"{name} skeleton")
    node.SetAttribute(ROLE_ATTRIBUTE, "skeleton")
    node.SetSelectable(False)
    node.SetAndObservePolyData(polydata)
    _with_display(node, lambda display: appearance.show_skeleton(display, colours))
    return node


def add_plane(scene: slicer.vtkMRMLScene, name: str) -> Any:
    """A locked plane node of absolute size."""
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsPlaneNode", f"{name} midsagittal plane")
    without_name_in_labels(node)
    node.SetAttribute(ROLE_ATTRIBUTE, "midsagittal_plane")
    node.SetPlaneType(node.PlaneTypePointNormal)
    node.SetSizeMode(node.SizeModeAbsolute)
    node.SetOriginWorld(0.0, 0.0, 0.0)
    node.SetNthControlPointPositionMissing(0)
    node.SetLocked(True)
    _with_display(node, appearance.show_plane)
    return node


def add_trace(scene: slicer.vtkMRMLScene, name: str) -> Any:
    """A model node that shows where the midsagittal plane cuts the slices: a line, drawn in a tenth of the time that
    views need for the outline of a plane node."""
    node = scene.AddNewNodeByClass("vtkMRMLModelNode", f"{name} midsagittal plane in slices")
    node.SetAttribute(ROLE_ATTRIBUTE, "midsagittal_trace")
    node.SetSelectable(False)
    polydata = vtk.vtkPolyData()
    polydata.SetPoints(vtk.vtkPoints())
    node.SetAndObservePolyData(polydata)
    _with_display(node, appearance.show_trace)
    return node


def add_line(scene: slicer.vtkMRMLScene, name: str, key: str) -> Any:
    """A locked line node with its length measurement."""
    label = _LINE_NAMES.get(key, key.replace("_", " "))
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsLineNode", f"{name} {label}")
    without_name_in_labels(node)
    node.SetAttribute(ROLE_ATTRIBUTE, f"length.{key}")
    for end in ("start", "end"):
        row = node.AddControlPoint(0.0, 0.0, 0.0, end)
        node.SetNthControlPointPositionMissing(row)
    node.SetFixedNumberOfControlPoints(True)
    node.SetLocked(True)
    length = node.GetMeasurement("length")
    if length is not None:
        length.SetPrintFormat("%.1f mm")
    _with_display(node, lambda display: appearance.show_line(display, main=key == "crl"))
    return node


def _with_display(node: Any, show: Any) -> None:
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    before = display.StartModify()
    show(display)
    display.EndModify(before)
    for owned in (node, display):
        owned.SetUndoEnabled(True)
