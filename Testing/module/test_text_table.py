"""Tables of text rows: every cell of a row that changed is updated."""

from __future__ import annotations

from typing import Any

from FetusMapV2Lib.presenting.measurement_rows import MeasurementRow
from FetusMapV2Lib.presenting.tones import Tone


def test_a_changed_verdict_marks_the_unchanged_value_as_well(application: Any) -> None:
    import qt
    from FetusMapV2Panel.colours import cellColour
    from FetusMapV2Panel.results_table import resultsTable

    widget = qt.QTableWidget()
    table, doubtful = resultsTable(widget), cellColour(Tone.WARNING, widget)
    table.show([MeasurementRow("Left femur*", "9.0 mm", "fits CRL", "Usual: 8 to 10 mm.")])
    table.show([MeasurementRow("Left femur*", "9.0 mm", "short for CRL", "Usual: 10 to 12 mm.", doubtful=True)])
    value = widget.item(0, 1)
    assert value.text() == "9.0 mm" and value.foreground().color().name() == doubtful
    assert value.toolTip() == "9.0 mm\nUsual: 10 to 12 mm."
    table.show([MeasurementRow("Left femur*", "9.0 mm", "fits CRL", "Usual: 8 to 10 mm.")])
    assert value.foreground().color().name() != doubtful


def test_the_table_has_as_many_rows_as_there_are_and_keeps_its_cells(application: Any) -> None:
    import qt
    from FetusMapV2Panel.results_table import resultsTable

    widget = qt.QTableWidget()
    table = resultsTable(widget)
    rows = [MeasurementRow("a", "1"), MeasurementRow("b", "2"), MeasurementRow("c", "3")]
    table.show(rows)
    cell, height = widget.item(1, 0), widget.height
    table.show([rows[0], MeasurementRow("b", "4", "a remark that is much longer than its column " * 3), rows[2]])
    assert widget.item(1, 0) is cell and widget.height == height
    table.show([])
    assert widget.rowCount == 0
