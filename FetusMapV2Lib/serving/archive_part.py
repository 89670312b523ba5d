"""Sending the report of the open case to the archive that `fetusmap serve` was told; a browser chooses none."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

from trame.widgets import vuetify3 as v3

from FetusMapV2Lib.core.jobs import Job
from FetusMapV2Lib.core.progress import OnProgress, ShouldCancel
from FetusMapV2Lib.core.staging import owned_folder
from FetusMapV2Lib.presenting.archive_texts import belonging_of, sending_stage, sending_steps
from FetusMapV2Lib.presenting.tones import Tone
from FetusMapV2Lib.presenting.translation import translator
from FetusMapV2Lib.sending.destinations import Destination
from FetusMapV2Lib.sending.process import sending_job
from FetusMapV2Lib.serving.downloads import write_files
from FetusMapV2Lib.serving.open_case import OpenCase

_ = translator(__name__)


def archiving_job(
    case: OpenCase, formula: str, archive: Destination, progress: OnProgress, should_cancel: ShouldCancel
) -> Job[tuple[str, Tone]]:
    """A job that writes both DICOM reports of a case as it is now, and sends them; gives what to say, and its tone.

    Args:
        case: the open case.
        formula: key of the dating formula that the reports put first.
        archive: where to.
        progress: called with the share that is done and what is being done.
        should_cancel: asked again and again.

    Raises:
        UserError: of its result: the volume names no patient, or not all was stored.
    """

    def steps() -> Generator[None, None, tuple[str, Tone]]:
        belonging = belonging_of(case.study)
        progress(0.1, sending_stage())
        yield
        with owned_folder() as folder:
            files: list[Path] = list(write_files(("dicom", "dicom3d"), case, formula, folder).values())
            return (yield from sending_steps(sending_job(files, archive, belonging), str(archive), should_cancel))

    return Job(steps())


def build_archive_button(small: dict[str, Any]) -> None:
    """The button; not there without an archive.

    Args:
        small: options of a button.
    """
    v3.VBtn(
        f"{_('Send to')} {{{{ archive }}}}",
        title=_("Send both DICOM reports of this case to the archive"),
        v_show="archive",
        click="trigger('send')",
        disabled=("running",),
        **small,
    )
