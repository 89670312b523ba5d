"""The section that installs PyTorch on first use; hidden if nothing is missing."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path

import ctk
import qt
import slicer

from FetusMapV2Lib.core.progress import OnProgress, ShouldCancel
from FetusMapV2Lib.presenting.tones import Tone
from FetusMapV2Panel import requirements
from FetusMapV2Panel.changes import Change
from FetusMapV2Panel.requirements import Log
from FetusMapV2Panel.sections.base import Section
from FetusMapV2Panel.state import PanelState
from FetusMapV2Panel.translations import translator

_ = translator(__name__)


class InstallSection(Section):
    """Shows which packages are missing and installs them, from the network or from a folder."""

    UI = "FetusMapV2Install.ui"

    def __init__(self, state: PanelState, widget: qt.QWidget) -> None:
        Section.__init__(self, state, widget)
        self.ui.installFolderPathLineEdit.filters = ctk.ctkPathLineEdit.Dirs
        self.ui.installFolderPathLineEdit.settingKey = "FetusMapV2/InstallFolder"
        self.ui.installFolderPathLineEdit.connect("currentPathChanged(QString)", lambda path: self._update())
        # currentPathChanged is not emitted for an empty path, which is invalid
        self.ui.installFolderPathLineEdit.connect("validInputChanged(bool)", lambda valid: self._update())
        self.ui.installOnlineButton.connect("clicked(bool)", self.onInstallOnline)
        self.ui.installFolderButton.connect("clicked(bool)", self.onInstallFromFolder)
        self.ui.installLogEdit.setVisible(False)
        self._update()

    def onChange(self, change: Change) -> None:
        if change is Change.RUNNING_CHANGED:
            self._update()

    def onInstallOnline(self, checked: bool = False) -> None:
        self._install(requirements.installOnline)

    def onInstallFromFolder(self, checked: bool = False) -> None:
        self.ui.installFolderPathLineEdit.addCurrentPathToHistory()
        folder = Path(self.ui.installFolderPathLineEdit.currentPath)
        self._install(lambda log: requirements.installFromFolder(folder, log), folder)

    def _install(self, install: Callable[[Log], None], folder: Path | None = None) -> None:
        """Install the packages, then the models of the folder, which only the engine can check."""

        def work(onProgress: OnProgress, shouldCancel: ShouldCancel) -> Generator[None, None, None]:
            onProgress(0.0, _("installing Python packages"))
            install(self._log)
            models: list[str] = []
            if folder is not None:
                onProgress(0.9, _("installing models"))
                models = yield from self.state.logic.installModels(folder)
            self.say(_installedText(models), Tone.SUCCESS)
            self.state.announce(Change.SOFTWARE_INSTALLED)

        self.ui.installLogEdit.clear()
        self.ui.installLogEdit.setVisible(True)
        self.run(work, cancellable=False)  # a partial installation would be worse than none

    def _log(self, line: str) -> None:
        if self.state.closed:
            return
        self.ui.installLogEdit.appendPlainText(line)
        slicer.app.processEvents()

    def _update(self) -> None:
        missing, running = requirements.missingPackages(), self.state.running
        self.widget.setVisible(bool(missing) or (running and self.state.speaker is self))
        if missing:
            self.ui.installLabel.setText(requirements.explanation(missing))
        self.ui.installOnlineButton.setEnabled(not running)
        self.ui.installFolderPathLineEdit.setEnabled(not running)
        self.ui.installFolderButton.setEnabled(not running and bool(self.ui.installFolderPathLineEdit.currentPath))


def _installedText(models: list[str]) -> str:
    if models:
        return _("Everything is installed, and these models: {0}.").format(", ".join(models))
    return _("Everything is installed.")
