"""How a pose looks in Slicer's views: sizes, colours and visibility.

Slicer's markups have one colour per node, not per point. So the points and their names are white, a doubtful point
is pink, and the skeleton, a model, carries the colour of each limb: as tubes in 3D views, as lines that are projected
onto the slice in slice views. Names are shown by a point list of their own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import slicer
from vtkmodules.vtkFiltersCore import vtkAssignAttribute

from FetusMapV2Lib.scene.limb_lines import SHADE_ARRAY
from FetusMapV2Lib.scene.skeleton import COLOUR_ARRAY

Colour = tuple[float, float, float]

WHITE: Colour = (1.0, 1.0, 1.0)
#: Points below `DOUBTFUL_CONFIDENCE`, and the point under the mouse. The limbs take blue, orange, vermilion and yellow
#: of Okabe and Ito's palette; these are its purple and green, lightened, apart from the limbs for all eyes.
DOUBTFUL_COLOUR: Colour = (0.96, 0.60, 0.83)
ACTIVE_COLOUR: Colour = (0.35, 0.95, 0.70)
CRL_COLOUR: Colour = (1.0, 1.0, 1.0)
PLANE_COLOUR: Colour = (0.72, 0.78, 0.84)

POINT_SIZE_MM = 1.5
TEXT_SCALE = 2.4
LINE_DIAMETER_MM = 0.35
SLICE_LINE_PIXELS = 3
CALLIPER_SIZE_MM = 2.5
CALLIPER_TEXT_SCALE = 3.0
HANDLE_SIZE_MM = 1.6
NUCHAL_SIZE_MM = 1.2
#: Attribute of display nodes that `hide` has hidden.
_HIDDEN = "FetusMapV2.Hidden"


def show_landmarks(display: Any) -> None:
    """Small white spheres in 3D, thin crosses in slices, also visible behind other objects."""
    display.SetSelectedColor(*WHITE)
    display.SetColor(*DOUBTFUL_COLOUR)
    display.SetActiveColor(*ACTIVE_COLOUR)
    display.SetGlyphTypeFromString("CrossDot2D")
    display.UseGlyphScaleOff()
    display.SetGlyphSize(POINT_SIZE_MM)
    display.SetOccludedVisibility(True)
    display.SetOccludedOpacity(0.6)
    display.SetPointLabelsVisibility(False)
    display.SetPropertiesLabelVisibility(False)


def show_names(display: Any) -> None:
    """Names beside points that are themselves invisible."""
    _single_colour(display, WHITE)
    _without_text(display)
    display.SetPointLabelsVisibility(True)
    display.SetTextScale(TEXT_SCALE)
    display.SetOccludedVisibility(True)
    display.SetOccludedOpacity(1.0)
    _readable_text(display)


def show_skeleton(display: Any, colours: Any) -> None:
    """Limb colours from the colour table, in 3D; in slices see `show_slice_skeleton`."""
    _coloured_by(display, colours, COLOUR_ARRAY)
    display.SetVisibility2D(False)
    display.SetAmbient(0.25)
    display.SetDiffuse(0.8)
    display.SetSpecular(0.15)
    display.SetPower(12.0)


def show_slice_skeleton(display: Any, shades: Any, view: Any) -> None:
    """Lines projected onto the slice of one view, nothing in 3D."""
    _coloured_by(display, shades, SHADE_ARRAY)
    display.SetVisibility3D(False)
    display.SetVisibility2D(True)
    display.AddViewNodeID(view.GetID())
    display.SetSliceDisplayModeToProjection()
    display.SetSliceIntersectionThickness(SLICE_LINE_PIXELS)


def _coloured_by(display: Any, table: Any, array: str) -> None:
    """The colours of a table."""
    # A table, not RGB values: with those, slice views log an error for every picture they draw.
    display.SetAndObserveColorNodeID(table.GetID())
    display.SetActiveScalar(array, vtkAssignAttribute.POINT_DATA)
    display.SetScalarRangeFlag(slicer.vtkMRMLDisplayNode.UseManualScalarRange)
    display.SetScalarRange(0.0, table.GetNumberOfColors() - 1.0)
    display.SetScalarVisibility(True)


def show_plane(display: Any) -> None:
    """A faint sheet with an outline in 3D, without handles, names or points; in slices see `show_trace`."""
    _single_colour(display, PLANE_COLOUR)
    display.SetFillOpacity(0.10)
    display.SetOutlineOpacity(0.7)
    display.SetOpacity(1.0)
    display.SetCurveLineSizeMode(display.UseLineDiameter)
    display.SetLineDiameter(LINE_DIAMETER_MM)
    display.SetHandlesInteractive(False)
    display.SetVisibility2D(False)
    _without_text(display)


def show_trace(display: Any) -> None:
    """A thin line where a plane meets a slice, nothing in 3D."""
    display.SetColor(*PLANE_COLOUR)
    display.SetVisibility3D(False)
    display.SetVisibility2D(True)
    display.SetSliceDisplayModeToIntersection()
    display.SetSliceIntersectionThickness(1)


def show_line(display: Any, *, main: bool) -> None:
    """The CRL is shown in 3D, see `show_calliper` for slices; bone lengths are hidden, as they lie on their bones."""
    _single_colour(display, CRL_COLOUR)
    display.SetCurveLineSizeMode(display.UseLineDiameter)
    display.SetLineDiameter(LINE_DIAMETER_MM)
    display.SetOpacity(0.9)
    display.SetVisibility(main)
    display.SetVisibility2D(False)
    _without_text(display)


def show_calliper(display: Any) -> None:
    """A line between two crosses with its value, in slices."""
    _single_colour(display, CRL_COLOUR)
    _without_text(display)
    display.SetVisibility3D(False)
    display.SetCurveLineSizeMode(display.UseLineDiameter)
    display.SetLineDiameter(LINE_DIAMETER_MM)
    display.SetGlyphTypeFromString("Cross2D")
    display.SetGlyphSize(CALLIPER_SIZE_MM)
    display.SetPropertiesLabelVisibility(True)
    display.SetTextScale(CALLIPER_TEXT_SCALE)
    _readable_text(display)


def show_nuchal(display: Any) -> None:
    """Two small crosses with a value, in slices; the line between them does not cover the fluid."""
    show_calliper(display)
    display.SetLineDiameter(LINE_DIAMETER_MM / 3)
    display.SetGlyphSize(NUCHAL_SIZE_MM)
    display.SetActiveColor(*ACTIVE_COLOUR)


def show_handles(display: Any) -> None:
    """Crosses that can be dragged, in slices."""
    _single_colour(display, CRL_COLOUR)
    _without_text(display)
    display.SetActiveColor(*ACTIVE_COLOUR)
    display.SetVisibility3D(False)
    display.SetGlyphTypeFromString("CrossDot2D")
    display.SetGlyphSize(HANDLE_SIZE_MM)


def show_outline(display: Any) -> None:
    """A thin line in slices, nothing in 3D."""
    display.SetColor(*CRL_COLOUR)
    display.SetVisibility3D(False)
    display.SetVisibility2D(False)
    display.SetSliceDisplayModeToProjection()
    display.SetSliceIntersectionThickness(2)


def _single_colour(display: Any, colour: Colour) -> None:
    display.SetSelectedColor(*colour)
    display.SetColor(*colour)
    display.SetActiveColor(*colour)


def _without_text(display: Any) -> None:
    """Neither names nor values, and points that cannot be seen."""
    display.SetPointLabelsVisibility(False)
    display.SetPropertiesLabelVisibility(False)
    display.UseGlyphScaleOff()
    display.SetGlyphSize(0.1)


def _readable_text(display: Any) -> None:
    text = display.GetTextProperty()
    if text is not None:
        text.SetBold(False)
        text.SetShadow(True)
        text.SetBackgroundOpacity(0.0)


def hide(nodes: Iterable[Any], reason: str = _HIDDEN) -> None:
    """Hide nodes until `show_again`, also in a scene that is saved meanwhile.

    Args:
        nodes: these.
        reason: attribute that their display nodes get; nodes hidden for one reason stay hidden for it.
    """
    for display in displays(nodes):
        if display.GetVisibility():
            display.SetAttribute(reason, "1")
            display.SetVisibility(False)


def show_again(nodes: Iterable[Any], reason: str = _HIDDEN) -> None:
    """Show what `hide` has hidden for a reason, but nothing that the user has hidden."""
    for display in displays(nodes):
        if display.GetAttribute(reason):
            display.RemoveAttribute(reason)
            display.SetVisibility(True)


def displays(nodes: Iterable[Any]) -> list[Any]:
    """The display nodes of nodes."""
    found = [node.GetNthDisplayNode(index) for node in nodes for index in range(node.GetNumberOfDisplayNodes())]
    return [display for display in found if display is not None]
