"""The list of landmarks by group: confidence as a bar of colour and length with its number, state, definition on hover.

Cells are made once; a drag changes only those whose text changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from html import escape

import numpy as np
import qt

from FetusMapV2Lib.anatomy.pose import shown_confidence
from FetusMapV2Lib.anatomy.schema import Landmark, Schema
from FetusMapV2Lib.scene.appearance import DOUBTFUL_CONFIDENCE
from FetusMapV2Panel.translations import translator

_ = translator(__name__)

NAME, CONFIDENCE, STATE = range(3)

#: Blue, orange and purple of Okabe and Ito's palette, which all eyes tell apart: sure, fair, doubtful.
_SURE_COLOUR, _FAIR_COLOUR, _DOUBTFUL_COLOUR = "#0072B2", "#E69F00", "#CC79A7"
_SURE_CONFIDENCE = 0.8
_ICON_WIDTH, _ICON_HEIGHT, _SWATCH_WIDTH = 24, 12, 12
_INDENTATION = 12
_NOTHING = "–"


@dataclass(frozen=True)
class Line:
    """What the list says about one landmark.

    Attributes:
        state: "estimated", "edited", "confirmed" or "missing".
        confidence: of the model, None where it does not hold (edited, confirmed, missing, unknown).
        radius90_mm: of the model, None where it does not hold (edited, missing, unknown).
        refined: moved by refinement, and not by hand since.
        locked: protected from moves.
    """

    state: str
    confidence: float | None = None
    radius90_mm: float | None = None
    refined: bool = False
    locked: bool = False

    @property
    def doubtful(self) -> bool:
        """Still the model's, and below the confidence from which it counts as found."""
        return self.confidence is not None and self.confidence < DOUBTFUL_CONFIDENCE

    @property
    def setByHand(self) -> bool:
        """Refinement takes it for the truth, see `LandmarkEditor.pinned`."""
        return self.state in ("edited", "confirmed") or (self.locked and self.state != "missing")

    def stateText(self) -> str:
        names = {
            "estimated": _("estimated"),
            "edited": _("edited"),
            "confirmed": _("confirmed"),
            "missing": _("missing"),
        }
        marks = ((self.refined, _("refined")), (self.doubtful, _("doubtful")), (self.locked, _("locked")))
        return ", ".join([names[self.state], *(text for holds, text in marks if holds)])

    def confidenceText(self) -> str:
        return _NOTHING if self.confidence is None else shown_confidence(self.confidence)


def lines(poseScene) -> list[Line]:
    """One line per landmark of a pose."""
    provenance, local = poseScene.provenance, poseScene.local_positions()
    estimate, moved = provenance.named, provenance.moved(local)
    rows = zip(
        provenance.states(local),
        estimate.confidence.tolist(),
        np.where(moved, np.nan, estimate.radius90_mm).tolist(),
        provenance.refined(local).tolist(),
        poseScene.locks().tolist(),
        strict=True,
    )
    return [
        Line(
            state,
            _known(confidence) if state == "estimated" else None,
            _known(radius) if state != "missing" else None,
            refined and state == "estimated",
            locked,
        )
        for state, confidence, radius, refined, locked in rows
    ]


def definitionHtml(landmark: Landmark) -> str:
    """Name and definition of a landmark, and whether the definition is assumed."""
    text = f"<b>{escape(landmark.name)}.</b> {escape(landmark.definition)}"
    if landmark.assumed:
        text += " <i>" + escape(_("Assumed: the paper does not define this landmark.")) + "</i>"
    return text


class LandmarkList:
    """Shows lines in a QTreeWidget, one branch per group.

    Args:
        tree: the widget.
        schema: the landmarks.
        onChosen: called with the row of the landmark that the user went to, by click or key.
        onSelected: called when other landmarks are selected.
    """

    def __init__(
        self,
        tree,
        schema: Schema,
        onChosen: Callable[[int], None] = lambda row: None,
        onSelected: Callable[[], None] = lambda: None,
    ):
        self._tree, self._schema, self._onChosen = tree, schema, onChosen
        self._shown: list[Line | None] = [None] * schema.count
        self._bars: dict[str, object] = {}
        self._quiet = False
        self._prepare()
        self._items = self._fill()
        tree.connect("itemClicked(QTreeWidgetItem*,int)", lambda item, column: self._choose(item))
        tree.connect("currentItemChanged(QTreeWidgetItem*,QTreeWidgetItem*)", lambda item, before: self._choose(item))
        tree.connect("itemSelectionChanged()", onSelected)

    def show(self, contents: list[Line]) -> None:
        """Bring the list up to date; an empty one without a pose."""
        self._tree.setEnabled(bool(contents))
        for row in range(self._schema.count):
            line = contents[row] if contents else None
            if line != self._shown[row]:
                self._shown[row] = line
                self._showLine(row, line)

    def current(self) -> int | None:
        """Row of the current landmark."""
        return self._rowOf(self._tree.currentItem())

    def selected(self) -> list[int]:
        """Rows of the selected landmarks."""
        rows = (self._rowOf(item) for item in self._tree.selectedItems())
        return sorted(row for row in rows if row is not None)

    def select(self, row: int) -> None:
        """Make a landmark the only selected one, without going there."""
        self._quiet = True
        try:
            self._tree.setCurrentItem(self._items[row])
        finally:
            self._quiet = False
        self._tree.scrollToItem(self._items[row])

    def _prepare(self) -> None:
        self._tree.setColumnCount(3)
        self._tree.setHeaderLabels([_("Landmark"), _("Confidence"), _("State")])
        self._tree.setIconSize(qt.QSize(_ICON_WIDTH, _ICON_HEIGHT))
        self._tree.setIndentation(_INDENTATION)
        header = self._tree.header()
        header.setStretchLastSection(True)
        header.setSectionResizeMode(NAME, qt.QHeaderView.ResizeToContents)
        header.setSectionResizeMode(CONFIDENCE, qt.QHeaderView.ResizeToContents)

    def _fill(self) -> dict[int, object]:
        items = {}
        for group in self._schema.groups:
            branch = qt.QTreeWidgetItem(self._tree)
            branch.setText(NAME, _groupName(group))
            branch.setFlags(qt.Qt.ItemIsEnabled)
            font = branch.font(NAME)
            font.setBold(True)
            branch.setFont(NAME, font)
            for row in self._schema.rows(group):
                items[row] = self._newItem(branch, self._schema.landmarks[row])
            branch.setExpanded(True)
        return items

    def _newItem(self, branch, landmark: Landmark):
        item = qt.QTreeWidgetItem(branch)
        item.setData(NAME, qt.Qt.UserRole, landmark.row)
        item.setText(NAME, f"{landmark.number} {landmark.name}")
        item.setIcon(NAME, qt.QIcon(_swatch(landmark.colour)))
        for column in (NAME, CONFIDENCE, STATE):
            item.setToolTip(column, definitionHtml(landmark))
        return item

    def _showLine(self, row: int, line: Line | None) -> None:
        item = self._items[row]
        item.setText(CONFIDENCE, "" if line is None else line.confidenceText())
        item.setIcon(CONFIDENCE, self._bar(None if line is None else line.confidence))
        item.setText(STATE, "" if line is None else line.stateText())
        item.setToolTip(CONFIDENCE, _confidenceTip(line, self._schema.landmarks[row]))
        item.setToolTip(STATE, "" if line is None else line.stateText())

    def _bar(self, confidence: float | None):
        """Colour and length tell the same; made once per percent."""
        key = "" if confidence is None else f"{confidence:.2f}"
        if key not in self._bars:
            self._bars[key] = qt.QIcon() if confidence is None else qt.QIcon(_barPicture(confidence))
        return self._bars[key]

    def _choose(self, item) -> None:
        row = self._rowOf(item)
        if row is not None and not self._quiet:
            self._onChosen(row)

    @staticmethod
    def _rowOf(item) -> int | None:
        row = item.data(NAME, qt.Qt.UserRole) if item is not None else None
        return None if row is None else int(row)


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _groupName(group: str) -> str:
    names = {
        "ht": _("Head and trunk"),
        "la": _("Left arm"),
        "ra": _("Right arm"),
        "ll": _("Left leg"),
        "rl": _("Right leg"),
    }
    return names.get(group, group)


def _confidenceTip(line: Line | None, landmark: Landmark) -> str:
    if line is None or line.radius90_mm is None:
        return definitionHtml(landmark)
    return _("In 9 of 10 cases the landmark lies within {0:.1f} mm of this place.").format(line.radius90_mm)


def _barPicture(confidence: float):
    colour = (
        _DOUBTFUL_COLOUR
        if confidence < DOUBTFUL_CONFIDENCE
        else _FAIR_COLOUR
        if confidence < _SURE_CONFIDENCE
        else _SURE_COLOUR
    )
    filled = max(1, round(confidence * _ICON_WIDTH))
    return _picture([(0, _ICON_WIDTH, "#dddddd"), (0, filled, colour)])


def _swatch(colour: tuple[float, float, float]):
    """The colour that the landmark has in the views."""
    name = "#{:02x}{:02x}{:02x}".format(*(round(255 * channel) for channel in colour))
    return _picture([(_ICON_WIDTH - _SWATCH_WIDTH, _SWATCH_WIDTH, name)])


def _picture(bars: list[tuple[int, int, str]]):
    """Bars of (left, width, colour), one over the other."""
    picture = qt.QPixmap(_ICON_WIDTH, _ICON_HEIGHT)
    picture.fill(qt.QColor(0, 0, 0, 0))
    painter = qt.QPainter(picture)
    for left, width, colour in bars:
        painter.fillRect(left, 0, width, _ICON_HEIGHT, qt.QColor(colour))
    painter.end()
    return picture
