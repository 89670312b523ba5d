"""The simulated body: its size against the tables, its posture within the ranges, nothing cutting anything."""

from __future__ import annotations

import numpy as np
import pytest
from phantom.fetuses import sample_fetus

from FetusMapV2Lib.anatomy.laterality import resolve_sides
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.phantom.collisions import body_clearance, limb_balls, limb_clearance
from FetusMapV2Lib.phantom.fetus import Fetus, make_fetus
from FetusMapV2Lib.phantom.joints import (
    ARM_RANGES,
    BODY_RANGES,
    LEG_RANGES,
    NEUTRAL_BODY,
    SIDES,
    arm_joints,
    interior_angle,
    leg_joints,
)
from FetusMapV2Lib.phantom.postures import FREE_ROOT, limb_gaps
from FetusMapV2Lib.phantom.sizes import EARLIEST_DAYS, LATEST_DAYS, sample_size, table

SCHEMA = default_schema()


@pytest.fixture(scope="module")
def fetuses() -> list[Fetus]:
    return [sample_fetus(np.random.default_rng(seed)) for seed in range(40)]


def at(fetus: Fetus, key: str) -> np.ndarray:
    return fetus.pose[SCHEMA.index(key)]


def test_the_crown_rump_length_follows_intergrowth_at_every_age(fetuses: list[Fetus]) -> None:
    for fetus in fetuses:
        mean, sd = table("crl", fetus.size.days)
        assert abs(fetus.size.crl - mean) <= 2.01 * sd
        # A bent or twisted body is shorter from crown to rump than the same body in the neutral posture.
        assert 0.80 * fetus.size.crl < fetus.truth["crl_mm"] < 1.06 * fetus.size.crl
    assert {int(fetus.size.days // 7) for fetus in fetuses} >= {10, 11, 12, 13, 14}
    assert all(EARLIEST_DAYS <= fetus.size.days <= LATEST_DAYS for fetus in fetuses)


def test_the_neutral_posture_has_exactly_the_drawn_crown_rump_length(fetuses: list[Fetus]) -> None:
    fetus = fetuses[0]
    neutral = make_fetus(fetus.size, {**fetus.posture, **NEUTRAL_BODY}, np.random.default_rng(0))
    assert neutral.truth["crl_mm"] == pytest.approx(fetus.size.crl, abs=0.05)


@pytest.mark.parametrize(
    ("key", "week", "expected"),
    [("bpd", 11, 16), ("bpd", 14, 28), ("ofd", 12, 24), ("ofd", 15, 38), ("femur", 12, 9.15), ("humerus", 13, 12.01)],
)
def test_tables_pass_through_published_values(key: str, week: int, expected: float) -> None:
    mean, sd = table(key, week * 7.0, "2026-1")
    assert abs(mean - expected) < max(0.5 * sd, 0.6)


#: NICHD: mean of four maternal groups' 5th and 95th centile.
@pytest.mark.parametrize(
    ("key", "week", "low", "high"),
    [
        ("ac", 10, 31.3, 41.2),
        ("ac", 15, 80.6, 101.4),
        ("bpd", 12, 16.7, 21.7),
        ("femur", 10, 1.7, 3.1),
        ("femur", 12, 4.9, 8.2),
        ("femur", 15, 12.9, 19.8),
    ],
)
def test_the_sizes_of_today_are_in_the_middle_of_their_published_range(key, week, low, high) -> None:
    mean, _ = table(key, week * 7.0)
    assert abs(mean - (low + high) / 2) < 0.15 * (high - low)


def test_the_head_has_the_circumference_of_its_age() -> None:
    for week, expected in ((10, 46.1), (12, 71.1), (15, 111.1)):
        bpd, ofd = table("bpd", week * 7.0)[0], table("ofd", week * 7.0)[0]
        assert np.pi * (bpd + ofd) / 2 == pytest.approx(expected, rel=0.02)


def test_bones_lie_within_their_spread_and_joints_are_farther_apart_than_shafts_are_long(fetuses: list[Fetus]) -> None:
    for fetus in fetuses:
        for bone, ends in (("femur", ("hip", "knee")), ("humerus", ("shoulder", "elbow"))):
            mean, sd = table(bone, fetus.size.days)
            for side in SIDES:
                record = fetus.truth["bones_mm"][f"{side}_{bone}"]
                apart = np.linalg.norm(at(fetus, f"{side}_{ends[0]}") - at(fetus, f"{side}_{ends[1]}"))
                assert apart == pytest.approx(record["joint_to_joint"], abs=1e-3)
                assert abs(record["diaphysis"] - mean) <= 2.3 * sd
                assert 1.08 < record["joint_to_joint"] / record["diaphysis"] < 2.4


def test_forearm_and_shank_have_the_ratios_of_real_fetuses(fetuses: list[Fetus]) -> None:
    for fetus in fetuses:
        assert 0.86 < fetus.size.tibia_joint / fetus.size.femur_joint < 1.0
        assert 0.85 < fetus.size.forearm_joint / fetus.size.humerus_joint < 1.0


def test_the_drawn_angles_are_those_of_the_landmarks_and_within_the_ranges(fetuses: list[Fetus]) -> None:
    limits = dict(BODY_RANGES)
    for side in SIDES:
        limits.update({f"{side}_{name}": limit for name, limit in {**ARM_RANGES, **LEG_RANGES}.items()})
    for fetus in fetuses:
        assert fetus.posture.keys() == limits.keys()
        for name, value in fetus.posture.items():
            assert limits[name][0] <= value <= limits[name][3], name
        for side in SIDES:
            for joint, (first, last) in {"elbow": ("shoulder", "wrist"), "knee": ("hip", "ankle")}.items():
                seen = interior_angle(
                    at(fetus, f"{side}_{first}"), at(fetus, f"{side}_{joint}"), at(fetus, f"{side}_{last}")
                )
                assert seen == pytest.approx(fetus.posture[f"{side}_{joint}"], abs=1e-6)


def test_postures_are_varied(fetuses: list[Fetus]) -> None:
    knees = [fetus.posture[f"{side}_knee"] for fetus in fetuses for side in SIDES]
    trunks = [fetus.posture["trunk_flexion"] for fetus in fetuses]
    assert np.percentile(knees, 90) - np.percentile(knees, 10) > 50
    assert min(trunks) < 20 and max(trunks) > 75
    crossed = [
        (at(f, "left_ankle") - at(f, "right_ankle")) @ (at(f, "left_hip") - at(f, "right_hip")) < 0 for f in fetuses
    ]
    assert 0.05 < np.mean(crossed) < 0.6


def test_no_limb_cuts_trunk_head_or_another_limb(fetuses: list[Fetus]) -> None:
    for fetus in fetuses:
        assert limb_gaps(fetus.skeleton, fetus.limbs) > 0.0


def test_a_hand_put_into_the_head_is_noticed(fetuses: list[Fetus]) -> None:
    fetus = fetuses[1]
    arm = fetus.limbs[0]
    joints = arm.joints.copy()
    joints[2:] = fetus.skeleton.cranium.centre
    centres, radii = limb_balls(joints, arm.radii)
    assert body_clearance(centres, radii, [fetus.skeleton.cranium], FREE_ROOT["arm"]) < -1.0
    leg_balls = limb_balls(fetus.limbs[2].joints, fetus.limbs[2].radii)
    assert limb_clearance(*leg_balls, *leg_balls) < 0.0


def test_left_and_right_are_not_mirrored(fetuses: list[Fetus]) -> None:
    for fetus in fetuses:
        resolved, laterality = resolve_sides(fetus.pose, SCHEMA)
        np.testing.assert_allclose(resolved, fetus.pose)
        assert not laterality.arms_swapped and not laterality.legs_swapped
        assert at(fetus, "left_shoulder")[0] > at(fetus, "right_shoulder")[0]


def test_the_limb_chains_are_mirror_images_of_each_other() -> None:
    for ranges, chain in ((ARM_RANGES, arm_joints), (LEG_RANGES, leg_joints)):
        generator = np.random.default_rng(3)
        angles = {name: generator.uniform(low, high, 20) for name, (low, _, _, high) in ranges.items()}
        left, left_bend = chain(angles, 1, 10.0, 9.0, 6.0)
        right, right_bend = chain(angles, -1, 10.0, 9.0, 6.0)
        mirror = np.array([-1.0, 1.0, 1.0])
        np.testing.assert_allclose(left * mirror, right, atol=1e-6)
        np.testing.assert_allclose(left_bend * mirror, right_bend, atol=1e-6)


def test_a_flexed_knee_brings_the_heel_to_the_buttock_and_not_forward() -> None:
    still = {name: np.array([0.0]) for name in LEG_RANGES} | {"knee": np.array([60.0]), "ankle": np.array([80.0])}
    joints, _ = leg_joints(still, 1, 10.0, 9.0, 6.0)
    assert joints[0, 1, 2] == pytest.approx(-10.0)
    assert joints[0, 2, 1] > 5.0  # posterior
    flexed, _ = leg_joints({**still, "hip_flexion": np.array([90.0])}, 1, 10.0, 9.0, 6.0)
    assert flexed[0, 1, 1] == pytest.approx(-10.0)  # thigh forward
    assert flexed[0, 2, 2] < -5.0  # shank down


def test_an_asked_for_age_is_kept_and_the_same_seed_gives_the_same_size() -> None:
    first, second = (sample_size(np.random.default_rng(5), 84.0) for _ in range(2))
    assert first == second
    assert first.days == 84.0
