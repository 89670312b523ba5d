"""Landmarks and lengths as DICOM Measurement Report, TID 1500 (PS3.16), with 3D points that image viewers can show.

It stands beside the report of TID 5000, which has no coordinates. Each landmark, length and outline is a planar region
(TID 1410), as viewers look for coordinates directly in such a group.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

from FetusMapV2Lib.anatomy.biometry import Measurement
from FetusMapV2Lib.anatomy.body_sections import BodySection
from FetusMapV2Lib.anatomy.schema import Landmark
from FetusMapV2Lib.core.version import SOFTWARE, __version__
from FetusMapV2Lib.imaging.volume import LPS_TO_RAS
from FetusMapV2Lib.reporting import sr_document
from FetusMapV2Lib.reporting import sr_items as sr
from FetusMapV2Lib.reporting.codes import (
    BONES,
    CRL,
    LANDMARK_SITES,
    NUCHAL_TRANSLUCENCY,
    SECTION_SITES,
    SECTIONS,
    SIDES,
)
from FetusMapV2Lib.reporting.report import Report

COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"
#: Coding scheme of what has no standard code: the landmarks, their states, and the radius of one.
SCHEME = "99FETUSMAPV2"

_REPORT = Code("126000", "DCM", "Imaging Measurement Report")
_PROCEDURE = Code("121058", "DCM", "Procedure reported")
_ULTRASOUND = Code("268445003", "SCT", "Ultrasound scan - obstetric (procedure)")
_IMAGE_LIBRARY, _IMAGE_GROUP = Code("111028", "DCM", "Image Library"), Code("126200", "DCM", "Image Library Group")
_MEASUREMENTS, _GROUP = Code("126010", "DCM", "Imaging Measurements"), Code("125007", "DCM", "Measurement Group")
_TRACKING = Code("112039", "DCM", "Tracking Identifier")
_TRACKING_UID = Code("112040", "DCM", "Tracking Unique Identifier")
_FINDING, _REGION = Code("121071", "DCM", "Finding"), Code("111030", "DCM", "Image Region")
_CERTAINTY = Code("111012", "DCM", "Certainty of Finding")
_ALGORITHM = Code("111001", "DCM", "Algorithm Name")
_ALGORITHM_VERSION = Code("111003", "DCM", "Algorithm Version")
_RADIUS = Code("RADIUS90", SCHEME, "Radius of the sphere that holds 90 % of the errors of a landmark")
_STATE = Code("STATE", SCHEME, "How a landmark came about")
_STATES = {
    "estimated": Code("ESTIMATED", SCHEME, "Estimated"),
    "edited": Code("EDITED", SCHEME, "Set by a person"),
    "confirmed": Code("CONFIRMED", SCHEME, "Confirmed by a person"),
}

Points = NDArray[np.float64]


def write_measurement_report(path: Path, report: Report) -> None:
    """Write the measurement report of a case as a DICOM file; see `measurement_report`."""
    sr_document.write_document(path, measurement_report(report))


def measurement_report(report: Report) -> Dataset:
    """An unverified Comprehensive 3D SR, in mm along the patient's LPS axes. What is missing is omitted.

    The points are in the frame of reference of the report, or in a new one, which no image shares.
    """
    root = sr.container(_REPORT, _content(report), relation="", template="1500")
    dataset = sr_document.document(report, root, COMPREHENSIVE_3D_SR, "Fetal landmarks and lengths", 2)
    scheme = Dataset()
    scheme.CodingSchemeDesignator, scheme.CodingSchemeName = SCHEME, "Landmarks of FetusMapV2"
    scheme.CodingSchemeResponsibleOrganization = "FetusMapV2 contributors"
    dataset.CodingSchemeIdentificationSequence = [scheme]
    return dataset


def _content(report: Report) -> list[Dataset]:
    """The root's items in the order of TID 1500; remarks follow, as the template may be extended."""
    items = [sr_document.language(), *sr_document.observers(report), *sr_document.fetus(report)]
    items.append(sr.code(_PROCEDURE, _ULTRASOUND, "HAS CONCEPT MOD"))
    pictures = [sr.image(one.sop_class_uid, one.sop_instance_uid) for one in sr_document.images_of(report)]
    if pictures:
        items.append(sr.container(_IMAGE_LIBRARY, [sr.container(_IMAGE_GROUP, pictures)], template="1600"))
    frame = report.frame_of_reference or generate_uid(prefix=None)
    groups = [*_landmarks(report, frame), *_lengths(report, frame), *_sections(report, frame), *_nuchal(report, frame)]
    items.append(sr.container(_MEASUREMENTS, groups))
    return [*items, *(sr.text(sr.COMMENT, line) for line in sr_document.remarks(report))]


def _landmarks(report: Report, frame: str) -> Iterator[Dataset]:
    """One group for each landmark that is present: its point, confidence, 90 % radius and state."""
    pose = report.pose
    radii = pose.assumed_radius90_mm
    for landmark in pose.schema.landmarks:
        row = landmark.row
        if not pose.present[row]:
            continue
        values = []
        if pose.confidence is not None and math.isfinite(pose.confidence[row]):
            values.append(sr.num(_CERTAINTY, 100.0 * pose.confidence[row], sr.PERCENT))
        if radii is not None and math.isfinite(radii[row]):
            values.append(sr.num(_RADIUS, radii[row], sr.MM))
        if report.states and report.states[row] in _STATES:
            values.append(sr.code(_STATE, _STATES[report.states[row]], "CONTAINS"))
        finding = sr.code(_FINDING, Code(f"LANDMARK{landmark.number}", SCHEME, landmark.name), "CONTAINS")
        shape = sr.points(_REGION, _lps(pose.positions[row]), "POINT", frame)
        yield _group(report, landmark.name, landmark.key, [finding, *_site(landmark)], [shape, *values])


def _site(landmark: Landmark) -> list[Dataset]:
    """Where a landmark is in the body; nothing for one that the codes do not know."""
    side = landmark.side
    site = LANDMARK_SITES.get(landmark.key.removeprefix(f"{side}_"))
    return [] if site is None else [sr.finding_site(site, SIDES[side] if side else None)]


def _lengths(report: Report, frame: str) -> Iterator[Dataset]:
    """One group for each length that was measured: the line between its ends, and its value."""
    for length in report.measurements.lengths:
        if not math.isfinite(length.value_mm):
            continue
        concept, sites = _coded(length)
        told = sr.derivation(by_hand=report.is_by_hand(length))
        value = sr.num(concept, length.value_mm, sr.MM, [told, *sites, *sr.uncertainty(length.uncertainty_mm)])
        line = sr.points(_REGION, _lps(report.pose.positions[list(length.rows)]), "POLYLINE", frame)
        yield _group(report, length.name, length.key, sites, [line, value])


def _coded(length: Measurement) -> tuple[Code, list[Dataset]]:
    """The concept of a length and its site."""
    if length.key == "crl":
        return CRL, []
    side, _, kind = length.key.partition("_")
    concept, site = BONES[kind]
    return concept, [sr.finding_site(site, SIDES[side])]


def _sections(report: Report, frame: str) -> Iterator[Dataset]:
    """One group for each outline of head and abdomen that was found, with the sizes that it gives."""
    for section in () if report.sections is None else report.sections.sections:
        corners = _half_axes(section)
        if corners is None:
            continue
        values = [
            sr.num(SECTIONS[size.key], size.value_mm, sr.MM, sr.found_or_set(section.by_hand, size.uncertainty_mm))
            for size in section.sizes
            if size.measured
        ]
        site = sr.finding_site(SECTION_SITES[section.key])
        outline = sr.points(_REGION, _lps(corners), "ELLIPSE", frame)
        name = f"Outline of the {section.key}"
        yield _group(report, name, section.key, [site], [outline, *values], by_hand=section.by_hand)


def _nuchal(report: Report, frame: str) -> Iterator[Dataset]:
    """The line between the callipers of the nuchal translucency, if somebody measured it."""
    nuchal = report.nuchal
    if nuchal is not None and nuchal.ends:
        note = sr.text(sr.COMMENT, nuchal.note, "HAS PROPERTIES")
        value = sr.num(NUCHAL_TRANSLUCENCY, nuchal.value_mm, sr.MM, [sr.derivation(by_hand=True), note])
        site = sr.finding_site(LANDMARK_SITES["hind_neck"])
        line = sr.points(_REGION, _lps(np.array(nuchal.ends)), "POLYLINE", frame)
        yield _group(report, nuchal.size.name, nuchal.size.key, [site], [line, value], by_hand=True)


def _half_axes(section: BodySection) -> Points | None:
    """(4, 3) ends of the longer axis, then of the shorter one, RAS mm; None without an outline (PS3.3 C.18.9.1.2)."""
    if section.plane is None or section.ellipse is None:
        return None
    return section.plane.to_world(section.ellipse.points(np.radians([0.0, 180.0, 90.0, 270.0])))


def _group(
    report: Report, name: str, key: str, kind: Sequence[Dataset], content: Sequence[Dataset], *, by_hand: bool = False
) -> Dataset:
    """A measurement group (TID 1410): what it tracks, what and where it is, the algorithm, the region, the values.

    What a person measured names no algorithm.
    """
    label = ", ".join(filter(None, (name, report.fetus_name.lower())))
    algorithm = [
        sr.text(_ALGORITHM, SOFTWARE, "HAS CONCEPT MOD"),
        sr.text(_ALGORITHM_VERSION, ", model ".join(filter(None, (__version__, report.model))), "HAS CONCEPT MOD"),
    ]
    tracking = [
        sr.text(_TRACKING, label, "HAS OBS CONTEXT"),
        sr.uid(_TRACKING_UID, _tracking_uid(report, key), "HAS OBS CONTEXT"),
    ]
    return sr.container(_GROUP, [*tracking, *kind, *([] if by_hand else algorithm), *content], template="1410")


def _tracking_uid(report: Report, key: str) -> str:
    """The same for the same thing of the same fetus in one study; a new one without a study."""
    study = report.reported_study
    if study is None or not study.study_uid:
        return str(generate_uid(prefix=None))
    return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, f'{study.study_uid}/{report.number}/{key}').int}"


def _lps(positions_ras: Points) -> Points:
    """(N, 3) RAS mm as LPS."""
    return np.asarray(np.atleast_2d(positions_ras) @ LPS_TO_RAS[:3, :3].T)
