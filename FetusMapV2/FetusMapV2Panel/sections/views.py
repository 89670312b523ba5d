"""The section of the views: the planes of the fetus in the slice views, and back to the axes of the volume."""

from __future__ import annotations

import qt

from FetusMapV2Lib.presenting.tones import Tone
from FetusMapV2Panel import saved_settings, view_orientation
from FetusMapV2Panel.changes import Change
from FetusMapV2Panel.sections.base import Section
from FetusMapV2Panel.state import PanelState
from FetusMapV2Panel.translations import translator
from FetusMapV2Panel.view_orientation import FetalPlane

_ = translator(__name__)


class ViewsSection(Section):
    """What the views show, and in which planes."""

    UI = "FetusMapV2Views.ui"

    def __init__(self, state: PanelState, widget: qt.QWidget) -> None:
        Section.__init__(self, state, widget)
        self._planeButtons = (
            (self.ui.midsagittalButton, (FetalPlane.MIDSAGITTAL,)),
            (self.ui.coronalButton, (FetalPlane.CORONAL,)),
            (self.ui.transverseButton, (FetalPlane.TRANSVERSE,)),
            (self.ui.allPlanesButton, tuple(FetalPlane)),
        )
        for button, planes in self._planeButtons:
            button.connect("clicked(bool)", lambda checked, planes=planes: self.onShowPlanes(*planes))
        self.ui.ownAxesButton.connect("clicked(bool)", lambda checked: self.state.views.turnBack())
        self.ui.turnSlicesCheckBox.connect("clicked(bool)", self.onSwitched)
        self._updateButtons()

    def onChange(self, change: Change) -> None:
        if change in (Change.SHOWN_POSE_CHANGED, Change.PARAMETERS_CHANGED):
            self._updateButtons()

    def onShowPlanes(self, *planes: FetalPlane) -> None:
        pose = self.state.pose()
        if pose is not None and not view_orientation.showPlanes(pose, *planes):
            self.say(_("Open a slice view first, for example with the layout Four-Up."), Tone.WARNING)

    def onSwitched(self, checked: bool) -> None:
        """Keep the user's choice for later scenes; that of a loaded scene is not kept."""
        if self.state.parameterNode is not None:
            saved_settings.savePreferences(self.state.parameterNode)

    def _updateButtons(self) -> None:
        for button, _planes in self._planeButtons:
            button.setEnabled(self.state.poseScene is not None)
