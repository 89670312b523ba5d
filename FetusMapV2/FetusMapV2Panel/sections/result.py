"""The section of the result in one line, always visible, with links to the landmarks that need a look."""

from __future__ import annotations

from html import escape

import qt

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.presenting.linked_line import (
    LinkedLine,
    line_of_no_fetus,
    line_of_pose,
    line_without_result,
    next_row,
)
from FetusMapV2Panel import pose_ownership
from FetusMapV2Panel.changes import Change
from FetusMapV2Panel.colours import textColour
from FetusMapV2Panel.sections.base import Section
from FetusMapV2Panel.state import PanelState

_FOLLOWED = (
    Change.VOLUME_SELECTED,
    Change.SHOWN_POSE_CHANGED,
    Change.POSE_EDITED,
    Change.PARAMETERS_CHANGED,
    Change.COLOURS_CHANGED,
)


class ResultSection(Section):
    """Crown-rump length, gestational age, posture, and how many landmarks are doubtful or missing."""

    UI = "FetusMapV2Result.ui"

    def __init__(self, state: PanelState, widget: qt.QWidget) -> None:
        Section.__init__(self, state, widget)
        self._line = line_without_result(has_volume=False)
        self.ui.resultLabel.connect("linkActivated(QString)", self.onLink)
        self._show()

    def onChange(self, change: Change) -> None:
        if change in _FOLLOWED:
            self._show()

    def onLink(self, target: str) -> None:
        """Go to the landmarks of a part one after the other, with every click to the next."""
        row = next_row(self._line.parts[int(target)].rows, self.state.currentLandmark, default_schema())
        if row is not None:
            self.state.goToLandmark(row)

    def _show(self) -> None:
        self._line, label = self._find(), self.ui.resultLabel
        colour = textColour(self._line.tone, self.widget)  # a label with a style sheet keeps an old palette
        html = _html(self._line, colour)
        if label.text != html:
            label.setText(html)
            label.setToolTip(self._line.tip)
            label.setStyleSheet(f"QLabel {{ border: 1px solid {colour}; border-radius: 4px; padding: 4px; }}")

    def _find(self) -> LinkedLine:
        volume, pose, measured = self.state.patient.volume, self.state.pose(), self.state.measured()
        none = pose_ownership.noFetusFound(volume)
        if pose is None or measured is None:
            return line_of_no_fetus() if none else line_without_result(has_volume=volume is not None)
        return line_of_pose(pose, measured, outdated=none and volume is not None)


def _html(line: LinkedLine, colour: str) -> str:
    """The line in one colour, with a link for each part that is about landmarks."""
    texts = [
        f'<a href="{number}" style="color: {colour}">{escape(part.text)}</a>' if part.rows else escape(part.text)
        for number, part in enumerate(line.parts)
    ]
    return f'<span style="color: {colour}; font-weight: 600">{line.sign} {" · ".join(texts)}</span>'
