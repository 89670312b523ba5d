"""The views after an estimate: slices in the planes of the fetus, an option, the way back, and other patients."""

from __future__ import annotations

import numpy as np
import pytest
from module.test_measurements import matrix
from scipy.spatial.transform import Rotation

from FetusMapV2Lib.anatomy.pose import Pose

pytestmark = pytest.mark.usefixtures("four_views")

SLICES = ("Red", "Yellow", "Green")
TURN = Rotation.from_euler("xyz", (25, -35, 50), degrees=True)


def tilted_engine(settings):
    """An engine stand-in that sees the fetus lying obliquely in the volume."""
    from FetusMapV2Panel import selftest

    class Engine(selftest.MovingEngineStandIn):
        def _estimate(self, positions, found):
            return super()._estimate(TURN.apply(positions), found)

    return Engine(settings, lost=[3])


@pytest.fixture
def window(open_window, volume):
    return open_window(tilted_engine)


def estimate(window) -> Pose:
    window.click(window.module_widget.ui.estimateButton)
    return window.module_widget.state.pose()


def slices(window) -> np.ndarray:
    return np.stack([matrix(window, name) for name in SLICES])


def shows_planes(window, pose: Pose) -> bool:
    plane = pose.midsagittal_plane
    wanted = (plane.y_axis, plane.normal, plane.x_axis)
    return all(abs(one[:3, 2] @ axis) > 1 - 1e-9 for one, axis in zip(slices(window), wanted, strict=True))


def shows_axes(window) -> bool:
    return all(np.abs(one[:3, 2]).max() > 1 - 1e-9 for one in slices(window))


def test_after_an_estimate_each_slice_shows_its_plane_of_the_whole_fetus(window):
    assert shows_axes(window)
    pose = estimate(window)
    assert shows_planes(window, pose)
    plane = pose.midsagittal_plane
    assert abs((matrix(window, "Yellow")[:3, 3] - plane.origin) @ plane.normal) < 1e-6
    for name in SLICES:
        width, height = window.views[name].view.node.GetDimensions()[:2]
        pixels = np.array([window.views[name].view.to_pixel(point)[:2] for point in pose.positions])
        assert (pixels > 0).all() and (pixels < (width, height)).all(), name


def test_the_axes_of_the_volume_come_back_with_one_click(window):
    pose = estimate(window)
    window.click(window.module_widget.ui.ownAxesButton)
    assert shows_axes(window)
    for name in SLICES:
        pixels = np.array([window.views[name].view.to_pixel(point)[:2] for point in pose.positions])
        middle = np.array(window.views[name].view.node.GetDimensions()[:2]) / 2
        assert np.linalg.norm(pixels.mean(axis=0) - middle) < 3, "through the centre of the fetus"


def test_who_wants_the_axes_keeps_them_also_in_the_next_scene(window, scene):
    from FetusMapV2Panel import selftest

    ui = window.module_widget.ui
    assert ui.turnSlicesCheckBox.checked
    window.click(ui.turnSlicesCheckBox)
    estimate(window)
    assert shows_axes(window)
    scene.Clear(0)
    ui.inputSelector.setCurrentNode(selftest.addVolume(scene))
    assert not ui.turnSlicesCheckBox.checked
    estimate(window)
    assert shows_axes(window)


def test_slices_never_keep_the_planes_of_another_patient(window, scene):
    from FetusMapV2Panel import selftest

    pose, parameters = estimate(window), window.module_widget.state.parameterNode
    own, other = parameters.inputVolume, selftest.addVolume(scene)
    parameters.inputVolume = other
    assert shows_axes(window), "it has no pose"
    parameters.inputVolume = own
    window.click(window.module_widget.ui.allPlanesButton)
    assert shows_planes(window, pose)
    window.click(window.module_widget.ui.ownAxesButton)
    parameters.inputVolume = other
    parameters.inputVolume = own
    assert shows_axes(window), "the user's choice"


def test_slices_turned_to_one_patient_turn_to_the_next(window, scene):
    from FetusMapV2Panel import selftest

    first, parameters = estimate(window), window.module_widget.state.parameterNode
    own, other = parameters.inputVolume, selftest.addVolume(scene)
    parameters.inputVolume = other
    moved = Pose(Rotation.from_euler("y", 40, degrees=True).apply(np.array(first.positions)))
    estimate(window)
    window.module_widget.state.poseScene.set_pose(moved)
    parameters.inputVolume = own
    assert shows_planes(window, first)
    parameters.inputVolume = other
    assert shows_planes(window, moved)


def test_a_volume_without_a_fetus_leaves_the_slices_as_they_are(window):
    for _ in range(3):
        estimate(window)
    before = slices(window)
    assert estimate(window) is None
    np.testing.assert_array_equal(slices(window), before)


def test_a_single_slice_view_shows_the_midsagittal_plane(window):
    for name in ("Yellow", "Green"):
        window.views[name].view.node.SetMappedInLayout(0)
    try:
        plane = estimate(window).midsagittal_plane
        assert abs(matrix(window, "Red")[:3, 2] @ plane.normal) > 1 - 1e-9
    finally:
        for name in ("Yellow", "Green"):
            window.views[name].view.node.SetMappedInLayout(1)


def test_frames_of_a_sequence_are_turned_too(open_window, scene):
    from FetusMapV2Panel import selftest

    browser = selftest.addSequence(scene, 2)
    window = open_window(tilted_engine)
    window.module_widget.ui.sequenceSelector.setCurrentNode(browser)
    window.click(window.module_widget.ui.estimateFramesButton)
    assert window.wait_until(lambda: not window.module_widget.state.running)
    assert shows_planes(window, window.module_widget.state.pose())


def boxes(window) -> dict:
    from FetusMapV2Lib.scene.pose_parts import PosePart

    ui = window.module_widget.ui
    return {
        PosePart.NAMES: ui.showNamesCheckBox,
        PosePart.SKELETON: ui.showSkeletonCheckBox,
        PosePart.PLANE: ui.showPlaneCheckBox,
        PosePart.CALLIPERS: ui.showCallipersCheckBox,
    }


def visible(window) -> set[str]:
    """The roles of the nodes of the shown pose that are visible."""
    nodes = window.module_widget.state.poseScene.all_nodes
    return {node.GetAttribute("FetusMapV2.Role") for node in nodes if node.GetDisplayNode().GetVisibility()}


def test_each_part_has_a_switch_that_is_kept_and_holds_for_every_pose(window, scene):
    from FetusMapV2Panel import selftest

    estimate(window)
    everything = visible(window)
    for part, box in boxes(window).items():
        assert box.checked
        window.click(box)
        assert visible(window) < everything, part
        window.click(box)
        assert visible(window) == everything, part
    window.click(boxes(window)[next(iter(boxes(window)))])
    window.click(window.module_widget.ui.showSkeletonCheckBox)
    off = everything - {"names", "skeleton", "slice_skeleton"}
    parameters = window.module_widget.state.parameterNode
    own, other = parameters.inputVolume, selftest.addVolume(scene)
    parameters.inputVolume = other
    estimate(window)
    assert visible(window) == off, "the next patient"
    window.click(window.module_widget.ui.showSkeletonCheckBox)
    parameters.inputVolume = own
    assert visible(window) == everything - {"names"}, "switched on meanwhile"
    scene.Clear(0)
    window.module_widget.ui.inputSelector.setCurrentNode(selftest.addVolume(scene))
    estimate(window)
    assert visible(window) == everything - {"names"}, "the next scene"


def named(window) -> list[int]:
    names = window.module_widget.state.poseScene.names_node
    return [row for row in range(names.GetNumberOfControlPoints()) if names.GetNthControlPointVisibility(row)]


def test_names_are_those_of_the_selected_group(window):
    from module.landmarks_panel import SCHEMA, WRIST, Panel

    estimate(window)
    assert named(window) == [], "nothing overlaps before a landmark is selected"
    panel = Panel(window)
    panel.ui.landmarksCollapsibleButton.collapsed = False
    panel.choose(WRIST)
    assert named(window) == list(SCHEMA.rows("la"))
    panel.choose(0)
    assert named(window) == list(SCHEMA.rows("ht"))
    estimate(window)
    assert named(window) == list(SCHEMA.rows("ht")), "also after another estimate"


def test_slices_show_the_skeleton_and_no_line_lies_across_the_plane_itself(window):
    estimate(window)
    fetus, views = window.module_widget.state.poseScene, {name: window.views[name].view.node for name in SLICES}
    assert len(fetus.slice_skeleton_nodes) == len(SLICES)

    def seen(node) -> set[str]:
        display = node.GetDisplayNode()
        return {name for name, view in views.items() if display.IsDisplayableInView(view.GetID())}

    assert seen(fetus.trace_node) == {"Red", "Green"}
    assert seen(fetus.calliper_node) == {"Yellow"}
    window.click(window.module_widget.ui.ownAxesButton)
    assert "Yellow" in seen(fetus.trace_node), "it crosses the plane now"
