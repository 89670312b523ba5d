"""Whole cases: the same seed gives the same case, files say what the case is, a sequence moves smoothly."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from FetusMapV2Lib.core.errors import InputError, OutputError
from FetusMapV2Lib.imaging.markups import read_markups
from FetusMapV2Lib.imaging.reading import read_volume
from FetusMapV2Lib.phantom.motion import simulate_sequence
from FetusMapV2Lib.phantom.placement import nominal_extent
from FetusMapV2Lib.phantom.simulated_case import SimulatedCase, sample_geometry, simulate_case, write_case
from FetusMapV2Lib.phantom.style import HELD_OUT_MIX, STYLES

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
    empty = simulate_case(11, 2, SHAPE, SPACING, fetus_present=False)
    assert not empty.pose.present.any()
    assert empty.truth["fetus_present"] is False
    assert empty.volume.array.std() > 5


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
    assert {json.dumps(frame.truth["bones_mm"]) for frame in frames} == {json.dumps(case.truth["bones_mm"])}
    lengths = np.linalg.norm(poses[:, 17] - poses[:, 16], axis=1)
    np.testing.assert_allclose(lengths, lengths[0], rtol=1e-6)
    with pytest.raises(InputError):
        simulate_sequence(11, 2, 0, SHAPE, SPACING)
