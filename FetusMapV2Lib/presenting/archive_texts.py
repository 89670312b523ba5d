"""Sending a report to an archive from a user interface: whose it may be, what is said, and that it can be cancelled."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.core.jobs import Job
from FetusMapV2Lib.core.progress import ShouldCancel
from FetusMapV2Lib.imaging.study import Study
from FetusMapV2Lib.presenting.tones import Tone
from FetusMapV2Lib.presenting.translation import translator
from FetusMapV2Lib.sending.objects import Belonging

if TYPE_CHECKING:
    from FetusMapV2Lib.sending.sender import Sent

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


def sending_steps(
    job: Job[Sent], destination: str, should_cancel: ShouldCancel
) -> Generator[None, None, tuple[str, Tone]]:
    """Carry a job of `sending` on until it is done or cancelled; the result is what to say, and its tone.

    Args:
        job: sends the files.
        destination: where to, as the user knows it.
        should_cancel: asked at each step.

    Raises:
        UserError: see `sender.send`.
    """
    try:
        while not job.step():
            if should_cancel():
                return _("Cancelled; what the archive has already stays there."), Tone.NOTE
            yield
    finally:
        job.cancel()
    names = ", ".join(path.name for path in job.result().stored)
    return _("Sent to {0}: {1}.").format(destination, names), Tone.SUCCESS
