"""The list of landmarks by group: confidence as number and coloured bar, state, and the definition as tool tip.

Cells are created once; a drag updates only those of rows that changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import qt

from FetusMapV2Lib.anatomy.schema import Landmark, Schema
from FetusMapV2Lib.core.colours import hex_colour
from FetusMapV2Lib.presenting.landmark_rows import LandmarkRow, confidence_tip, definition_html, group_name
from FetusMapV2Panel.fitting import FittedColumns
from FetusMapV2Panel.translations import translator

_ = translator(__name__)

NAME, CONFIDENCE, STATE = range(3)

#: Blue, orange and purple of Okabe and Ito's palette, distinct with any colour vision: sure, fair, doubtful.
_SURE_COLOUR, _FAIR_COLOUR, _DOUBTFUL_COLOUR = "#0072B2", "#E69F00", "#CC79A7"
_SURE_CONFIDENCE = 0.8
_ICON_WIDTH, _ICON_HEIGHT, _SWATCH_WIDTH = 24, 12, 12
_INDENTATION = 12


class LandmarkList:
    """Shows rows in a QTreeWidget, one branch per group.

    Args:
        tree: the widget.
        schema: the landmarks.
        onCurrent: called with the row of the landmark that the user made the current one, by click or key.
        onSelection: called when other landmarks are selected.
    """

    def __init__(
        self,
        tree: qt.QTreeWidget,
        schema: Schema,
        onCurrent: Callable[[int], None] = lambda row: None,
        onSelection: Callable[[], None] = lambda: None,
    ) -> None:
        self._tree, self._schema, self._onCurrent = tree, schema, onCurrent
        self._shown: list[LandmarkRow | None] = [None] * schema.count
        self._bars: dict[str, qt.QIcon] = {}
        self._isSelecting = False
        self._prepare()
        self._items = self._fill()
        tree.connect("itemClicked(QTreeWidgetItem*,int)", lambda item, column: self._onItem(item))
        tree.connect("currentItemChanged(QTreeWidgetItem*,QTreeWidgetItem*)", lambda item, before: self._onItem(item))
        tree.connect("itemSelectionChanged()", onSelection)

    def show(self, rows: list[LandmarkRow]) -> None:
        """Show these rows, one per landmark; none without a pose."""
        self._tree.setEnabled(bool(rows))
        wanted: Sequence[LandmarkRow | None] = rows or [None] * self._schema.count
        changed = [number for number, row in enumerate(wanted) if row != self._shown[number]]
        for number in changed:
            self._shown[number] = wanted[number]
            self._showRow(number, wanted[number])
        if changed:
            self._columns.measure(forget=False)

    def current(self) -> int | None:
        """The row of the current landmark; None without one."""
        return self._rowOf(self._tree.currentItem())

    def selected(self) -> list[int]:
        """The rows of the selected landmarks."""
        rows = (self._rowOf(item) for item in self._tree.selectedItems())
        return sorted(row for row in rows if row is not None)

    def select(self, row: int) -> None:
        """Make a landmark the only selected one, without calling `onCurrent`."""
        self._isSelecting = True
        try:
            self._tree.setCurrentItem(self._items[row])
        finally:
            self._isSelecting = False
        self._tree.scrollToItem(self._items[row])

    def _prepare(self) -> None:
        self._tree.setColumnCount(3)
        self._tree.setHeaderLabels([_("Landmark"), _("Confidence"), _("State")])
        self._tree.setIconSize(qt.QSize(_ICON_WIDTH, _ICON_HEIGHT))
        self._tree.setIndentation(_INDENTATION)
        self._columns = FittedColumns(self._tree, self._tree.header(), 3, firm=[CONFIDENCE])

    def _fill(self) -> dict[int, qt.QTreeWidgetItem]:
        items = {}
        for group in self._schema.groups:
            branch = qt.QTreeWidgetItem(self._tree)
            branch.setText(NAME, group_name(group))
            branch.setToolTip(NAME, group_name(group))
            branch.setFlags(qt.Qt.ItemIsEnabled)
            font = branch.font(NAME)
            font.setBold(True)
            branch.setFont(NAME, font)
            for row in self._schema.rows(group):
                items[row] = self._newItem(branch, self._schema.landmarks[row])
            branch.setExpanded(True)
        return items

    def _newItem(self, branch: qt.QTreeWidgetItem, landmark: Landmark) -> qt.QTreeWidgetItem:
        item = qt.QTreeWidgetItem(branch)
        item.setData(NAME, qt.Qt.UserRole, landmark.row)
        item.setText(NAME, f"{landmark.number} {landmark.name}")
        item.setIcon(NAME, qt.QIcon(_swatch(landmark.colour)))
        for column in (NAME, CONFIDENCE, STATE):
            item.setToolTip(column, f"{landmark.number} {definition_html(landmark)}")
        return item

    def _showRow(self, number: int, row: LandmarkRow | None) -> None:
        item = self._items[number]
        item.setText(CONFIDENCE, "" if row is None else row.confidence_text())
        item.setIcon(CONFIDENCE, self._bar(row))
        item.setText(STATE, "" if row is None else row.state_text())
        item.setToolTip(CONFIDENCE, confidence_tip(row, self._schema.landmarks[number]))
        item.setToolTip(STATE, "" if row is None else row.state_text())

    def _bar(self, row: LandmarkRow | None) -> qt.QIcon:
        """A bar whose colour and length both show the confidence; drawn once per percent."""
        confidence = None if row is None else row.confidence
        if row is None or confidence is None:
            return self._bars.setdefault("", qt.QIcon())
        key = f"{confidence:.2f} {row.doubtful}"
        if key not in self._bars:
            self._bars[key] = qt.QIcon(_barPicture(confidence, row.doubtful))
        return self._bars[key]

    def _onItem(self, item: qt.QTreeWidgetItem | None) -> None:
        row = self._rowOf(item)
        if row is not None and not self._isSelecting:
            self._onCurrent(row)

    @staticmethod
    def _rowOf(item: qt.QTreeWidgetItem | None) -> int | None:
        row = item.data(NAME, qt.Qt.UserRole) if item is not None else None
        return None if row is None else int(row)


def _barPicture(confidence: float, doubtful: bool) -> qt.QPixmap:
    colour = _SURE_COLOUR
    if doubtful:
        colour = _DOUBTFUL_COLOUR
    elif confidence < _SURE_CONFIDENCE:
        colour = _FAIR_COLOUR
    filled = max(1, round(confidence * _ICON_WIDTH))
    return _picture([(0, _ICON_WIDTH, "#dddddd"), (0, filled, colour)])


def _swatch(colour: tuple[float, float, float]) -> qt.QPixmap:
    """The colour of a landmark in the views."""
    return _picture([(_ICON_WIDTH - _SWATCH_WIDTH, _SWATCH_WIDTH, hex_colour(colour))])


def _picture(bars: list[tuple[int, int, str]]) -> qt.QPixmap:
    """Bars of (left, width, colour), each drawn over those before it."""
    picture = qt.QPixmap(_ICON_WIDTH, _ICON_HEIGHT)
    picture.fill(qt.QColor(0, 0, 0, 0))
    painter = qt.QPainter(picture)
    for left, width, colour in bars:
        painter.fillRect(left, 0, width, _ICON_HEIGHT, qt.QColor(colour))
    painter.end()
    return picture
