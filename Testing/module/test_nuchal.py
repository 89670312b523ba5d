"""The section of the nuchal translucency: magnified view, callipers dragged with the mouse, tries, refusal, report."""

from __future__ import annotations

import numpy as np
import pytest
from module.test_measurements import matrix
from module.test_panel import estimate
from module.test_report import only, own_settings, written  # noqa: F401 - a fixture

from FetusMapV2Lib.scene.control_points import world_positions


@pytest.fixture
def window(open_window, volume):
    opened = open_window()
    estimate(opened)
    opened.module_widget.ui.nuchalCollapsibleButton.collapsed = False
    return opened


def line(window):
    return window.module_widget.state.poseScene.sections.nuchal


def said(window) -> str:
    return window.module_widget.ui.nuchalLabel.text


def set_callipers(window, *by_pixels: tuple[int, int]) -> float:
    """Drag both callipers; returns their distance."""
    for row, by in enumerate(by_pixels):
        window.drag("Yellow", world_positions(line(window))[row], by)
    return float(np.linalg.norm(np.subtract(*world_positions(line(window)))))


def test_several_tries_by_mouse_keep_the_largest_in_panel_and_report(window, tmp_path):
    ui = window.module_widget.ui
    assert "but you" in said(window) and not ui.removeTryButton.enabled
    window.click(ui.nuchalTryButton)
    pose = window.module_widget.state.pose()
    turned = matrix(window, "Yellow")
    assert abs(turned[:3, 2] @ pose.midsagittal_plane.normal) == pytest.approx(1.0)
    height = window.views["Yellow"].view.node.GetFieldOfView()[1]
    assert height < 0.8 * np.ptp(pose.positions[:, 2]), "magnified"
    assert "Drag both" in said(window)
    first = set_callipers(window, (6, 8), (-4, 5))
    assert f"{first:.1f} mm, one try" in said(window) and line(window).GetName() == f"NT {first:.1f} mm"
    window.click(ui.nuchalTryButton)
    second = set_callipers(window, (9, 4), (-24, 6))
    assert second > first, "the second is the larger one in this test"
    assert f"{second:.1f} mm, the largest of 2 tries ({first:.1f}, {second:.1f})" in said(window)
    ui.reportFolderEdit.currentPath = str(tmp_path / "Befunde ü")
    only(window, "Page", "Table")
    window.click(ui.writeReportButton)
    files = written(tmp_path)
    page = next(path for name, path in files.items() if name.endswith(".html")).read_text(encoding="utf-8")
    assert f"{second:.1f} mm" in page and "the largest of 2 tries" in page
    table = next(path for name, path in files.items() if name.endswith(".csv")).read_text(encoding="utf-8")
    assert f"Nuchal translucency,{second:.1f},mm,," in table
    window.click(ui.removeTryButton)
    assert f"{first:.1f} mm, one try" in said(window)
    window.click(ui.undoButton)
    assert "the largest of 2 tries" in said(window)


def test_what_is_refused_says_why_and_is_not_reported(window):
    from FetusMapV2Panel.sections.nuchal import nuchalOf

    ui, state = window.module_widget.ui, window.module_widget.state
    window.click(ui.nuchalTryButton)
    set_callipers(window, (6, 8), (-10, 5))
    assert nuchalOf(state.poseScene) is not None
    state.poseScene.landmarks_node.SetNthControlPointPosition(0, 0.0, 0.0, 60.0)
    assert "Refused" in said(window) and "45 to 84 mm" in said(window)
    assert not ui.nuchalTryButton.enabled and ui.nuchalLabel.visible and nuchalOf(state.poseScene) is None
    state.poseScene.landmarks_node.SetNthControlPointPosition(0, 0.0, 0.0, 30.0)
    assert nuchalOf(state.poseScene) is not None
    state.poseScene.landmarks_node.SetNthControlPointPositionMissing(5)
    window.click(ui.nuchalTryButton)
    assert "The neck is missing" in state.message
    for row in range(1, 9):
        state.poseScene.landmarks_node.SetNthControlPointPositionMissing(row)
    window.click(ui.nuchalViewButton)
    assert "No midsagittal plane" in state.message
