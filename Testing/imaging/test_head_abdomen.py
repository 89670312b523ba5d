"""Head and abdomen measured in simulated volumes, against the shapes of the bodies in them."""

from __future__ import annotations

import functools
import math
from dataclasses import replace

import numpy as np
import pytest
from benchmarks.body_truth import BodyTruth, body_truth
from scipy.spatial.transform import Rotation

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.standard_planes import HEAD_HEIGHT, NoPlane, SectionPlane, abdomen_plane, head_plane
from FetusMapV2Lib.imaging.head_abdomen import measure_head_and_abdomen, measure_in_plane
from FetusMapV2Lib.imaging.outlines import find_outline
from FetusMapV2Lib.phantom.simulated_case import SimulatedCase, simulate_case

SHAPE, SPACING_MM = (172, 118, 117), 0.8
SEED, INDEX = 31, 5  # whose abdomen has an edge all around; in one picture of ten it has not


@functools.lru_cache
def simulated(renderer: str) -> tuple[SimulatedCase, BodyTruth]:
    case = simulate_case(SEED, INDEX, SHAPE, SPACING_MM, style="A", renderer=renderer)
    return case, body_truth(SEED, INDEX, SHAPE, SPACING_MM, renderer, "A")


def sizes(case: SimulatedCase, pose: Pose | None = None) -> dict[str, float]:
    found = measure_head_and_abdomen(case.volume, case.pose if pose is None else pose)
    return {size.key: size.value_mm for size in found.sizes}


@pytest.mark.parametrize("renderer", ["physics", "second"])
def test_circumferences_are_those_of_the_body(renderer):
    case, truth = simulated(renderer)
    found = sizes(case)
    assert found["hc"] == pytest.approx(truth.hc, rel=0.05)
    assert found["ac"] == pytest.approx(truth.ac, rel=0.07)
    assert found["bpd"] == pytest.approx(truth.bpd, rel=0.08)


def test_landmarks_that_are_off_by_two_millimetres_change_them_little():
    case, _ = simulated("physics")
    exact = sizes(case)
    shift = np.random.default_rng(3).normal(0, 2 / np.sqrt(3), case.pose.positions.shape)
    moved = sizes(case, case.pose.with_positions(case.pose.positions + shift))
    for key in ("hc", "ac"):
        assert moved[key] == pytest.approx(exact[key], rel=0.08)


def test_turning_the_volume_turns_the_planes():
    case, _ = simulated("physics")
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec([0.4, -1.1, 0.7]).as_matrix()
    matrix[:3, 3] = [10.0, -20.0, 5.0]
    volume = case.volume.with_(ijk_to_ras=matrix @ case.volume.ijk_to_ras)
    turned = measure_head_and_abdomen(volume, case.pose.transformed(matrix))
    still = measure_head_and_abdomen(case.volume, case.pose)
    for one, other in zip(turned.sizes, still.sizes, strict=True):
        assert one.value_mm == pytest.approx(other.value_mm, rel=1e-6)
    assert turned.head.plane.normal == pytest.approx(matrix[:3, :3] @ still.head.plane.normal, abs=1e-6)


def test_planes_have_the_axes_of_the_body():
    case, _ = simulated("physics")
    schema, points = case.pose.schema, case.pose.positions
    for plane in (head_plane(case.pose), abdomen_plane(case.pose)):
        assert isinstance(plane, SectionPlane)
        assert plane.axes.T @ plane.axes == pytest.approx(np.eye(3), abs=1e-9)
        assert np.cross(plane.x_axis, plane.y_axis) == pytest.approx(plane.normal)
        left = points[schema.index("left_shoulder")] - points[schema.index("right_shoulder")]
        assert left @ plane.x_axis > 0.7 * np.linalg.norm(left)
    crest, chin = (points[schema.index(key)] for key in ("cranial_crest", "chin"))
    heights = head_plane(case.pose).to_plane(np.stack([crest, chin]))[:, 2]
    assert heights[0] > 5 and heights[1] < -5
    world = np.array([[1.0, 2.0, 3.0], [-4.0, 0.5, 9.0]])
    assert plane.to_world(plane.to_plane(world)) == pytest.approx(world)


def test_a_chosen_plane_is_measured_itself():
    case, _ = simulated("physics")
    found = measure_head_and_abdomen(case.volume, case.pose)
    for section in found.sections:
        plane = section.plane
        for height in (0.0, 0.45 * plane.half_axes_mm[0]):
            origin = plane.origin + height * plane.normal
            moved, seen = measure_in_plane(case.volume, section, origin, -plane.normal)
            assert seen and moved.by_hand and moved.key == section.key
            assert (moved.plane.origin - origin) @ plane.normal == pytest.approx(0, abs=1e-9), "not at a larger section"
            ratio = moved.ellipse.circumference_mm / section.ellipse.circumference_mm
            if section.key == "head":
                assert ratio == pytest.approx(
                    math.sqrt(1 - (height / (HEAD_HEIGHT * plane.half_axes_mm[1])) ** 2), rel=0.04
                )
            else:
                assert (0.97 < ratio < 1.03) if height == 0 else (0.6 < ratio < 1.0)
    dark = case.volume.with_(array=np.zeros_like(case.volume.array))
    along, seen = measure_in_plane(dark, found.head, found.head.plane.origin, found.head.plane.normal)
    assert not seen and along.ellipse.circumference_mm == pytest.approx(found.head.ellipse.circumference_mm)
    unseen = measure_head_and_abdomen(dark, case.pose).head
    nothing, seen = measure_in_plane(dark, unseen, unseen.plane.origin, unseen.plane.normal)
    assert not seen and nothing.ellipse is None and "not seen" in nothing.reason


def test_where_nothing_is_seen_nothing_is_measured():
    case, _ = simulated("physics")
    for array in (np.zeros_like(case.volume.array), np.full_like(case.volume.array, 90)):
        found = measure_head_and_abdomen(case.volume.with_(array=array), case.pose)
        assert not any(size.measured for size in found.sizes)
        assert "is not seen" in found.head.reason and "is not seen" in found.abdomen.reason
    away = measure_head_and_abdomen(case.volume, case.pose.with_positions(case.pose.positions + 500.0))
    assert not any(size.measured for size in away.sizes)


def test_half_a_head_is_not_measured():
    case, _ = simulated("physics")
    plane = head_plane(case.pose)
    k, j, i = np.indices(case.volume.shape)
    voxels = np.stack([i, j, k], axis=-1) @ case.volume.ijk_to_ras[:3, :3].T + case.volume.ijk_to_ras[:3, 3]
    cut = np.where(plane.to_plane(voxels.reshape(-1, 3))[:, 1].reshape(case.volume.shape) > 0, 0, case.volume.array)
    found = measure_head_and_abdomen(case.volume.with_(array=cut.astype(np.uint8)), case.pose)
    assert found.head.ellipse is None
    assert "of the skull is" in found.head.reason


def test_without_its_landmarks_there_is_no_plane():
    case, _ = simulated("physics")
    schema = case.pose.schema
    positions = case.pose.positions.copy()
    positions[[schema.index(key) for key in ("chin", "forehead", "nasal_tip")]] = np.nan
    positions[schema.index("lumbosacral_spine")] = np.nan
    pose = case.pose.with_positions(positions)
    assert head_plane(pose) == NoPlane("too few landmarks of the head")
    assert abdomen_plane(pose) == NoPlane("a landmark of the trunk is missing")
    found = measure_head_and_abdomen(case.volume, pose)
    assert [size.note for size in found.head.sizes] == ["not measured: too few landmarks of the head"] * 3


def test_without_crown_or_rump_the_expected_size_comes_from_the_landmarks():
    case, truth = simulated("physics")
    positions = case.pose.positions.copy()
    positions[case.pose.schema.crl_rows[1]] = np.nan
    pose = case.pose.with_positions(positions)
    assert sizes(case, pose)["hc"] == pytest.approx(truth.hc, rel=0.06)
    plane = abdomen_plane(pose)
    assert isinstance(plane, SectionPlane) and find_outline(case.volume, plane) is not None


def test_a_plane_across_the_trunk_that_lies_two_millimetres_off_changes_the_circumference_little():
    case, truth = simulated("physics")
    plane = abdomen_plane(case.pose)
    found = [find_outline(case.volume, replace(plane, origin=plane.origin + off * plane.normal)) for off in (-1.0, 1.0)]
    sizes_mm = [outline.ellipse.circumference_mm for outline in found]
    assert sizes_mm[0] == pytest.approx(sizes_mm[1], rel=0.03)
    assert np.mean(sizes_mm) == pytest.approx(truth.ac, rel=0.05)
    heights = [float(plane.to_plane(outline.plane.origin[None])[0, 2]) for outline in found]
    assert heights[0] == pytest.approx(heights[1], abs=1.2)
