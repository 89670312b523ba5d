"""What a user interface says of sending a report to an archive, and whose report it may send."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.study import Study
from FetusMapV2Lib.presenting.translation import translator
from FetusMapV2Lib.sending.objects import Belonging

_ = translator(__name__)


def belonging_of(study: Study | None) -> Belonging:
    """Whose the files have to be: the patient and the study of the volume that is shown.

    Args:
        study: of that volume; None if it is not DICOM.

    Raises:
        InputError: it names no patient.
    """
    if study is None or not study.patient_id:
        remedy = _("Only a volume from DICOM that names its patient has a report for an archive")
        raise InputError(_("the archive would not know whose report it is"), remedy=remedy)
    return Belonging(study.patient_id, study.issuer_of_patient_id, study.study_uid)


def sending_stage() -> str:
    """What is being done."""
    return _("sending to the archive")


def sent_text(destination: str, stored: Sequence[Path]) -> str:
    """What was sent where."""
    return _("Sent to {0}: {1}.").format(destination, ", ".join(path.name for path in stored))


def cancelled_text() -> str:
    """That it was cancelled, and what that leaves."""
    return _("Cancelled; what the archive has already stays there.")
