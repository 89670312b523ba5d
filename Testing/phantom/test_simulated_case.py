"""Whole cases: the same seed gives the same case, files say what the case is, a sequence moves smoothly."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.errors import InputError, OutputError
from FetusMapV2Lib.imaging.markups import read_markups
from FetusMapV2Lib.imaging.reading import read_volume
from FetusMapV2Lib.phantom.anatomy_map import build_tissue_map
from FetusMapV2Lib.phantom.motion import simulate_sequence
from FetusMapV2Lib.phantom.placement import nominal_extent
from FetusMapV2Lib.phantom.scene_options import SceneOptions
from FetusMapV2Lib.phantom.scenes import sample_geometry
from FetusMapV2Lib.phantom.simulated_case import SimulatedCase, simulate_case, write_case
from FetusMapV2Lib.phantom.style import HELD_OUT_MIX, STYLES
from FetusMapV2Lib.phantom.tissues import Tissue

SHAPE, SPACING = (77, 52, 52), 1.8  # the field of view of 460 x 313 x 312 voxels of 0.3 mm
FULL = (460, 313, 312), 0.3


@pytest.fixture(scope="module")
def case() -> SimulatedCase:
    return simulate_case(11, 2, SHAPE, SPACING)


def test_the_same_seed_and_index_give_the_same_case_and_others_give_others(case: SimulatedCase) -> None:
    again, other = simulate_case(11, 2, SHAPE, SPACING), simulate_case(11, 3, SHAPE, SPACING)
    np.testing.assert_array_equal(again.volume.array, case.volume.array)
    np.testing.assert_array_equal(again.pose.positions, case.pose.positions)
    assert again.truth == case.truth
    assert not np.allclose(other.pose.positions, case.pose.positions)


def test_resolution_changes_neither_pose_nor_scene(case: SimulatedCase) -> None:
    full = sample_geometry(11, 2, nominal_extent(*FULL))
    np.testing.assert_array_equal(full.landmarks, case.pose.positions)
    assert full.truth == {key: case.truth[key] for key in full.truth}


def test_the_volume_is_centred_and_shows_the_fetus(case: SimulatedCase) -> None:
    volume = case.volume
    assert volume.array.dtype == np.uint8 and volume.shape == SHAPE
    np.testing.assert_allclose(volume.centre_ras, 0.0, atol=1e-9)
    assert np.linalg.det(volume.ijk_to_ras[:3, :3]) > 0
    ijk = (case.pose.positions - volume.ijk_to_ras[:3, 3]) / SPACING
    assert (ijk > 0).all() and (ijk < np.array(SHAPE[::-1]) - 1).all()
    i, j, k = np.round(ijk).astype(int).T
    bright = np.array(
        [volume.array[c - 1 : c + 2, b - 1 : b + 2, a - 1 : a + 2].max() for a, b, c in zip(i, j, k, strict=True)]
    )
    assert np.median(bright) > 40


def test_the_truth_tells_age_lengths_angles_style_and_seed(case: SimulatedCase) -> None:
    truth = json.loads(json.dumps(case.truth, allow_nan=False))
    assert 70 <= truth["gestational_age_days"] <= 107
    crest, rump = case.pose.positions[0], case.pose.positions[9]
    assert truth["crl_mm"] == pytest.approx(np.linalg.norm(crest - rump), abs=1e-3)
    assert set(truth["bones_mm"]) == {"left_femur", "right_femur", "left_humerus", "right_humerus"}
    assert len(truth["joint_angles_deg"]) == 8 and len(truth["orientation_xyzw"]) == 4
    assert (truth["seed"], truth["index"]) == (11, 2)
    assert truth["style"] in STYLES


def test_orientations_differ_between_cases() -> None:
    extent = nominal_extent(*FULL)
    heads = []
    for index in range(12):
        marks = sample_geometry(4, index, extent).landmarks
        up = marks[0] - marks[9]
        heads.append(up / np.linalg.norm(up))
    assert np.linalg.norm(np.mean(heads, axis=0)) < 0.6
    assert (np.abs(heads).mean(axis=0) > 0.2).all()


def test_an_asked_for_style_or_mix_or_age_is_used() -> None:
    assert simulate_case(3, 0, SHAPE, SPACING, style="B").truth["style"] == "B"
    held_out = simulate_case(3, 0, SHAPE, SPACING, style=HELD_OUT_MIX, gestational_age_days=80.0)
    assert "+" in held_out.truth["style"]
    assert held_out.truth["gestational_age_days"] == 80.0
    with pytest.raises(InputError, match="style"):
        simulate_case(3, 0, SHAPE, SPACING, style="Z")


def test_a_uterus_without_a_fetus_has_no_landmarks() -> None:
    empty = simulate_case(11, 2, SHAPE, SPACING, scene=SceneOptions("empty"))
    assert not empty.pose.present.any()
    assert empty.truth["fetus_present"] is False
    assert empty.volume.array.std() > 5


def test_the_world_of_earlier_versions_is_still_there() -> None:
    before, today = (sample_geometry(31, 0, nominal_extent(*FULL), scene=SceneOptions(anatomy=a)) for a in
                     ("2026-1", "2026-2"))  # fmt: skip
    # as it was before there was a choice
    assert before.landmarks.sum() == pytest.approx(1662.902997457555, abs=1e-6)
    assert not np.allclose(before.landmarks, today.landmarks)


def test_other_scenes_are_without_a_fetus() -> None:
    for shows in ("head", "organs", "spine", "tissue"):
        geometry = sample_geometry(11, 1, nominal_extent(*FULL), scene=SceneOptions(shows))
        assert np.isnan(geometry.landmarks).all() and geometry.truth["fetus_present"] is False
        assert geometry.truth["shows"] == shows
        labels = build_tissue_map(geometry, SHAPE, SPACING).numpy()
        assert (int(Tissue.CHOROID) in labels) == (shows == "head")
        assert len(np.unique(labels)) >= 2
        assert int(Tissue.CORD) not in labels
    with pytest.raises(InputError, match="no scene"):
        SceneOptions("cat")


def test_a_part_of_a_fetus_has_only_the_landmarks_in_view() -> None:
    extent = nominal_extent(*FULL)
    for index in range(3):
        marks = sample_geometry(11, index, extent, scene=SceneOptions("partial")).landmarks
        present = np.isfinite(marks).all(axis=1)
        assert 4 <= (~present).sum() <= 19
        assert (np.abs(marks[present]) <= extent / 2).all()


@pytest.mark.parametrize("renderer", ["physics", "second", "labels"])
@pytest.mark.parametrize("shows", ["partial", "clinging", "head"])
def test_what_is_not_seen_is_no_number_in_the_record(shows: str, renderer: str, tmp_path: Path) -> None:
    case = simulate_case(11, 0, SHAPE, SPACING, scene=SceneOptions(shows), renderer=renderer)
    *_, record = write_case(tmp_path, case, 0)
    truth = json.loads(record.read_text(), parse_constant=pytest.fail)
    ends = case.pose.positions[list(default_schema().crl_rows)]
    if renderer == "second" and shows != "head":
        seen = bool(np.isfinite(ends).all())
        assert seen == (shows == "clinging")
        assert truth["crl_mm"] == (pytest.approx(np.linalg.norm(ends[0] - ends[1]), abs=1e-3) if seen else None)


def test_twins_lie_apart_in_sacs_of_their_own() -> None:
    one, twins = (sample_geometry(11, 1, nominal_extent(*FULL), scene=SceneOptions(s)) for s in ("fetus", "twins"))
    np.testing.assert_array_equal(one.landmarks, twins.landmarks)
    other = np.array(twins.truth["twin_landmarks_mm"])
    assert other.shape == (22, 3)
    assert np.linalg.norm(other[:, None] - twins.landmarks, axis=2).min() > 1.0
    labels = [build_tissue_map(geometry, SHAPE, SPACING).numpy() for geometry in (one, twins)]
    assert (labels[1] == int(Tissue.BRAIN)).sum() >= (labels[0] == int(Tissue.BRAIN)).sum()


def test_some_sacs_cling_to_the_body() -> None:
    geometries = [sample_geometry(4, index, nominal_extent(*FULL)) for index in range(8)]
    clinging = [bool(len(geometry.surroundings.body)) for geometry in geometries]
    assert any(clinging) and not all(clinging)
    geometry = geometries[clinging.index(True)]
    loose = replace(geometry, surroundings=replace(geometry.surroundings, body=np.zeros((0, 3))))
    fluid = [int((build_tissue_map(g, SHAPE, SPACING) == int(Tissue.FLUID)).sum()) for g in (geometry, loose)]
    assert fluid[0] < 0.9 * fluid[1]


def test_a_sac_that_clings_closely_leaves_hardly_any_fluid_and_the_record_says_so() -> None:
    extent = nominal_extent(*FULL)
    usual, close = (sample_geometry(11, 2, extent, scene=SceneOptions(shows)) for shows in ("fetus", "clinging"))
    np.testing.assert_array_equal(usual.landmarks, close.landmarks)
    fluid = [int((build_tissue_map(one, SHAPE, SPACING) == int(Tissue.FLUID)).sum()) for one in (close, usual)]
    assert fluid[0] < 0.5 * fluid[1]
    assert 1.0 <= close.truth["sac_distance_mm"] <= 3.5 and close.truth["shows"] == "clinging"
    assert "sac_distance_mm" not in usual.truth


def test_annotated_landmarks_are_near_the_true_ones_and_say_so() -> None:
    true, set_by_hand = (
        sample_geometry(11, 1, nominal_extent(*FULL), scene=SceneOptions(annotated=a)) for a in (False, True)
    )
    apart = np.linalg.norm(true.landmarks - set_by_hand.landmarks, axis=1)
    assert 0.2 < apart.mean() < 2.5
    assert set_by_hand.truth["annotation"]["hand_mm"] == 0.7 and "annotation" not in true.truth


def test_a_volume_too_small_for_the_fetus_is_refused_clearly() -> None:
    with pytest.raises(InputError, match="does not fit"):
        sample_geometry(1, 0, np.array([30.0, 30.0, 30.0]), gestational_age_days=100.0)


def test_the_three_files_of_a_case(case: SimulatedCase, tmp_path: Path) -> None:
    folder = tmp_path / "cases with space ü"
    image, markups, truth = write_case(folder, case, 7)
    assert [path.name for path in (image, markups, truth)] == ["case-0007.nrrd", "case-0007.mrk.json", "case-0007.json"]
    np.testing.assert_array_equal(read_volume(image).array, case.volume.array)
    np.testing.assert_allclose(read_volume(image).ijk_to_ras, case.volume.ijk_to_ras, atol=1e-6)
    np.testing.assert_allclose(read_markups(markups).positions, case.pose.positions, atol=1e-3)
    assert json.loads(truth.read_text(encoding="utf-8"))["crl_mm"] == case.truth["crl_mm"]
    with pytest.raises(OutputError):
        write_case(folder, case, 7, overwrite=False)


def test_a_sequence_moves_one_body_smoothly(case: SimulatedCase) -> None:
    frames = simulate_sequence(11, 2, 3, SHAPE, SPACING)
    poses = np.array([frame.pose.positions for frame in frames])
    np.testing.assert_allclose(poses[0], case.pose.positions)
    np.testing.assert_array_equal(frames[0].volume.array, case.volume.array)
    moved = np.linalg.norm(poses[-1] - poses[0], axis=1)
    steps = np.linalg.norm(np.diff(poses, axis=0), axis=2)
    assert moved.max() > 1.0
    assert steps.max() < 0.8 * moved.max() + 1.0
    shafts = [frame.truth["bones_mm"]["left_femur"]["diaphysis"] for frame in frames]
    assert shafts == [case.truth["bones_mm"]["left_femur"]["diaphysis"]] * 3
    lengths = np.linalg.norm(poses[:, 17] - poses[:, 16], axis=1)
    # the warp of the body stretches a limb a little differently in each posture
    np.testing.assert_allclose(lengths, lengths[0], rtol=0.03)
    with pytest.raises(InputError):
        simulate_sequence(11, 2, 0, SHAPE, SPACING)
