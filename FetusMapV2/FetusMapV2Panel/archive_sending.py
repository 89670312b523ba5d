"""The rows of the report section that send its DICOM files to an archive, and what they remember on this computer."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import slicer

from FetusMapV2Lib.core.errors import InputError, UserError
from FetusMapV2Lib.core.progress import OnProgress, ShouldCancel
from FetusMapV2Lib.presenting.archive_texts import belonging_of, sending_stage, sending_steps
from FetusMapV2Lib.sending.destinations import CALLING_TITLE, Pacs, Security, parse_destination
from FetusMapV2Panel.dicom_study import studyOf
from FetusMapV2Panel.translations import translator

if TYPE_CHECKING:
    from FetusMapV2Panel.sections.base import Section

_ = translator(__name__)

_ARCHIVE_SETTING = "FetusMapV2/Archive"
_CALLING_SETTING = "FetusMapV2/CallingTitle"
_TLS_SETTING = "FetusMapV2/ArchiveTls"


class ArchiveSending:
    """Sends the DICOM files of the report that was written last, as long as they are those of the pose that is shown.

    Args:
        section: the section with the rows.
    """

    def __init__(self, section: Section) -> None:
        self._section, self._ui = section, section.ui
        self._files: tuple[Path, ...] = ()
        settings = slicer.app.userSettings()
        self._ui.archiveLineEdit.setText(settings.value(_ARCHIVE_SETTING) or "")
        self._ui.callingTitleLineEdit.setText(settings.value(_CALLING_SETTING) or CALLING_TITLE)
        self._ui.archiveTlsCheckBox.setChecked(str(settings.value(_TLS_SETTING)).lower() in ("true", "1"))
        for edit in (self._ui.archiveLineEdit, self._ui.callingTitleLineEdit):
            edit.connect("editingFinished()", self.onSettingsEdited)
        self._ui.archiveTlsCheckBox.connect("toggled(bool)", self.onSettingsEdited)
        self._ui.sendReportButton.connect("clicked(bool)", lambda checked: section.run(self._send))

    def onSettingsEdited(self, _checked: bool = False) -> None:
        settings = slicer.app.userSettings()
        settings.setValue(_ARCHIVE_SETTING, self._ui.archiveLineEdit.text.strip())
        settings.setValue(_CALLING_SETTING, self._ui.callingTitleLineEdit.text.strip())
        settings.setValue(_TLS_SETTING, self._ui.archiveTlsCheckBox.checked)

    def offer(self, files: Sequence[Path]) -> None:
        """Use the DICOM files of a report of the shown pose; none if it is of another one by now."""
        self._files = tuple(files)

    def update(self, ready: bool) -> None:
        """Enable the button if there is something to send."""
        self._ui.sendReportButton.setEnabled(ready and bool(self._files))
        missing = _("Write a report with DICOM and with identifiers first; after a landmark was moved, write it again.")
        send = _("Send the DICOM files of this report to the archive.")
        self._ui.sendReportButton.setToolTip(send if self._files else missing)

    def _send(self, onProgress: OnProgress, shouldCancel: ShouldCancel) -> Generator[None, None, None]:
        """Send the files in a process of its own."""
        from FetusMapV2Lib.sending.process import sending_job

        self.onSettingsEdited()
        poseScene, address = self._section.state.poseScene, self._ui.archiveLineEdit.text.strip()
        if not address:
            remedy = _("Fill in 'Archive', as PACS@archive.example:104 or https://archive.example/dicom-web")
            raise InputError(_("no archive is chosen"), remedy=remedy)
        volumeNode = None if poseScene is None else poseScene.volume_node
        belonging = belonging_of(None if volumeNode is None else studyOf(volumeNode))
        security = Security(tls=bool(self._ui.archiveTlsCheckBox.checked))
        destination = parse_destination(address, self._ui.callingTitleLineEdit.text.strip(), security)
        _requirePackage(isPacs=isinstance(destination, Pacs))
        # inside Slicer, sys.executable is Slicer itself
        python = shutil.which("PythonSlicer") or sys.executable
        job = sending_job(self._files, destination, belonging, python=python)
        onProgress(0.1, sending_stage())
        self._section.say(*(yield from sending_steps(job, address, shouldCancel)))


def _requirePackage(isPacs: bool) -> None:
    """Refuse an archive that this Slicer has no package for; nothing is installed unasked."""
    import pydicom

    name = "pynetdicom" if isPacs else "dicomweb_client"
    if importlib.util.find_spec(name) is not None:
        return
    versions = ">=3,<4" if int(pydicom.__version__.split(".")[0]) >= 3 else ">=2.1,<3"
    wanted = f"pynetdicom{versions}" if isPacs else "dicomweb-client retrying"
    problem = _("sending needs the Python package {0}, which this Slicer lacks").format(name)
    command = f"slicer.util.pip_install('--no-deps \"{wanted}\"')" if isPacs else f"slicer.util.pip_install('{wanted}')"
    raise UserError(problem, remedy=_("In Slicer's Python Console, run: {0}").format(command))
