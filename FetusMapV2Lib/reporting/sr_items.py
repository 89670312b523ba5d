"""Content items of DICOM structured reports as pydicom data sets.

The few item types that the report needs (PS3.3 C.17.3), with pydicom, which Slicer has too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from FetusMapV2Lib.reporting.values import clean_text, name_component

MM, DAYS, PERCENT = Code("mm", "UCUM", "mm"), Code("d", "UCUM", "days"), Code("%", "UCUM", "percent")
COMMENT = Code("121106", "DCM", "Comment")
_DERIVATION = Code("121401", "DCM", "Derivation")
#: CID 3627.
_ESTIMATED, _MEASURED = Code("414135002", "SCT", "Estimated"), Code("258104002", "SCT", "Measured")
_FINDING_SITE, _LATERALITY = Code("363698007", "SCT", "Finding Site"), Code("272741003", "SCT", "Laterality")
_UPPER = Code("371886008", "SCT", "+, range of upper measurement uncertainty")
_LOWER = Code("371885007", "SCT", "-, range of lower measurement uncertainty")


def container(name: Code, items: Sequence[Dataset], relation: str = "CONTAINS", template: str = "") -> Dataset:
    """A CONTAINER with separate items; `template` is the identifier of a DICOM template (TID)."""
    item = _item("CONTAINER", name, relation)
    item.ContinuityOfContent = "SEPARATE"
    if template:
        used = Dataset()
        used.MappingResource, used.TemplateIdentifier = "DCMR", template
        item.ContentTemplateSequence = [used]
    return with_items(item, items)


def num(name: Code, value: float, unit: Code, items: Sequence[Dataset] = (), relation: str = "CONTAINS") -> Dataset:
    """A NUM, rounded to two decimals."""
    item = _item("NUM", name, relation)
    measured = Dataset()
    measured.NumericValue = f"{value:.2f}"
    measured.MeasurementUnitsCodeSequence = [coded(unit)]
    item.MeasuredValueSequence = [measured]
    return with_items(item, items)


def text(name: Code, value: str, relation: str = "CONTAINS") -> Dataset:
    """A TEXT."""
    item = _item("TEXT", name, relation)
    item.TextValue = clean_text(value)
    return item


def code(name: Code, value: Code, relation: str, items: Sequence[Dataset] = ()) -> Dataset:
    """A CODE."""
    item = _item("CODE", name, relation)
    item.ConceptCodeSequence = [coded(value)]
    return with_items(item, items)


def person(name: Code, value: str, relation: str) -> Dataset:
    """A PNAME."""
    item = _item("PNAME", name, relation)
    item.PersonName = name_component(value)
    return item


def uid(name: Code, value: str, relation: str) -> Dataset:
    """A UIDREF."""
    item = _item("UIDREF", name, relation)
    item.UID = value
    return item


def image(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    """An IMAGE of an image library."""
    item = Dataset()
    item.RelationshipType, item.ValueType = "CONTAINS", "IMAGE"
    item.ReferencedSOPSequence = [reference(sop_class_uid, sop_instance_uid)]
    return item


def points(name: Code, positions_lps: NDArray[np.float64], shape: str, frame_of_reference: str) -> Dataset:
    """A SCOORD3D: points in space.

    Args:
        name: what they are.
        positions_lps: (N, 3) mm, LPS.
        shape: graphic type, such as POINT.
        frame_of_reference: UID of the space that the points lie in.
    """
    item = _item("SCOORD3D", name, "CONTAINS")
    item.GraphicType, item.GraphicData = shape, [float(value) for value in positions_lps.ravel()]
    item.ReferencedFrameOfReferenceUID = frame_of_reference
    return item


def derivation(*, by_hand: bool) -> Dataset:
    """How a number came about: estimated by the software, or measured by a person."""
    return code(_DERIVATION, _MEASURED if by_hand else _ESTIMATED, "HAS CONCEPT MOD")


def finding_site(site: Code, side: Code | None = None) -> Dataset:
    """Where in the body something is."""
    laterality = [] if side is None else [code(_LATERALITY, side, "HAS CONCEPT MOD")]
    return code(_FINDING_SITE, site, "HAS CONCEPT MOD", laterality)


def uncertainty(half_width_mm: float | None) -> list[Dataset]:
    """The 90 % interval of a length as properties of its number (TID 310); none if it is not known."""
    if half_width_mm is None:
        return []
    relation = "HAS PROPERTIES"
    line = f"90 % interval: +-{half_width_mm:.1f} mm"
    limits = [num(name, half_width_mm, MM, relation=relation) for name in (_UPPER, _LOWER)]
    return [*limits, text(COMMENT, line, relation)]


def found_or_set(by_hand: bool, half_width_mm: float | None) -> list[Dataset]:
    """How a size came about: found in the volume with an uncertainty, or set by hand."""
    if by_hand:
        return [derivation(by_hand=True), text(COMMENT, "set by hand", "HAS PROPERTIES")]
    return [derivation(by_hand=False), *uncertainty(half_width_mm)]


def reference(sop_class_uid: str, sop_instance_uid: str) -> Dataset:
    """A reference to a DICOM object."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class_uid, sop_instance_uid
    return item


def coded(value: Code) -> Dataset:
    """A code as the one item of a code sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value.value, value.scheme_designator, value.meaning
    return item


def with_items(item: Dataset, items: Sequence[Dataset]) -> Dataset:
    """The item with content items below it."""
    if items:
        item.ContentSequence = list(items)
    return item


def _item(value_type: str, name: Code, relation: str) -> Dataset:
    item = Dataset()
    if relation:
        item.RelationshipType = relation
    item.ValueType = value_type
    item.ConceptNameCodeSequence = [coded(name)]
    return item
