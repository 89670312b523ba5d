"""The section of head and abdomen: found in the volume, its planes in a slice view, handles dragged with the mouse."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import vtk
from module.test_measurements import matrix
from module.test_panel import estimate
from module.test_report import only, own_settings, written  # noqa: F401 - a fixture

from FetusMapV2Lib.anatomy.body_sections import HeadAndAbdomen
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.standard_planes import SectionPlane, abdomen_plane, head_plane
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.exporting import ExportOptions, export
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.scene.control_points import world_positions
from FetusMapV2Lib.scene.slice_turning import plane_of
from FetusMapV2Lib.scene.volume_nodes import add_volume_node

NAMES = ("HC", "BPD", "OFD", "AC")


def body(spacing_mm: float = 1.0) -> Volume:
    """A volume with a skull and a belly around the body that the stand-in of the engine sees, a little larger."""
    from FetusMapV2Panel.selftest import BODY

    pose = Pose(np.array(BODY, dtype=float))
    shape = (80, 64, 64)
    grid = np.stack(np.indices(shape)[::-1], axis=-1) * spacing_mm + (-32.0, -32.0, -40.0)
    array = np.full(shape, 30.0)
    head, abdomen = head_plane(pose), abdomen_plane(pose)
    assert isinstance(head, SectionPlane) and isinstance(abdomen, SectionPlane)
    x, y, z = np.moveaxis(abdomen.to_plane(grid), -1, 0)
    half_x, half_y = abdomen.half_axes_mm
    array[(np.hypot(x / half_x, y / half_y) < 1.06) & (np.abs(z) < 6)] = 130.0
    x, y, z = np.moveaxis(head.to_plane(grid), -1, 0)
    half_x, half_y = head.half_axes_mm
    radii = np.sqrt((x / half_x) ** 2 + (y / half_y) ** 2 + (z / (0.84 * half_y)) ** 2)
    array[radii < 1.05] = 60.0
    array[np.abs(radii - 1.05) < 0.06] = 220.0
    ijk_to_ras = np.diag([spacing_mm, spacing_mm, spacing_mm, 1.0])
    ijk_to_ras[:3, 3] = (-32.0, -32.0, -40.0)
    return Volume(array.astype(np.uint8), ijk_to_ras, name="head and belly")


@pytest.fixture
def window(open_window, scene):
    add_volume_node(scene, body())
    opened = open_window()
    estimate(opened)
    opened.module_widget.ui.headAbdomenCollapsibleButton.collapsed = False
    return opened


def rows(window) -> dict[str, tuple[str, str]]:
    """Value and remark by name."""
    shown = window.module_widget.ui.sectionsTable
    texts = [[shown.item(row, column).text() for column in range(3)] for row in range(shown.rowCount)]
    return {name: (value, remark) for name, value, remark in texts}


def sections(window) -> HeadAndAbdomen:
    found = window.module_widget.state.poseScene.sections.sections()
    assert found is not None
    return found


def handles(window, key: Any = "head") -> np.ndarray:
    return world_positions(window.module_widget.state.poseScene.sections.handles(key))


def exported(window, folder: Path) -> dict[str, Any]:
    """The sizes in the JSON of an export without the volume, by their keys."""
    state = window.module_widget.state
    options = ExportOptions(("json",), stem="x", sections=state.poseScene.sections.sections_by_hand())
    path = export(Estimate.given(state.pose()), None, folder, options)["json"]
    return {one["key"]: one for one in json.loads(path.read_text(encoding="utf-8"))["head_and_abdomen"]}


def test_sizes_are_found_and_each_plane_is_shown_by_a_click(window):
    ui = window.module_widget.ui
    assert tuple(rows(window)) == NAMES
    for size, (value, remark) in zip(sections(window).sizes, rows(window).values(), strict=True):
        assert value == f"{size.value_mm:.1f} ± {size.uncertainty_mm:.1f} mm"
        assert remark.endswith("found") and ("centile" in remark) == (size.key != "ofd")
    assert not ui.proposeAgainButton.enabled and not ui.sectionsNoteLabel.visible
    for button, section in (
        (ui.headPlaneButton, sections(window).head),
        (ui.abdomenPlaneButton, sections(window).abdomen),
    ):
        window.click(button)
        turned = matrix(window, "Red")
        assert turned[:3, 2] == pytest.approx(-section.plane.normal, abs=1e-6), "seen from the feet, the face up"
        assert (turned[:3, 3] - section.plane.origin) @ section.plane.normal == pytest.approx(0, abs=1e-6)
        view = window.views["Red"].view
        pixels = np.array([view.to_pixel(point)[:2] for point in handles(window, section.key)])
        assert (pixels > 0).all() and (pixels < view.node.GetDimensions()[:2]).all()
        assert np.ptp(pixels, axis=0).max() > 0.4 * min(view.node.GetDimensions()[:2])
    ui.headAbdomenCollapsibleButton.collapsed = True
    assert rows(window) == {} and np.isnan(handles(window)).all(), "while it is closed nothing is shown"


def test_a_handle_dragged_in_the_view_changes_numbers_and_report_until_it_is_proposed_again(window, tmp_path):
    ui = window.module_widget.ui
    found, before = rows(window), handles(window)
    window.click(ui.headPlaneButton)
    window.drag("Red", before[0], (14, 0))
    after = rows(window)
    assert np.linalg.norm(handles(window)[0] - before[0]) > 0.5
    assert handles(window)[1] == pytest.approx(before[1], abs=1e-4)
    hc, bpd, _ofd, ac = NAMES
    assert after[hc][1].endswith("set by hand") and "±" not in after[hc][0]
    assert after[bpd][0] != found[bpd][0] and after[ac] == found[ac]
    ui.reportFolderEdit.currentPath = str(tmp_path / "Befunde ü")
    only(window, "Page", "Table")
    window.click(ui.writeReportButton)
    page = next(path for name, path in written(tmp_path).items() if name.endswith(".html")).read_text(encoding="utf-8")
    assert after[hc][0].split()[0] in page and "ellipse set by hand" in page
    sizes = exported(window, tmp_path)
    assert sizes["hc"]["value_mm"] == pytest.approx(sections(window).head.sizes[0].value_mm, abs=1e-3)
    assert sizes["ac"]["value_mm"] is None and "the volume is not available" in sizes["ac"]["note"]
    window.click(ui.undoButton)
    assert rows(window) == found
    window.click(ui.redoButton)
    assert rows(window) == after
    window.click(ui.proposeAgainButton)
    assert rows(window) == found and not ui.proposeAgainButton.enabled
    assert handles(window) == pytest.approx(before, abs=1e-4)


def test_the_plane_is_shifted_and_tilted_in_the_slice_view(window):
    ui, state = window.module_widget.ui, window.module_widget.state
    found, before = rows(window), handles(window)
    node = window.views["Red"].view.node
    window.click(ui.headPlaneButton)
    window.views["Red"].view.logic.SetSliceOffset(window.views["Red"].view.logic.GetSliceOffset() + 2.0)
    tilt = vtk.vtkTransform()
    tilt.SetMatrix(node.GetSliceToRAS())
    tilt.RotateX(8.0)
    node.GetSliceToRAS().DeepCopy(tilt.GetMatrix())
    node.UpdateMatrices()
    window.click(ui.shownPlaneButton)
    origin, normal = plane_of(node)
    assert (handles(window) - origin) @ normal == pytest.approx(np.zeros(4), abs=1e-3), "the ellipse lies in the view"
    assert np.abs((before - origin) @ normal).max() > 1.5, "and did not before"
    after = rows(window)
    assert after["HC"][1].endswith("set by hand") and after["HC"] != found["HC"] and after["AC"] == found["AC"]
    dragged = handles(window)[1]
    window.drag("Red", dragged, (-10, 0))
    assert (handles(window) - origin) @ normal == pytest.approx(np.zeros(4), abs=1e-3)
    assert np.linalg.norm(handles(window)[1] - dragged) > 0.3
    window.click(ui.undoButton)
    assert rows(window) == after
    window.click(ui.undoButton)
    assert rows(window) == found and handles(window) == pytest.approx(before, abs=1e-4)
    node.SetOrientation("Sagittal")
    window.click(ui.shownPlaneButton)
    assert "neither head nor abdomen" in state.message and rows(window) == found


def test_it_follows_a_moved_landmark_and_another_patient(window, scene):
    state, ui = window.module_widget.state, window.module_widget.ui
    found = rows(window)
    crown = state.poseScene.landmarks_node
    crown.SetNthControlPointPosition(0, 0.0, 3.0, 33.0)
    assert rows(window)[NAMES[0]][0] == found[NAMES[0]][0], "not while it moves"
    expected = handles(window)
    assert window.wait_until(lambda: not np.allclose(handles(window), expected, atol=1e-3), 30)
    assert all(remark.endswith("found") for _value, remark in rows(window).values())
    nodes = state.poseScene.sections.nodes
    window.click(ui.headPlaneButton)
    window.drag("Red", handles(window)[0], (10, 0))
    from FetusMapV2Panel import selftest

    first, other = state.poseScene.volume_node, selftest.addVolume(scene)
    ui.inputSelector.setCurrentNode(other)
    assert rows(window) == {}
    assert not any(node.GetDisplayNode().GetVisibility() for node in nodes)
    estimate(window)
    assert window.wait_until(lambda: bool(rows(window)), 30)
    assert "not seen" in {remark for _value, remark in rows(window).values()}
    assert ui.sectionsNoteLabel.text and not any("by hand" in remark for _value, remark in rows(window).values())
    ui.inputSelector.setCurrentNode(first)
    assert window.wait_until(lambda: bool(rows(window)), 30)
    assert rows(window)[NAMES[0]][1].endswith("set by hand")
