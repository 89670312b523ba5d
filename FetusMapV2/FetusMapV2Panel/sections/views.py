"""The section of the views: the planes of the fetus in the slice views, and back to the axes of the volume."""

from __future__ import annotations

import qt

from FetusMapV2Lib.presenting.tones import Tone
from FetusMapV2Lib.scene.pose_parts import PosePart, switch
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
        for checkBox in self._switches():
            checkBox.connect("clicked(bool)", self.onSwitched)
        self._updateButtons()

    def onChange(self, change: Change) -> None:
        if change in (Change.SHOWN_POSE_CHANGED, Change.PARAMETERS_CHANGED):
            self._updateButtons()
            self._switchParts()
        if change in (Change.SHOWN_POSE_CHANGED, Change.LANDMARK_SELECTED):
            self._showNames()

    def onShowPlanes(self, *planes: FetalPlane) -> None:
        pose = self.state.pose()
        if pose is not None and not view_orientation.showPlanes(pose, *planes):
            self.say(_("Open a slice view first, for example with the layout Four-Up."), Tone.WARNING)

    def onSwitched(self, checked: bool) -> None:
        """Keep the user's choice for later scenes; that of a loaded scene is not kept."""
        if self.state.parameterNode is not None:
            saved_settings.savePreferences(self.state.parameterNode)

    def _switches(self) -> tuple[qt.QAbstractButton, ...]:
        ui = self.ui
        return (
            ui.turnSlicesCheckBox,
            ui.showNamesCheckBox,
            ui.showSkeletonCheckBox,
            ui.showPlaneCheckBox,
            ui.showCallipersCheckBox,
        )

    def _switchParts(self) -> None:
        """Show the parts of the shown pose that the settings ask for."""
        parameters, poseScene = self.state.parameterNode, self.state.poseScene
        if parameters is None or poseScene is None:
            return
        for part, on in (
            (PosePart.NAMES, parameters.showNames),
            (PosePart.SKELETON, parameters.showSkeleton),
            (PosePart.PLANE, parameters.showPlane),
            (PosePart.CALLIPERS, parameters.showCallipers),
        ):
            switch(poseScene, part, on=on)

    def _showNames(self) -> None:
        """Show the names of the group of the current landmark: all names at once would overlap."""
        poseScene, row = self.state.poseScene, self.state.currentLandmark
        if poseScene is not None:
            schema = poseScene.schema
            poseScene.show_names(() if row is None else schema.rows(schema.landmarks[row].group))

    def _updateButtons(self) -> None:
        for button, _planes in self._planeButtons:
            button.setEnabled(self.state.poseScene is not None)
