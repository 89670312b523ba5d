"""The report as DICOM structured report: OB-GYN Ultrasound Procedure Report, TID 5000 (PS3.16).

Long bones are in TID 5006, the crown-rump length with the gestational age in TID 5011, each in groups of TID 5008.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.coding import Code
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from FetusMapV2Lib.anatomy.biometry import JOINT_CENTRES, Measurement
from FetusMapV2Lib.anatomy.dating import Dating
from FetusMapV2Lib.core.notices import RESEARCH_USE
from FetusMapV2Lib.core.version import SOFTWARE, __version__
from FetusMapV2Lib.imaging.study import SourceImage, Study
from FetusMapV2Lib.reporting import sr_items as sr
from FetusMapV2Lib.reporting.codes import BONES, CRL, EQUATIONS, GESTATIONAL_AGE, SIDES
from FetusMapV2Lib.reporting.report import Report

COMPREHENSIVE_SR = "1.2.840.10008.5.1.4.1.1.88.33"
#: Implementation class UID of this software.
_IMPLEMENTATION_UID = "2.25.252889858345842456096410795919131767650"

_REPORT = Code("125000", "DCM", "OB-GYN Ultrasound Procedure Report")
_LANGUAGE = Code("121049", "DCM", "Language of Content Item and Descendants")
_ENGLISH = Code("en", "RFC5646", "English")
_OBSERVER_TYPE = Code("121005", "DCM", "Observer Type")
_DEVICE, _PERSON = Code("121007", "DCM", "Device"), Code("121006", "DCM", "Person")
_DEVICE_UID = Code("121012", "DCM", "Device Observer UID")
_DEVICE_NAME = Code("121013", "DCM", "Device Observer Name")
_DEVICE_MODEL = Code("121015", "DCM", "Device Observer Model Name")
_PERSON_NAME = Code("121008", "DCM", "Person Observer Name")
_IMAGE_LIBRARY = Code("111028", "DCM", "Image Library")
_SUMMARY, _COMMENT = Code("121111", "DCM", "Summary"), Code("121106", "DCM", "Comment")
_LONG_BONES = Code("125003", "DCM", "Fetal Long Bones")
_EARLY_GESTATION = Code("125009", "DCM", "Early Gestation")
_BIOMETRY_GROUP = Code("125005", "DCM", "Biometry Group")
_DERIVATION, _ESTIMATED = Code("121401", "DCM", "Derivation"), Code("414135002", "SCT", "Estimated")
_FINDING_SITE, _LATERALITY = Code("363698007", "SCT", "Finding Site"), Code("272741003", "SCT", "Laterality")
_EQUATION, _CITATION = Code("121420", "DCM", "Equation"), Code("121421", "DCM", "Equation Citation")
_P5 = Code("371888009", "SCT", "5th Percentile Value of population")
_P95 = Code("371889001", "SCT", "95th Percentile Value of population")


def write_sr(path: Path, report: Report) -> None:
    """Write the structured report of a case as a DICOM file; see `structured_report`."""
    dataset = structured_report(report)
    if int(pydicom.__version__.split(".")[0]) >= 3:
        dataset.save_as(path, enforce_file_format=True)
    else:
        dataset.save_as(path, write_like_original=False)


def structured_report(report: Report) -> Dataset:
    """An unverified Comprehensive SR. Missing lengths are omitted.

    It belongs to the study of the report and refers to its images; without one it is in a new study and names no
    patient.
    """
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    _patient_and_study(dataset, report)
    _series_and_document(dataset, report)
    dataset.update(sr.container(_REPORT, _content(report), relation="", template="5000"))
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    meta.TransferSyntaxUID, meta.ImplementationClassUID = ExplicitVRLittleEndian, UID(_IMPLEMENTATION_UID)
    dataset.file_meta = meta
    return dataset


def _patient_and_study(dataset: Dataset, report: Report) -> None:
    study = report.reported_study or Study()
    dataset.PatientName, dataset.PatientID = study.patient_name, study.patient_id
    if study.issuer_of_patient_id:
        dataset.IssuerOfPatientID = study.issuer_of_patient_id
    dataset.PatientBirthDate, dataset.PatientSex = study.birth_date, study.sex
    if report.identifiers_left_out:
        dataset.PatientIdentityRemoved = "YES"
        dataset.DeidentificationMethod = f"{SOFTWARE}: patient, study, reader, day left out"
        dataset.LongitudinalTemporalInformationModified = "MODIFIED"
    dataset.StudyInstanceUID = study.study_uid or generate_uid(prefix=None)
    dataset.StudyDate, dataset.StudyTime = study.date, study.time
    dataset.StudyID, dataset.AccessionNumber = study.study_id, study.accession_number
    dataset.ReferringPhysicianName = study.referring_physician
    if study.description:
        dataset.StudyDescription = study.description


def _series_and_document(dataset: Dataset, report: Report) -> None:
    dataset.SOPClassUID, dataset.SOPInstanceUID = COMPREHENSIVE_SR, generate_uid(prefix=None)
    dataset.Modality, dataset.SeriesInstanceUID, dataset.SeriesNumber = "SR", generate_uid(prefix=None), 1
    dataset.SeriesDescription = ", ".join(filter(None, ("Fetal pose report", report.fetus_name.lower())))
    dataset.ReferencedPerformedProcedureStepSequence = []
    dataset.Manufacturer, dataset.ManufacturerModelName = "FetusMapV2 contributors", "FetusMapV2"
    dataset.SoftwareVersions = __version__
    dataset.InstanceNumber = 1
    dataset.CompletionFlag, dataset.VerificationFlag = "COMPLETE", "UNVERIFIED"
    dataset.ContentDate = dataset.SeriesDate = dataset.InstanceCreationDate = report.day.strftime("%Y%m%d")
    dataset.ContentTime = dataset.SeriesTime = dataset.InstanceCreationTime = report.day.strftime("%H%M%S")
    dataset.TimezoneOffsetFromUTC = report.day.strftime("%z")[:5] or "+0000"
    dataset.PerformedProcedureCodeSequence = []
    study = report.reported_study
    if study is not None and study.study_uid and study.images:
        dataset.CurrentRequestedProcedureEvidenceSequence = [_evidence(study)]


def _evidence(study: Study) -> Dataset:
    """The images that the report refers to, by series."""
    series: dict[str, list[SourceImage]] = {}
    for one in study.images:
        series.setdefault(one.series_uid, []).append(one)
    evidence = Dataset()
    evidence.StudyInstanceUID = study.study_uid
    evidence.ReferencedSeriesSequence = []
    for series_uid, images in series.items():
        item = Dataset()
        item.SeriesInstanceUID = series_uid
        item.ReferencedSOPSequence = [sr.reference(one.sop_class_uid, one.sop_instance_uid) for one in images]
        evidence.ReferencedSeriesSequence.append(item)
    return evidence


def _content(report: Report) -> list[Dataset]:
    """The root's items in the order of TID 5000."""
    crl, *bones = report.measurements.lengths
    items = [sr.code(_LANGUAGE, _ENGLISH, "HAS CONCEPT MOD"), *_observers(report)]
    study = report.reported_study
    if study is not None and study.study_uid and study.images:
        pictures = [sr.image(one.sop_class_uid, one.sop_instance_uid) for one in study.images]
        items.append(sr.container(_IMAGE_LIBRARY, pictures))
    items.append(sr.container(_SUMMARY, [sr.text(_COMMENT, line) for line in _remarks(report)], template="5002"))
    groups = [_bone_group(bone) for bone in bones if math.isfinite(bone.value_mm)]
    if groups:
        items.append(sr.container(_LONG_BONES, groups, template="5006"))
    if math.isfinite(crl.value_mm):
        items.append(sr.container(_EARLY_GESTATION, [_crl_group(report, crl)], template="5011"))
    return items


def _observers(report: Report) -> list[Dataset]:
    """The software, and the person who read its result (TID 1002)."""
    relation = "HAS OBS CONTEXT"
    items = [
        sr.code(_OBSERVER_TYPE, _DEVICE, relation),
        sr.uid(_DEVICE_UID, _IMPLEMENTATION_UID, relation),
        sr.text(_DEVICE_NAME, SOFTWARE, relation),
    ]
    if report.model:
        items.append(sr.text(_DEVICE_MODEL, report.model, relation))
    if report.operator:
        items.append(sr.code(_OBSERVER_TYPE, _PERSON, relation))
        items.append(sr.person(_PERSON_NAME, report.operator, relation))
    return items


def _remarks(report: Report) -> Iterable[str]:
    yield RESEARCH_USE
    if report.fetus_name:
        yield f"{report.fetus_name} in this volume; the others have reports of their own."
    if report.doubt:
        yield f"Doubtful. {report.doubt}"
    yield JOINT_CENTRES
    if report.states:
        yield f"{report.edited} of {len(report.states)} landmarks were set or confirmed by a person."
    for remark in report.remarks:
        yield f"{remark[:1].upper()}{remark[1:]}."
    for check in report.measurements.doubts:
        yield f"{check.name}: {check.remark}. {check.source}."


def _bone_group(bone: Measurement) -> Dataset:
    side, _, kind = bone.key.partition("_")
    concept, site = BONES[kind]
    laterality = [sr.code(_LATERALITY, SIDES[side], "HAS CONCEPT MOD")]
    where = sr.code(_FINDING_SITE, site, "HAS CONCEPT MOD", laterality)
    length = sr.num(concept, bone.value_mm, sr.MM, [_estimated(), where, *_uncertainty(bone)])
    return sr.container(_BIOMETRY_GROUP, [length], template="5008")


def _crl_group(report: Report, crl: Measurement) -> Dataset:
    length = sr.num(CRL, crl.value_mm, sr.MM, [_estimated(), *_uncertainty(crl)])
    items = [length]
    dating = report.measurements.dating
    if math.isfinite(dating.days):
        items.append(sr.num(GESTATIONAL_AGE, dating.days, sr.DAYS, _age_properties(dating)))
    return sr.container(_BIOMETRY_GROUP, items, template="5008")


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
    doubt = [] if dating.valid else [sr.text(_COMMENT, outside, "HAS PROPERTIES")]
    return [source, *limits, *doubt]


def _estimated() -> Dataset:
    return sr.code(_DERIVATION, _ESTIMATED, "HAS CONCEPT MOD")


def _uncertainty(length: Measurement) -> list[Dataset]:
    if length.uncertainty_mm is None:
        return []
    line = f"90 % interval: +-{length.uncertainty_mm:.1f} mm, from the landmark radii"
    return [sr.text(_COMMENT, line, "HAS PROPERTIES")]
