"""The section that writes files: the report, and the case as a training case."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import ctk
import qt
import slicer

from FetusMapV2Lib.core.errors import InputError, OutputError
from FetusMapV2Lib.core.progress import OnProgress, ShouldCancel
from FetusMapV2Lib.core.publishing import next_name
from FetusMapV2Lib.imaging.training_cases import VOUCHED_STATES, Annotation, next_case_name, write_training_case
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.presenting.tones import Tone
from FetusMapV2Lib.scene.volume_nodes import volume_from_node
from FetusMapV2Panel import other_fetuses, pose_ownership, saved_settings, view_pictures
from FetusMapV2Panel.archive_sending import ArchiveSending
from FetusMapV2Panel.changes import Change
from FetusMapV2Panel.dicom_study import studyOf
from FetusMapV2Panel.nodes import VolumeNode
from FetusMapV2Panel.parameters import FetusMapV2ParameterNode
from FetusMapV2Panel.reader import keepReader, reader
from FetusMapV2Panel.report_names import ReportNames
from FetusMapV2Panel.sections.base import Section
from FetusMapV2Panel.sections.examination import notedOptions
from FetusMapV2Panel.sections.nuchal import nuchalOf
from FetusMapV2Panel.state import PanelState
from FetusMapV2Panel.translations import translator

if TYPE_CHECKING:
    from FetusMapV2Lib.estimation.estimate import Estimate
    from FetusMapV2Lib.exporting import ExportOptions
    from FetusMapV2Lib.exporting.options import Kind
    from FetusMapV2Lib.reporting.paper import Paper
    from FetusMapV2Lib.reporting.report import Picture
    from FetusMapV2Lib.scene.pose_scene import PoseScene

_ = translator(__name__)

_SHARED_SETTING = "FetusMapV2/SharedFiles"
#: What the tick at DICOM writes, and what an archive takes.
_DICOM_KINDS: tuple[Kind, ...] = ("dicom", "dicom3d")


class ReportSection(Section):
    """Writes reports and training cases."""

    UI = "FetusMapV2Report.ui"

    def __init__(self, state: PanelState, widget: qt.QWidget) -> None:
        Section.__init__(self, state, widget)
        self._page: Path | None = None
        self._names = ReportNames()
        self._archive = ArchiveSending(self)
        self.ui.readerLineEdit.setText(reader())
        for edit, name in ((self.ui.reportFolderEdit, "reports"), (self.ui.trainingFolderEdit, "training cases")):
            edit.filters = ctk.ctkPathLineEdit.Dirs
            if not edit.currentPath:
                edit.currentPath = str(_documents() / "FetusMapV2" / name)
        self.ui.readerLineEdit.connect("editingFinished()", self.onReaderEdited)
        self.ui.writeReportButton.connect("clicked(bool)", lambda checked: self.run(self._writeReport))
        self.ui.openReportButton.connect("clicked(bool)", self.onOpenReport)
        self.ui.saveCaseButton.connect("clicked(bool)", lambda checked: self.run(self._saveCase))
        self._updateButtons()

    def onChange(self, change: Change) -> None:
        if change in (Change.SHOWN_POSE_CHANGED, Change.VOLUME_SELECTED):
            self._page = None
        if change in (Change.SHOWN_POSE_CHANGED, Change.VOLUME_SELECTED, Change.POSE_EDITED):
            self._archive.offer([])
        if change in (Change.SHOWN_POSE_CHANGED, Change.POSE_EDITED, Change.RUNNING_CHANGED, Change.PARAMETERS_CHANGED):
            self._updateButtons()

    def onReaderEdited(self) -> None:
        keepReader(self.ui.readerLineEdit.text)

    def onOpenReport(self, checked: bool = False) -> None:
        """Open the page in the user's browser."""
        qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(self._page)))

    def _writeReport(self, onProgress: OnProgress, shouldCancel: ShouldCancel) -> None:
        from FetusMapV2Lib.exporting import export, fetus_paths

        parameters, poseScene = self.state.parameterNode, self.state.poseScene
        if parameters is None or poseScene is None:
            return
        kinds, folder = _kinds(parameters), _folder(self.ui.reportFolderEdit)
        # the volume that the pose was estimated in, never another one
        volumeNode, anonymous = poseScene.volume_node, parameters.reportWithoutIdentifiers
        if volumeNode is None and not anonymous:
            raise InputError(
                _("the volume of this pose is not in the scene, so the patient is unknown"),
                remedy=_("Load the volume and estimate again, or tick 'Without identifiers'"),
            )
        onProgress(0.1, _("drawing the pictures"))
        volume = _namedVolume(volumeNode)
        pictures, remark = _pictures(poseScene, volumeNode, volume, anonymous)
        # a number only, as a name or a date may identify the patient
        stem = next_name(folder, "report") if anonymous else self._names.of(folder, volumeNode)
        onProgress(0.6, _("writing the files"))
        fetuses = self._fetuses(poseScene)
        options = replace(self._options(parameters, fetuses, volumeNode), kinds=kinds, stem=stem, pictures=pictures)
        options = replace(options, chosen=fetuses.index(poseScene) + 1)
        with _overwriteExplained():
            export(self._estimates(fetuses, volumeNode), volume, folder, options)
        paths = fetus_paths(folder, options, len(fetuses))
        if not anonymous:
            self._names.record(folder, stem, volumeNode)
        self.ui.reportFolderEdit.addCurrentPathToHistory()
        saved_settings.savePreferences(parameters)
        shown = paths[options.chosen - 1]
        self._page = shown.get("html") or shown.get("pdf")
        sent = [path for own in paths for kind, path in own.items() if kind in _DICOM_KINDS]
        self._archive.offer([] if anonymous else sent)
        names = ", ".join(path.name for own in paths for path in own.values())
        self.say("\n".join(filter(None, (_("Report written: {0}.").format(names), remark))), Tone.SUCCESS)

    def _fetuses(self, poseScene: PoseScene) -> list[PoseScene]:
        """The poses of all fetuses of the volume of the shown one, that among them, in their order."""
        found = other_fetuses.allOf(poseScene.landmarks_node, poseScene.volume_node)
        return [self.state.logic.poseSceneOf(one) for one in found]

    def _estimates(self, fetuses: Sequence[PoseScene], volumeNode: VolumeNode | None) -> Estimate:
        """All fetuses as they are in the scene now."""
        first, *others = (self._estimate(one, volumeNode) for one in fetuses)
        return replace(first, others=tuple(others))

    def _estimate(self, poseScene: PoseScene, volumeNode: VolumeNode | None) -> Estimate:
        """The pose as it is in the scene now, with device and warnings of its estimate."""
        from FetusMapV2Lib.estimation.estimate import Estimate

        estimate = self.state.patient.estimateOf(poseScene)
        warnings = tuple(estimate.warnings) if estimate is not None else ()
        if pose_ownership.noFetusFound(volumeNode):
            warnings += (_("This is an earlier pose: the newest estimate of this volume found no fetus."),)
        given = Estimate.given(poseScene.pose(), self.state.logic.modelOf(poseScene.landmarks_node))
        return replace(given, device=estimate.device if estimate is not None else "", warnings=warnings)

    def _options(
        self, parameters: FetusMapV2ParameterNode, fetuses: Sequence[PoseScene], volumeNode: VolumeNode | None
    ) -> ExportOptions:
        """The options of an export from the settings of the panel."""
        from FetusMapV2Lib.exporting import ByHand, ExportOptions
        from FetusMapV2Lib.reporting.pdf import print_pdf

        identifiers = not parameters.reportWithoutIdentifiers
        first, *others = (
            ByHand(one.states(), one.sections.sections_by_hand(), one.edit_log.edits(), nuchalOf(one))
            for one in fetuses
        )
        study = studyOf(volumeNode) if volumeNode is not None and identifiers else None
        return ExportOptions(
            overwrite=self.ui.replaceReportCheckBox.checked,
            shared=_shared(),
            dating=parameters.datingFormula.value,
            identifiers=identifiers,
            study=study,
            paper=_paper(),
            **(notedOptions(volumeNode, study) if identifiers else {}),
            states=first.states,
            sections=first.sections,
            edits=first.edits,
            others=others,
            nuchal=first.nuchal,
            operator=self.ui.readerLineEdit.text.strip(),
            print_pdf=lambda report, path: print_pdf(report, path, qt),
        )

    def _saveCase(self, onProgress: OnProgress, shouldCancel: ShouldCancel) -> None:
        poseScene = self.state.poseScene
        if poseScene is None:
            return
        volumeNode = poseScene.volume_node
        if volumeNode is None:
            remedy = _("Load the volume and estimate again")
            raise InputError(_("the volume of these landmarks is not in the scene"), remedy=remedy)
        folder, states = _folder(self.ui.trainingFolderEdit), poseScene.states()
        onProgress(0.2, _("writing the case"))
        annotation = Annotation(
            states,
            self.ui.readerLineEdit.text.strip(),
            self.state.logic.modelOf(poseScene.landmarks_node),
            poseScene.edit_log.edits(),
        )
        name = next_case_name(folder)
        volume = volume_from_node(volumeNode)
        write_training_case(folder, name, volume, poseScene.pose(), annotation, private=not _shared())
        self.ui.trainingFolderEdit.addCurrentPathToHistory()
        text = _("Saved as {0}: {1} of {2} landmarks were set or confirmed by hand; the others are omitted.")
        self.say(text.format(name, sum(state in VOUCHED_STATES for state in states), len(states)), Tone.SUCCESS)

    def _updateButtons(self) -> None:
        ready = self.state.poseScene is not None and self.state.parameterNode is not None and not self.state.running
        self.ui.writeReportButton.setEnabled(ready)
        self.ui.saveCaseButton.setEnabled(ready)
        self._archive.update(ready)
        self.ui.openReportButton.setEnabled(self._page is not None)
        missing = _("Estimate a pose or choose its landmarks first.")
        self.ui.writeReportButton.setToolTip(_("Write the chosen files into the folder.") if ready else missing)
        save = _("Add volume and landmarks to a folder of training cases for fetusmap train.")
        self.ui.saveCaseButton.setToolTip(save if ready else missing)


@contextlib.contextmanager
def _overwriteExplained() -> Iterator[None]:
    """Name the check box of the panel in the error about an existing report."""
    try:
        yield
    except OutputError as error:
        if error.option != "--overwrite":
            raise
        remedy = _("Tick 'Replace existing files', or choose another folder")
        raise OutputError(error.problem, where=error.where, remedy=remedy) from error


def _kinds(parameters: FetusMapV2ParameterNode) -> tuple[Kind, ...]:
    """The kinds of files that are ticked."""
    ticked: dict[tuple[Kind, ...], bool] = {
        ("html",): parameters.reportPage,
        ("pdf",): parameters.reportPdf,
        _DICOM_KINDS: parameters.reportDicom,
        ("csv", "json", "landmarks"): parameters.reportTable,
        ("fhir",): parameters.reportFhir,
    }
    kinds = tuple(kind for kinds, isTicked in ticked.items() if isTicked for kind in kinds)
    if not kinds:
        raise InputError(_("no file is chosen"), remedy=_("Tick at least one kind of file"))
    return kinds


def _namedVolume(volumeNode: VolumeNode | None) -> Volume | None:
    """The volume, with the name for display."""
    if volumeNode is None:
        return None
    return volume_from_node(volumeNode).with_(name=pose_ownership.displayName(volumeNode))


def _pictures(
    poseScene: PoseScene, volumeNode: VolumeNode | None, volume: Volume | None, anonymous: bool
) -> tuple[list[Picture], str]:
    """Pictures for the report, or none and the reason."""
    # Slicer draws names of patients into the corners of its views
    pictures = [] if anonymous or volumeNode is None else view_pictures.openViews(volumeNode)
    if pictures or volume is None:
        return pictures, ""
    return view_pictures.drawnViews(volume, poseScene.pose())


def _folder(edit: ctk.ctkPathLineEdit) -> Path:
    path = edit.currentPath.strip()
    if not path:
        raise InputError(_("no folder is chosen"), remedy=_("Choose a folder that you may write to"))
    return Path(path)


def _documents() -> Path:
    return Path(qt.QStandardPaths.writableLocation(qt.QStandardPaths.DocumentsLocation) or Path.home())


def _shared() -> bool:
    """Whether other users of this computer may read the files, from the user's settings; not by default."""
    return str(slicer.app.userSettings().value(_SHARED_SETTING)).lower() in ("true", "1")


def _paper() -> Paper:
    """The sheets of the user's country."""
    return "letter" if qt.QLocale().measurementSystem() == qt.QLocale.ImperialUSSystem else "a4"
