"""The combo box of named settings: apply them, save the current ones under a name, remove them."""

from __future__ import annotations

import slicer

from FetusMapV2Panel import saved_settings
from FetusMapV2Panel.parameters import Settings
from FetusMapV2Panel.state import PanelState
from FetusMapV2Panel.translations import translator

_ = translator(__name__)


class SavedSettingsChoice:
    """An editable combo box of names, with a button that saves and one that removes."""

    def __init__(self, state: PanelState, ui: slicer.util.ChildWidgets) -> None:
        self._state, self._ui = state, ui
        ui.savedSettingsComboBox.lineEdit().placeholderText = _("Name for these settings")
        ui.savedSettingsComboBox.connect("activated(int)", self._onChosen)
        ui.savedSettingsComboBox.connect("editTextChanged(QString)", lambda text: self._updateButtons())
        ui.saveSettingsButton.connect("clicked(bool)", self._onSave)
        ui.removeSettingsButton.connect("clicked(bool)", self._onRemove)
        self._fill("")

    def _name(self) -> str:
        return self._ui.savedSettingsComboBox.currentText.strip()

    def _fill(self, name: str) -> None:
        combo = self._ui.savedSettingsComboBox
        combo.clear()
        for known in saved_settings.names():
            combo.addItem(known)
        combo.setCurrentIndex(combo.findText(name))
        combo.setEditText(name)
        self._updateButtons()

    def _updateButtons(self) -> None:
        self._ui.saveSettingsButton.setEnabled(bool(self._name()))
        self._ui.removeSettingsButton.setEnabled(self._name() in saved_settings.names())

    def _onChosen(self, index: int) -> None:
        settings = saved_settings.load(self._name())
        if settings is not None and self._state.parameterNode is not None:
            settings.applyTo(self._state.parameterNode)
        self._updateButtons()

    def _onSave(self, checked: bool = False) -> None:
        if self._state.parameterNode is not None:
            name = self._name()
            saved_settings.save(name, Settings.of(self._state.parameterNode))
            self._fill(name)

    def _onRemove(self, checked: bool = False) -> None:
        saved_settings.remove(self._name())
        self._fill("")
