"""DICOM files that are to be sent: read, of one patient, and named by that patient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.dataset import FileDataset
from pydicom.errors import InvalidDicomError

from FetusMapV2Lib.core.errors import InputError


@dataclass(frozen=True)
class Belonging:
    """Whose a file is.

    Attributes:
        patient_id: empty if the file names no patient.
        issuer: of the patient ID; empty if it is not named.
        study_uid: of the study.
    """

    patient_id: str
    issuer: str
    study_uid: str


@dataclass(frozen=True, eq=False)
class DicomObject:
    """One DICOM file in memory, so that what is sent is what was checked."""

    path: Path
    dataset: FileDataset

    @property
    def sop_class(self) -> str:
        """UID of its kind."""
        return str(self.dataset.file_meta.MediaStorageSOPClassUID)

    @property
    def instance(self) -> str:
        """Its own UID."""
        return str(self.dataset.SOPInstanceUID)

    @property
    def transfer_syntax(self) -> str:
        """UID of its encoding."""
        return str(self.dataset.file_meta.TransferSyntaxUID)

    @property
    def belonging(self) -> Belonging:
        """Whose it is."""
        keys = ("PatientID", "IssuerOfPatientID", "StudyInstanceUID")
        return Belonging(*(str(self.dataset.get(key) or "").strip() for key in keys))


#: Stores one object in an archive; raises what `outcome` has.
Store = Callable[[DicomObject], None]


def read_objects(paths: Sequence[Path], *, nameless: bool = False) -> list[DicomObject]:
    """Read files of one patient.

    Args:
        paths: of DICOM files.
        nameless: whether files may name no patient, such as those without identifiers.

    Raises:
        InputError: no file, one that is not DICOM, files of several patients, or one that names none.
    """
    if not paths:
        raise InputError("there is no file to send", remedy="Name DICOM files, such as NAME.sr.dcm")
    objects = [_read(path) for path in paths]
    if len({(one.belonging.patient_id, one.belonging.issuer) for one in objects}) > 1:
        remedy = "Send the files of each patient by themselves"
        raise InputError("the files belong to different patients, so none was sent", remedy=remedy)
    if not objects[0].belonging.patient_id and not nameless:
        remedy = "Send it only where an archive takes files that belong to nobody"
        raise InputError("it names no patient", where=paths[0], remedy=remedy, option="--nameless")
    return objects


def ensure_belonging(objects: Sequence[DicomObject], expected: Belonging) -> None:
    """Refuse files of another patient or study than the one expected.

    Raises:
        InputError: naming the first such file.
    """
    for one in objects:
        if one.belonging != expected:
            problem = "it belongs to another patient or study than the volume that is shown, so nothing was sent"
            raise InputError(problem, where=one.path.name, remedy="Write the report again")


def _read(path: Path) -> DicomObject:
    try:
        dataset = pydicom.dcmread(path)
        found = DicomObject(path, dataset)
        complete = all((found.sop_class, found.instance, found.transfer_syntax))
    except OSError as error:
        raise InputError(f"it cannot be read ({error.strerror or error})", where=path) from error
    except InvalidDicomError as error:
        remedy = "Only DICOM files can be sent, such as NAME.sr.dcm"
        raise InputError("it is not a DICOM file", where=path, remedy=remedy) from error
    except Exception as error:  # damaged files fail in every way there is
        raise InputError("it is damaged or not a whole DICOM file", where=path) from error
    if not complete:
        raise InputError("it is damaged or not a whole DICOM file", where=path)
    return found
