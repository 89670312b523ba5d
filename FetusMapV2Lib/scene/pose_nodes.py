"""The MRML nodes of a pose: created once, and found by reference after loading.

The landmarks node refers to all others: skeletons, names, plane, lengths and volume.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
from numpy.typing import NDArray
from vtkmodules.vtkCommonCore import vtkPoints
from vtkmodules.vtkCommonDataModel import vtkPolyData

from FetusMapV2Lib.anatomy.schema import Schema
from FetusMapV2Lib.anatomy.section_handles import HANDLES
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.scene import appearance
from FetusMapV2Lib.scene.control_points import list_problem, recreate_points
from FetusMapV2Lib.scene.limb_lines import Colour, shades
from FetusMapV2Lib.scene.node_lookup import nodes_by_class
from FetusMapV2Lib.scene.node_names import label_points_by_number, node_name

Array = NDArray[np.float64]

ROLE_ATTRIBUTE = "FetusMapV2.Role"
SCHEMA_ATTRIBUTE = "FetusMapV2.Schema"
LANDMARKS_ROLE = "landmarks"
SLICE_SKELETON_ROLE = "slice_skeleton"
TRACE_ROLE = "midsagittal_trace"
CALLIPER_ROLE = "calliper"
HANDLES_ROLE = "handles"
OUTLINE_ROLE = "outline"
NUCHAL_ROLE = "nuchal"
SKELETON_REFERENCE = "FetusMapV2.Skeleton"
COLOURS_REFERENCE = "FetusMapV2.Colours"
#: Followed by the ID of the slice view.
IN_SLICE_REFERENCE = "FetusMapV2.InSlice."
SHADES_REFERENCE = "FetusMapV2.Shades"
NAMES_REFERENCE = "FetusMapV2.Names"
CALLIPER_REFERENCE = "FetusMapV2.Calliper"
PLANE_REFERENCE = "FetusMapV2.MidsagittalPlane"
TRACE_REFERENCE = "FetusMapV2.MidsagittalTrace"
LENGTH_REFERENCE = "FetusMapV2.Length."
#: Followed by the key of the section.
HANDLES_REFERENCE = "FetusMapV2.Handles."
OUTLINE_REFERENCE = "FetusMapV2.Outline."
NUCHAL_REFERENCE = "FetusMapV2.Nuchal"
VOLUME_REFERENCE = "FetusMapV2.Volume"
#: From the node of an edit log to the landmarks.
LOG_REFERENCE = "FetusMapV2.EditLogOf"
#: The frame that a landmarks node shows. It is stored with the node, so that undo finds the frame that it changes.
FRAME_ATTRIBUTE = "FetusMapV2.Frame"
TABLE_REFERENCES = (COLOURS_REFERENCE, SHADES_REFERENCE)
_SINGLE = (
    SKELETON_REFERENCE,
    NAMES_REFERENCE,
    PLANE_REFERENCE,
    TRACE_REFERENCE,
    CALLIPER_REFERENCE,
    NUCHAL_REFERENCE,
    *TABLE_REFERENCES,
)
_SEVERAL = (LENGTH_REFERENCE, IN_SLICE_REFERENCE, HANDLES_REFERENCE, OUTLINE_REFERENCE)

_LINE_NAMES = {
    "crl": "CRL",
    "left_femur": "left femur",
    "right_femur": "right femur",
    "left_humerus": "left humerus",
    "right_humerus": "right humerus",
}


def length_rows(schema: Schema) -> dict[str, tuple[int, int]]:
    """Key of each measured length -> rows of its two ends."""
    return {"crl": schema.crl_rows, **schema.bones}


def find_landmarks(scene: slicer.vtkMRMLScene) -> list[Any]:
    """All landmarks nodes of poses in the scene."""
    points = nodes_by_class(scene, "vtkMRMLMarkupsFiducialNode")
    return [node for node in points if node.GetAttribute(ROLE_ATTRIBUTE) == LANDMARKS_ROLE]


def stored_frame(landmarks: Any) -> int | None:
    """The frame that the landmarks belong to, None if they belong to no sequence."""
    stored = landmarks.GetAttribute(FRAME_ATTRIBUTE) or ""
    return int(stored) if stored.isdecimal() else None


def log_node_of(scene: slicer.vtkMRMLScene, landmarks: Any) -> Any:
    """The node of the edit log of a pose, None without one."""
    found = nodes_by_class(scene, "vtkMRMLScriptedModuleNode")
    return next((node for node in found if node.GetNodeReferenceID(LOG_REFERENCE) == landmarks.GetID()), None)


def add_log_node(scene: slicer.vtkMRMLScene, landmarks: Any) -> Any:
    """Add a hidden node for the edit log of a pose; undo leaves it as it is."""
    node = scene.AddNewNodeByClass("vtkMRMLScriptedModuleNode", f"{landmarks.GetName()} edit log")
    node.SetHideFromEditors(True)
    node.SetNodeReferenceID(LOG_REFERENCE, landmarks.GetID())
    return node


def reference_roles(landmarks: Any) -> list[str]:
    """The roles under which a landmarks node refers to the nodes created for it."""
    # MRML lists roles that were merely asked for, too
    count = landmarks.GetNumberOfNodeReferenceRoles()
    roles = [
        role for role in map(landmarks.GetNthNodeReferenceRole, range(count)) if landmarks.GetNodeReferenceID(role)
    ]
    return [role for role in roles if role in _SINGLE or role.startswith(_SEVERAL)]


def follower_nodes(landmarks: Any) -> list[Any]:
    """The nodes that show the pose of a landmarks node: skeletons, names, planes, lengths, callipers, outlines."""
    found = (landmarks.GetNodeReference(role) for role in reference_roles(landmarks) if role not in TABLE_REFERENCES)
    return [node for node in found if node is not None]


def remove_followers(scene: slicer.vtkMRMLScene, landmarks: Any) -> None:
    """Remove the nodes of a pose whose landmarks were removed from the scene, its edit log too.

    Undo, redo and closing remove and restore all nodes themselves.
    """
    if scene.IsUndoing() or scene.IsRedoing() or scene.IsClosing() or scene.IsRestoring():
        return
    for role in reference_roles(landmarks):
        node = scene.GetNodeByID(landmarks.GetNodeReferenceID(role) or "")
        if node is not None and (role in TABLE_REFERENCES or node.GetAttribute(ROLE_ATTRIBUTE)):
            for display in appearance.displays([node] if node.IsA("vtkMRMLDisplayableNode") else []):
                scene.RemoveNode(display)
            scene.RemoveNode(node)
    log = log_node_of(scene, landmarks)
    if log is not None:
        scene.RemoveNode(log)


def unique_name(scene: slicer.vtkMRMLScene, name: str) -> str:
    """`name`, or ``name 2``, ... if the scene already has landmarks of that name."""
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
    stored = node.GetAttribute(SCHEMA_ATTRIBUTE)
    if stored and stored != schema.id:
        raise InputError(f"the landmarks follow another schema ({stored})", where=where, remedy=f"Use {schema.id}")
    problem = list_problem(node, schema)
    if problem:
        raise InputError(
            f"the point list does not hold the {schema.count} landmarks in their order: {problem}",
            where=where,
            remedy="Estimate the pose again, or load a landmark file made by this extension",
        )


def add_landmarks(scene: slicer.vtkMRMLScene, name: str, schema: Schema) -> Any:
    """Add a fiducial node with one named point per landmark, all missing, their number fixed."""
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", f"{name} landmarks")
    label_points_by_number(node)
    recreate_points(node, schema)
    mark_as_landmarks(node, schema)
    return node


def mark_as_landmarks(node: Any, schema: Schema) -> None:
    """Turn a point list that holds the landmarks into a landmarks node, e.g. one that was loaded from a file."""
    before = node.StartModify()
    label_points_by_number(node)
    node.SetFixedNumberOfControlPoints(True)
    node.SetAttribute(ROLE_ATTRIBUTE, LANDMARKS_ROLE)
    node.SetAttribute(SCHEMA_ATTRIBUTE, schema.id)
    node.EndModify(before)
    _with_display(node, appearance.show_landmarks)


def add_colours(scene: slicer.vtkMRMLScene, name: str, schema: Schema) -> Any:
    """Add a hidden colour table with the colour of each landmark."""
    return _add_table(scene, f"{name} colours", [(mark.name, (*mark.colour, 1.0)) for mark in schema.landmarks])


def add_shades(scene: slicer.vtkMRMLScene, name: str, schema: Schema) -> Any:
    """Add a hidden colour table with the colours of the limbs from opaque to faint."""
    rows = [(str(number), colour) for number, colour in enumerate(shades(schema))]
    return _add_table(scene, f"{name} shades", rows)


def _add_table(scene: slicer.vtkMRMLScene, name: str, rows: list[tuple[str, Colour]]) -> Any:
    node = scene.CreateNodeByClass("vtkMRMLColorTableNode")
    node.UnRegister(None)
    node.SetName(name)
    node.SetTypeToUser()
    node.SetHideFromEditors(True)
    node.SetNumberOfColors(len(rows))
    for number, (label, colour) in enumerate(rows):
        node.SetColor(number, label, *colour)
    node.GetLookupTable().SetRange(0.0, len(rows) - 1.0)
    added = scene.AddNode(node)
    added.SetUndoEnabled(True)
    return added


def add_skeleton(scene: slicer.vtkMRMLScene, name: str, polydata: vtkPolyData, colours: Any) -> Any:
    """Add a model node that shows `polydata` in the colours of the limbs."""
    node = scene.AddNewNodeByClass("vtkMRMLModelNode", f"{name} skeleton")
    node.SetAttribute(ROLE_ATTRIBUTE, "skeleton")
    node.SetSelectable(False)
    node.SetAndObservePolyData(polydata)
    _with_display(node, lambda display: appearance.show_skeleton(display, colours))
    return node


def add_slice_skeleton(scene: slicer.vtkMRMLScene, name: str, view: Any, polydata: vtkPolyData, table: Any) -> Any:
    """Add a hidden model node that shows the projected skeleton in one slice view."""
    node = scene.AddNewNodeByClass("vtkMRMLModelNode", f"{name} skeleton in {view.GetLayoutName()}")
    node.SetAttribute(ROLE_ATTRIBUTE, SLICE_SKELETON_ROLE)
    node.SetSelectable(False)
    node.SetHideFromEditors(True)
    node.SetAndObservePolyData(polydata)
    _with_display(node, lambda display: appearance.show_slice_skeleton(display, table, view))
    return node


def add_names(scene: slicer.vtkMRMLScene, name: str, schema: Schema) -> Any:
    """Add a hidden, locked point list that shows the names of some landmarks; a point list shows all names or none."""
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", f"{name} names")
    label_points_by_number(node)
    recreate_points(node, schema)
    for row in range(schema.count):
        node.SetNthControlPointVisibility(row, False)
    node.SetAttribute(ROLE_ATTRIBUTE, "names")
    node.SetHideFromEditors(True)
    node.SetLocked(True)
    _with_display(node, appearance.show_names)
    return node


def add_plane(scene: slicer.vtkMRMLScene, name: str) -> Any:
    """Add a locked plane node of absolute size."""
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsPlaneNode", f"{name} midsagittal plane")
    label_points_by_number(node)
    node.SetAttribute(ROLE_ATTRIBUTE, "midsagittal_plane")
    node.SetPlaneType(node.PlaneTypePointNormal)
    node.SetSizeMode(node.SizeModeAbsolute)
    node.SetOriginWorld(0.0, 0.0, 0.0)
    node.SetNthControlPointPositionMissing(0)
    node.SetLocked(True)
    _with_display(node, appearance.show_plane)
    return node


def add_trace(scene: slicer.vtkMRMLScene, name: str) -> Any:
    """Add a model node that shows the line where the midsagittal plane cuts a slice.

    Views draw it in a tenth of the time that they need for the outline of a plane node.
    """
    node = scene.AddNewNodeByClass("vtkMRMLModelNode", f"{name} midsagittal plane in slices")
    node.SetAttribute(ROLE_ATTRIBUTE, TRACE_ROLE)
    node.SetSelectable(False)
    polydata = vtkPolyData()
    polydata.SetPoints(vtkPoints())
    node.SetAndObservePolyData(polydata)
    _with_display(node, appearance.show_trace)
    return node


def add_line(scene: slicer.vtkMRMLScene, name: str, key: str) -> Any:
    """Add a locked line node with its length measurement."""
    label = _LINE_NAMES.get(key, key.replace("_", " "))
    node = _add_ends(scene, f"{name} {label}", f"length.{key}")
    length = node.GetMeasurement("length")
    if length is not None:
        length.SetPrintFormat("%.1f mm")
    _with_display(node, lambda display: appearance.show_line(display, main=key == "crl"))
    return node


def add_calliper(scene: slicer.vtkMRMLScene) -> Any:
    """Add a hidden, locked line node that shows the crown-rump length in slices; its name is the text beside it."""
    node = _add_ends(scene, "CRL", CALLIPER_ROLE)
    node.SetHideFromEditors(True)
    # the text of a measurement would have Slicer's precision and the name of the node
    for index in range(node.GetNumberOfMeasurements()):
        node.GetNthMeasurement(index).SetEnabled(False)
    _with_display(node, appearance.show_calliper)
    return node


def add_nuchal(scene: slicer.vtkMRMLScene) -> Any:
    """Add a hidden line node of the nuchal translucency, whose ends a person drags; its name is the text beside it."""
    node = _add_ends(scene, "NT", NUCHAL_ROLE)
    node.SetHideFromEditors(True)
    node.SetLocked(False)
    for index in range(node.GetNumberOfMeasurements()):
        node.GetNthMeasurement(index).SetEnabled(False)
    _with_display(node, appearance.show_nuchal)
    return node


def add_handles(scene: slicer.vtkMRMLScene, name: str, key: str) -> Any:
    """Add a hidden point list of the handles of an outline, which a person drags."""
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", f"{name} {key} handles")
    label_points_by_number(node)
    node.SetAttribute(ROLE_ATTRIBUTE, HANDLES_ROLE)
    node.SetHideFromEditors(True)
    for handle in HANDLES:
        row = node.AddControlPoint(0.0, 0.0, 0.0, handle)
        node.SetNthControlPointPositionMissing(row)
    node.SetFixedNumberOfControlPoints(True)
    _with_display(node, appearance.show_handles)
    return node


def add_outline(scene: slicer.vtkMRMLScene, name: str, key: str) -> Any:
    """Add a hidden model node that shows the outline of head or abdomen in slices near its plane."""
    node = scene.AddNewNodeByClass("vtkMRMLModelNode", f"{name} {key} outline")
    node.SetAttribute(ROLE_ATTRIBUTE, OUTLINE_ROLE)
    node.SetSelectable(False)
    node.SetHideFromEditors(True)
    polydata = vtkPolyData()
    polydata.SetPoints(vtkPoints())
    node.SetAndObservePolyData(polydata)
    _with_display(node, appearance.show_outline)
    return node


def _add_ends(scene: slicer.vtkMRMLScene, name: str, role: str) -> Any:
    """Add a locked line node with two missing ends."""
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsLineNode", name)
    label_points_by_number(node)
    node.SetAttribute(ROLE_ATTRIBUTE, role)
    for end in ("start", "end"):
        row = node.AddControlPoint(0.0, 0.0, 0.0, end)
        node.SetNthControlPointPositionMissing(row)
    node.SetFixedNumberOfControlPoints(True)
    node.SetLocked(True)
    return node


def _with_display(node: Any, show: Any) -> None:
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    before = display.StartModify()
    show(display)
    display.EndModify(before)
    for one in (node, display):
        one.SetUndoEnabled(True)
