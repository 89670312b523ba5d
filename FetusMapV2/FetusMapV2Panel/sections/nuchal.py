"""The section of the nuchal translucency: a magnified view, and callipers that nobody sets but the user."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import qt

from FetusMapV2Lib.anatomy.measurements import measurements
from FetusMapV2Lib.anatomy.nuchal import Nuchal, nuchal_view
from FetusMapV2Lib.presenting.nuchal_line import NuchalLine, nuchal_line
from FetusMapV2Lib.presenting.tones import Tone
from FetusMapV2Lib.scene.section_editing import remove_nuchal_try, start_nuchal_try
from FetusMapV2Panel import view_orientation
from FetusMapV2Panel.changes import Change
from FetusMapV2Panel.colours import textColour
from FetusMapV2Panel.sections.base import Section
from FetusMapV2Panel.state import PanelState
from FetusMapV2Panel.translations import translator

if TYPE_CHECKING:
    from FetusMapV2Lib.scene.pose_scene import PoseScene

_ = translator(__name__)

_FOLLOWED = (Change.SHOWN_POSE_CHANGED, Change.POSE_EDITED, Change.PARAMETERS_CHANGED, Change.COLOURS_CHANGED)


class NuchalSection(Section):
    """Keeps the largest of several tries, as the guideline asks, and refuses lengths that it is not made for."""

    UI = "FetusMapV2Nuchal.ui"

    def __init__(self, state: PanelState, widget: qt.QWidget) -> None:
        Section.__init__(self, state, widget)
        self.ui.nuchalViewButton.connect("clicked(bool)", lambda checked: self._magnify())
        self.ui.nuchalTryButton.connect("clicked(bool)", self.onNewTry)
        self.ui.removeTryButton.connect("clicked(bool)", self.onRemoveTry)
        self._show()

    def onChange(self, change: Change) -> None:
        if change in _FOLLOWED:
            self._show()

    def onNewTry(self, checked: bool = False) -> None:
        """Show callipers behind the neck in the magnified view."""
        fetus = self.state.poseScene
        if fetus is None or not self._magnify():
            return
        if not start_nuchal_try(fetus):
            self.say(_("The neck is missing: place its landmark first."), Tone.WARNING)

    def onRemoveTry(self, checked: bool = False) -> None:
        if self.state.poseScene is not None:
            remove_nuchal_try(self.state.poseScene)

    def _magnify(self) -> bool:
        """Show the midsagittal plane with head and upper thorax in three quarters of the view."""
        pose = self.state.pose()
        if pose is None:
            return False
        if pose.midsagittal_plane is None:
            self.say(_("No midsagittal plane: too few landmarks."), Tone.WARNING)
            return False
        if not view_orientation.showCut(
            lambda aspect: nuchal_view(pose, aspect), view_orientation.FetalPlane.MIDSAGITTAL
        ):
            self.say(_("Open a slice view first, for example with the layout Four-Up."), Tone.WARNING)
            return False
        return True

    def _show(self) -> None:
        fetus, ui = self.state.poseScene, self.ui
        line = self._line()
        colour = textColour(line.tone, self.widget)
        ui.nuchalLabel.setText(f'<span style="color: {colour}">{line.tone.value} {escape(line.text)}</span>')
        ui.nuchalLabel.setToolTip(line.tip)
        ui.nuchalViewButton.setEnabled(fetus is not None)
        ui.nuchalTryButton.setEnabled(fetus is not None and line.allowed)
        ui.removeTryButton.setEnabled(fetus is not None and len(fetus.sections.by_hand.nuchal) > 0)

    def _line(self) -> NuchalLine:
        fetus, measured = self.state.poseScene, self.state.measured()
        if fetus is None or measured is None:
            return nuchal_line(None, float("nan"), is_open=False)
        return nuchal_line(nuchalOf(fetus), measured.crl.value_mm, is_open=fetus.sections.is_try_open)


def nuchalOf(fetus: PoseScene) -> Nuchal | None:
    """The nuchal translucency of a pose; None if it was not measured, or does not count at its length."""
    return fetus.sections.nuchal_at(measurements(fetus.pose()).crl.value_mm)
