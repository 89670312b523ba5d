"""Points deleted or renamed by Slicer's Markups module: the panel says so, shows nothing stale, and goes on."""

from __future__ import annotations

from typing import Any

import pytest

from FetusMapV2Lib.scene import undo_history


@pytest.mark.parametrize("change", ["delete", "rename"])
def test_the_panel_says_that_the_list_no_longer_holds_the_landmarks(open_window, volume, scene, change: str) -> None:
    window = open_window()
    widget = window.module_widget
    window.click(widget.ui.estimateButton)
    node: Any = widget.state.poseScene.landmarks_node
    length = widget.ui.resultsTable.item(0, 1).text()
    assert length.endswith("mm")
    undo_history.save_state(scene)
    node.SetFixedNumberOfControlPoints(False)
    if change == "delete":
        node.RemoveNthControlPoint(9)
    else:
        node.SetNthControlPointLabel(9, "100%s")
    assert "no longer holds the landmarks" in widget.state.message and widget.state.isError
    assert widget.ui.resultsTable.item(0, 1).text() != length
    branch = widget.ui.landmarksTree.topLevelItem(0)
    assert branch.child(0).text(2) == "missing"
    window.click(widget.ui.swapAllButton)
    window.click(widget.ui.resetAllButton)
    assert "no longer holds the landmarks" in widget.state.message

    window.click(widget.ui.undoButton)
    assert widget.ui.resultsTable.item(0, 1).text() == length
    assert not widget.state.isError and widget.state.message == ""
    window.click(widget.ui.redoButton)
    assert "no longer holds the landmarks" in widget.state.message
    window.click(widget.ui.estimateButton)
    assert widget.state.poseScene.problem == ""
    assert widget.ui.resultsTable.item(0, 1).text() == length
