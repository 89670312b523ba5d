"""What every DICOM structured report of this software has: patient, study, series, observers, references, remarks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.coding import Code
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from FetusMapV2Lib.anatomy.biometry import JOINT_CENTRES
from FetusMapV2Lib.core.notices import RESEARCH_USE
from FetusMapV2Lib.core.version import SOFTWARE, __version__
from FetusMapV2Lib.imaging.study import SourceImage, Study
from FetusMapV2Lib.reporting import sr_items as sr
from FetusMapV2Lib.reporting.report import Report

#: Implementation class UID of this software.
_IMPLEMENTATION_UID = "2.25.252889858345842456096410795919131767650"

_LANGUAGE = Code("121049", "DCM", "Language of Content Item and Descendants")
_ENGLISH = Code("en", "RFC5646", "English")
_OBSERVER_TYPE = Code("121005", "DCM", "Observer Type")
_DEVICE, _PERSON = Code("121007", "DCM", "Device"), Code("121006", "DCM", "Person")
_DEVICE_UID = Code("121012", "DCM", "Device Observer UID")
_DEVICE_NAME = Code("121013", "DCM", "Device Observer Name")
_DEVICE_MODEL = Code("121015", "DCM", "Device Observer Model Name")
_PERSON_NAME = Code("121008", "DCM", "Person Observer Name")
_SUBJECT_CLASS, _FETUS = Code("121024", "DCM", "Subject Class"), Code("121026", "DCM", "Fetus")
_SUBJECT_ID = Code("121030", "DCM", "Subject ID")


def write_document(path: Path, document: Dataset) -> None:
    """Write a structured report as a DICOM file."""
    if int(pydicom.__version__.split(".")[0]) >= 3:
        document.save_as(path, enforce_file_format=True)
    else:
        document.save_as(path, write_like_original=False)


def document(report: Report, root: Dataset, sop_class: str, description: str, series_number: int) -> Dataset:
    """An unverified structured report in a series of its own.

    It belongs to the study of the report; without one it is in a new study and names no patient.

    Args:
        report: of the case.
        root: the CONTAINER with the content.
        sop_class: kind of structured report.
        description: of the series; the number of the fetus follows.
        series_number: another one for each kind of report.
    """
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    _patient_and_study(dataset, report)
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, generate_uid(prefix=None)
    dataset.SeriesDescription = ", ".join(filter(None, (description, report.fetus_name.lower())))
    dataset.SeriesNumber = series_number
    _series_and_document(dataset, report)
    dataset.update(root)
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
    dataset.Modality, dataset.SeriesInstanceUID = "SR", generate_uid(prefix=None)
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
    if study is not None and images_of(report):
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


def images_of(report: Report) -> Sequence[SourceImage]:
    """The images that the report refers to; none without a study that they belong to."""
    study = report.reported_study
    return study.images if study is not None and study.study_uid else ()


def language() -> Dataset:
    """English, of all content (TID 1204)."""
    return sr.code(_LANGUAGE, _ENGLISH, "HAS CONCEPT MOD")


def fetus(report: Report) -> list[Dataset]:
    """Which fetus the items are of (TID 1008)."""
    relation = "HAS OBS CONTEXT"
    return [sr.code(_SUBJECT_CLASS, _FETUS, relation), sr.text(_SUBJECT_ID, str(report.number), relation)]


def observers(report: Report) -> list[Dataset]:
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


def remarks(report: Report) -> Iterable[str]:
    """What a reader has to know, one sentence each; the first says what the software is for."""
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
