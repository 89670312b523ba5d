"""The combo box of models: one of the index by name, or a file."""

from __future__ import annotations

import ctk
import qt

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.presenting.tones import Tone
from FetusMapV2Panel.state import PanelState
from FetusMapV2Panel.translations import translator

_ = translator(__name__)

_DEFAULT, _FILE = "", "a file"


class ModelChoice:
    """Keeps a combo box and a path edit consistent with the parameter `model`."""

    def __init__(self, state: PanelState, combo: qt.QComboBox, path: ctk.ctkPathLineEdit) -> None:
        self._state, self._combo, self._path = state, combo, path
        self._path.filters = ctk.ctkPathLineEdit.Files
        self._path.nameFilters = [_("Models") + " (*.safetensors)"]
        self.fill()
        self._combo.connect("activated(int)", self._onChosen)
        self._path.connect("currentPathChanged(QString)", self._onPath)

    def fill(self) -> None:
        """List the installed models."""
        from FetusMapV2Lib.models.model_index import list_models

        self._combo.clear()
        self._combo.addItem(_("Default"), _DEFAULT)
        try:
            for entry in list_models():
                self._combo.addItem(entry.name, entry.name)
        except UserError as error:
            self._state.say(error.line(with_option=False), Tone.ERROR)
        self._combo.addItem(_("A file …"), _FILE)
        self.update()

    def update(self) -> None:
        """Show the parameter in the widgets."""
        parameters = self._state.parameterNode
        model = parameters.model if parameters is not None else _DEFAULT
        index = self._combo.findData(model)
        if index < 0:
            index = self._combo.findData(_FILE)
            if self._path.currentPath != model:
                self._path.currentPath = model
        self._combo.setCurrentIndex(index)
        self._path.setEnabled(self._fileChosen())

    def problem(self) -> str:
        """Why an estimate would not use the shown file; empty if it would."""
        parameters, path = self._state.parameterNode, self._path.currentPath.strip()
        if parameters is None or not self._fileChosen():
            return ""
        if not path:
            return _("No model file is chosen. Choose one, or another model.")
        if path == parameters.model:
            return ""
        return _("{0}: this is no model file. Choose one that ends in .safetensors.").format(path)

    def _fileChosen(self) -> bool:
        return self._combo.itemData(self._combo.currentIndex) == _FILE

    def _onChosen(self, index: int) -> None:
        self._path.setEnabled(self._fileChosen())
        model = self._path.currentPath if self._fileChosen() else self._combo.itemData(index)
        if model or not self._fileChosen():  # until there is a path, the model does not change
            self._set(model)

    def _onPath(self, path: str) -> None:
        if self._fileChosen():
            self._set(path)

    def _set(self, model: str) -> None:
        if self._state.parameterNode is not None:
            self._state.parameterNode.model = model
