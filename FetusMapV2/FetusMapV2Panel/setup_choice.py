"""The choice among saved settings: choose one, save these under a name, remove one."""

from __future__ import annotations

from FetusMapV2Panel import setups
from FetusMapV2Panel.parameters import Settings
from FetusMapV2Panel.state import PanelState
from FetusMapV2Panel.translations import translator

_ = translator(__name__)


class SetupChoice:
    """An editable combo box of names with two buttons."""

    def __init__(self, state: PanelState, ui):
        self._state, self._ui = state, ui
        ui.setupComboBox.lineEdit().placeholderText = _("Name for these settings")
        ui.setupComboBox.connect("activated(int)", self._onChosen)
        ui.setupComboBox.connect("editTextChanged(QString)", lambda text: self._updateButtons())
        ui.saveSetupButton.connect("clicked(bool)", self._onSave)
        ui.removeSetupButton.connect("clicked(bool)", self._onRemove)
        self._fill("")

    def _name(self) -> str:
        return self._ui.setupComboBox.currentText.strip()

    def _fill(self, name: str) -> None:
        combo = self._ui.setupComboBox
        combo.clear()
        for known in setups.names():
            combo.addItem(known)
        combo.setCurrentIndex(combo.findText(name))
        combo.setEditText(name)
        self._updateButtons()

    def _updateButtons(self) -> None:
        self._ui.saveSetupButton.setEnabled(bool(self._name()))
        self._ui.removeSetupButton.setEnabled(self._name() in setups.names())

    def _onChosen(self, index: int) -> None:
        settings = setups.load(self._name())
        if settings is not None and self._state.parameterNode is not None:
            settings.applyTo(self._state.parameterNode)
        self._updateButtons()

    def _onSave(self, checked: bool = False) -> None:
        if self._state.parameterNode is not None:
            name = self._name()
            setups.save(name, Settings.of(self._state.parameterNode))
            self._fill(name)

    def _onRemove(self, checked: bool = False) -> None:
        setups.remove(self._name())
        self._fill("")
