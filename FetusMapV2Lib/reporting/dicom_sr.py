"""The report as DICOM structured report: OB-GYN Ultrasound Procedure Report, TID 5000 (PS3.16).

Head and abdomen are in TID 5005, long bones in TID 5006, the crown-rump length with the gestational age in TID 5011,
each in groups of TID 5008.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from FetusMapV2Lib.anatomy.biometry import Measurement
from FetusMapV2Lib.anatomy.body_sections import SectionSize
from FetusMapV2Lib.anatomy.dating import Dating
from FetusMapV2Lib.anatomy.nuchal import Nuchal
from FetusMapV2Lib.reporting import sr_document
from FetusMapV2Lib.reporting import sr_items as sr
from FetusMapV2Lib.reporting.codes import BONES, CRL, EQUATIONS, GESTATIONAL_AGE, NUCHAL_TRANSLUCENCY, SECTIONS, SIDES
from FetusMapV2Lib.reporting.report import Report

COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.33"

_REPORT = Code("125000", "DCM", "OB-GYN Ultrasound Procedure Report")
_IMAGE_LIBRARY, _SUMMARY = Code("111028", "DCM", "Image Library"), Code("121111", "DCM", "Summary")
_FETAL_BIOMETRY, _LONG_BONES = Code("125002", "DCM", "Fetal Biometry"), Code("125003", "DCM", "Fetal Long Bones")
_EARLY_GESTATION = Code("125009", "DCM", "Early Gestation")
_BIOMETRY_GROUP = Code("125005", "DCM", "Biometry Group")
_EQUATION, _CITATION = Code("121420", "DCM", "Equation"), Code("121421", "DCM", "Equation Citation")
_P5 = Code("371888009", "SCT", "5th Percentile Value of population")
_P95 = Code("371889001", "SCT", "95th Percentile Value of population")


def write_sr(path: Path, report: Report) -> None:
    """Write the structured report of a case as a DICOM file; see `structured_report`."""
    sr_document.write_document(path, structured_report(report))


def structured_report(report: Report) -> Dataset:
    """An unverified Comprehensive SR. Missing lengths are omitted.

    It belongs to the study of the report and refers to its images; without one it is in a new study and names no
    patient.
    """
    root = sr.container(_REPORT, _content(report), relation="", template="5000")
    return sr_document.document(report, root, COMPREHENSIVE_SR, "Fetal pose report", 1)


def _content(report: Report) -> list[Dataset]:
    """The root's items in the order of TID 5000."""
    crl, *bones = report.measurements.lengths
    items = [sr_document.language(), *sr_document.observers(report)]
    images = sr_document.images_of(report)
    if images:
        pictures = [sr.image(one.sop_class_uid, one.sop_instance_uid) for one in images]
        items.append(sr.container(_IMAGE_LIBRARY, pictures))
    remarks = [sr.text(sr.COMMENT, line) for line in sr_document.remarks(report)]
    items.append(sr.container(_SUMMARY, remarks, template="5002"))
    found = () if report.sections is None else report.sections.sections
    sections = [_size_group(size, one.by_hand) for one in found for size in one.sizes if size.measured]
    if sections:
        items.append(_section(report, _FETAL_BIOMETRY, sections, "5005"))
    groups = [_bone_group(report, bone) for bone in bones if math.isfinite(bone.value_mm)]
    if groups:
        items.append(_section(report, _LONG_BONES, groups, "5006"))
    early = [_crl_group(report, crl)] if math.isfinite(crl.value_mm) else []
    early += [] if report.nuchal is None else [_nuchal_group(report.nuchal)]
    if early:
        items.append(_section(report, _EARLY_GESTATION, early, "5011"))
    return items


def _section(report: Report, name: Code, groups: Sequence[Dataset], template: str) -> Dataset:
    """A section of one fetus; which one is told where there are several."""
    context = sr_document.fetus(report) if report.fetus_name else []
    return sr.container(name, [*context, *groups], template=template)


def _size_group(size: SectionSize, by_hand: bool) -> Dataset:
    told = sr.found_or_set(by_hand, size.uncertainty_mm)
    return sr.container(_BIOMETRY_GROUP, [sr.num(SECTIONS[size.key], size.value_mm, sr.MM, told)], template="5008")


def _bone_group(report: Report, bone: Measurement) -> Dataset:
    side, _, kind = bone.key.partition("_")
    concept, site = BONES[kind]
    where = sr.finding_site(site, SIDES[side])
    told = sr.derivation(by_hand=report.is_by_hand(bone))
    length = sr.num(concept, bone.value_mm, sr.MM, [told, where, *sr.uncertainty(bone.uncertainty_mm)])
    return sr.container(_BIOMETRY_GROUP, [length], template="5008")


def _crl_group(report: Report, crl: Measurement) -> Dataset:
    told = sr.derivation(by_hand=report.is_by_hand(crl))
    length = sr.num(CRL, crl.value_mm, sr.MM, [told, *sr.uncertainty(crl.uncertainty_mm)])
    items = [length]
    dating = report.measurements.dating
    if math.isfinite(dating.days):
        items.append(sr.num(GESTATIONAL_AGE, dating.days, sr.DAYS, _age_properties(dating)))
    return sr.container(_BIOMETRY_GROUP, items, template="5008")


def _nuchal_group(nuchal: Nuchal) -> Dataset:
    """The largest try; its callipers were set by hand."""
    note = sr.text(sr.COMMENT, nuchal.note)
    value = sr.num(NUCHAL_TRANSLUCENCY, nuchal.value_mm, sr.MM, [sr.derivation(by_hand=True)])
    return sr.container(_BIOMETRY_GROUP, [value, note], template="5008")


def _age_properties(dating: Dating) -> list[Dataset]:
    """The source of the age, and its 90 % interval."""
    if dating.key in EQUATIONS:
        source = sr.code(_EQUATION, EQUATIONS[dating.key], "INFERRED FROM")
    else:
        source = sr.text(_CITATION, f"{dating.name}: {dating.source}", "INFERRED FROM")
    half = dating.combined_days
    limits = [sr.num(_P5, dating.days - half, sr.DAYS, relation="HAS PROPERTIES")]
    limits.append(sr.num(_P95, dating.days + half, sr.DAYS, relation="HAS PROPERTIES"))
    low, high = dating.valid_range_mm
    outside = f"The CRL is outside the {low:g} to {high:g} mm for which the formula was made"
    doubt = [] if dating.valid else [sr.text(sr.COMMENT, outside, "HAS PROPERTIES")]
    return [source, *limits, *doubt]
