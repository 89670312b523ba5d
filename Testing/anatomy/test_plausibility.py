"""The checks of a pose: limits, verdicts with and without uncertainty, words."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from anatomy.bodies import bodies, standing_body

from FetusMapV2Lib.anatomy.biometry import Measurement, neck_flexion_deg, neck_uncertainty_deg
from FetusMapV2Lib.anatomy.laterality import RADIUS90_IN_SD
from FetusMapV2Lib.anatomy.measurements import measurements
from FetusMapV2Lib.anatomy.plausibility import LONGEST_JOINT_TO_SHAFT, Check, check_pose
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.anatomy.shafts import expected_shaft
from FetusMapV2Lib.phantom.sizes import sample_size

CRL, FEMUR, HUMERUS = 68.0, 13.5, 14.0


def checks(neck: float = 0.0, neck_uncertainty: float | None = None, **changes: object) -> dict[str, Check]:
    """The checks of a usual fetus of 13 weeks; `changes` give lengths, or (length, uncertainty), by key."""
    usual = {
        "crl": CRL, "left_femur": FEMUR, "right_femur": FEMUR, "left_humerus": HUMERUS, "right_humerus": HUMERUS,
    } | changes  # fmt: skip
    lengths = []
    for key, given in usual.items():
        value, uncertainty = given if isinstance(given, tuple) else (given, None)
        lengths.append(Measurement(key, key, value, uncertainty, (0, 1), ""))
    return {check.key: check for check in check_pose(lengths, neck, neck_uncertainty)}


def test_a_usual_fetus_is_fine_in_everything():
    found = checks()
    assert len(found) == 7
    assert {check.verdict for check in found.values()} == {"fine"}
    assert not any(check.doubtful for check in found.values())
    assert found["left_femur_for_crl"].remark == "fits the CRL"


def test_unequal_sides_are_flagged_beyond_what_measuring_twice_gives():
    # 1.96 sqrt(2) 10 % of the mean length
    limit = 1.96 * math.sqrt(2) * 0.10 * FEMUR
    for difference, verdict in ((0.95 * limit, "fine"), (1.05 * limit, "flagged")):
        shorter, longer = FEMUR - difference / 2, FEMUR + difference / 2
        found = checks(left_femur=shorter, right_femur=longer)["femur_difference"]
        assert found.value == pytest.approx(-difference)
        assert found.verdict == verdict
        assert found.limits == pytest.approx((-limit, limit), abs=1e-3)
        assert checks(left_femur=longer, right_femur=shorter)["femur_difference"].verdict == verdict
    assert found.remark == "left shorter than right"
    assert "De Biasio" in found.source


def test_a_difference_within_the_radii_is_only_possible():
    found = checks(left_femur=(10.0, 3.0), right_femur=(15.0, 4.0))["femur_difference"]
    assert found.uncertainty == pytest.approx(5.0)
    assert found.verdict == "borderline" and found.doubtful
    assert found.remark == "possibly left shorter than right"
    sure = checks(left_femur=(10.0, 0.3), right_femur=(15.0, 0.4))["femur_difference"]
    assert sure.verdict == "flagged"
    # a point set by hand has no radius: nothing softens the verdict
    assert checks(left_femur=10.0, right_femur=(15.0, 4.0))["femur_difference"].verdict == "flagged"


def test_bones_are_held_against_the_chart_at_this_crl():
    shaft = expected_shaft("femur", CRL)
    low = shaft.mean_mm - 1.645 * shaft.sd_mm
    high = (shaft.mean_mm + 1.645 * shaft.sd_mm) * LONGEST_JOINT_TO_SHAFT
    for length, verdict, remark in (
        (low - 0.1, "flagged", "short for the CRL"),
        (low + 0.1, "fine", "fits the CRL"),
        (high - 0.1, "fine", "fits the CRL"),
        (high + 0.1, "flagged", "long for the CRL"),
    ):
        found = checks(left_femur=length)["left_femur_for_crl"]
        assert (found.verdict, found.remark) == (verdict, remark)
        assert found.limits == pytest.approx((low, high), abs=1e-3)
    assert "Chen" in found.source and "our own" in found.source


def test_the_limits_of_a_bone_are_centiles_of_the_chart():
    shaft = expected_shaft("humerus", CRL)
    assert shaft is not None
    found = checks(left_humerus=(15.0, 1.5), crl=(CRL, 3.0))["left_humerus_for_crl"]
    low, high = (shaft.mean_mm + z * 1.6448536 * shaft.sd_mm for z in (-1, 1))
    assert found.limits == pytest.approx((low, 1.4 * high))
    moved = [abs(expected_shaft("humerus", crl).mean_mm - shaft.mean_mm) for crl in (CRL - 3.0, CRL + 3.0)]
    assert found.uncertainty == pytest.approx(math.hypot(1.5, max(moved)))
    assert min(moved) < max(moved)
    beyond = checks(left_humerus=(15.0, 1.5), crl=(CRL, 60.0))["left_humerus_for_crl"]
    assert beyond.uncertainty == 1.5, "the chart covers neither end of the interval"


@pytest.mark.parametrize(
    ("value", "uncertainty", "verdict"),
    [
        (-15.0, None, "fine"), (40.0, None, "fine"), (-15.1, None, "flagged"), (40.1, None, "flagged"),
        (-15.1, 0.2, "borderline"), (40.3, 0.2, "flagged"), (41.0, 1.0, "borderline"), (math.nan, 1.0, "unknown"),
    ],
)  # fmt: skip
def test_verdicts_at_the_limits(value, uncertainty, verdict):
    assert checks(value, uncertainty)["neck_posture"].verdict == verdict


def test_an_uncertain_crl_makes_the_expected_bone_uncertain():
    sure = checks(left_femur=(FEMUR, 1.0), crl=(CRL, 0.0))["left_femur_for_crl"]
    unsure = checks(left_femur=(FEMUR, 1.0), crl=(CRL, 5.0))["left_femur_for_crl"]
    assert sure.uncertainty == pytest.approx(1.0)
    shift = expected_shaft("femur", CRL + 5).mean_mm - expected_shaft("femur", CRL).mean_mm
    assert unsure.uncertainty == pytest.approx(math.hypot(1.0, shift), rel=0.05)


def test_what_cannot_be_checked_says_why():
    small = checks(crl=40.0)["left_femur_for_crl"]
    assert small.verdict == "unknown" and not small.doubtful
    assert small.remark == "not checked: the chart does not cover this CRL"
    missing = checks(left_femur=math.nan)
    assert missing["left_femur_for_crl"].remark == "not checked: a landmark is missing"
    assert missing["femur_difference"].remark == "not checked: a side is missing"
    assert missing["right_femur_for_crl"].verdict == "fine"
    assert checks(crl=math.nan)["left_femur_for_crl"].remark == "not checked: a landmark is missing"
    assert checks(neck=math.nan)["neck_posture"].verdict == "unknown"


@pytest.mark.parametrize(
    ("angle", "uncertainty", "verdict", "remark"),
    [
        (10.0, None, "fine", "neutral"),
        (55.0, None, "flagged", "flexed: the CRL may be short"),
        (55.0, 20.0, "borderline", "possibly flexed: the CRL may be short"),
        (55.0, 5.0, "flagged", "flexed: the CRL may be short"),
        (-30.0, 5.0, "flagged", "extended: the CRL may be long"),
    ],
)
def test_the_posture_of_the_neck(angle, uncertainty, verdict, remark):
    found = checks(angle, uncertainty)["neck_posture"]
    assert (found.verdict, found.remark) == (verdict, remark)


def test_the_neck_uncertainty_covers_90_percent_of_simulated_errors():
    body, rng = standing_body(), np.random.default_rng(1)
    radii = np.linspace(0.5, 1.5, 22)
    half = neck_uncertainty_deg(Pose(body, radius90_mm=radii))
    noise = rng.normal(size=(4000, 22, 3)) * (radii / RADIUS90_IN_SD)[None, :, None]
    errors = np.array([neck_flexion_deg(body + one, default_schema()) for one in noise]) - neck_flexion_deg(
        body, default_schema()
    )
    assert (np.abs(errors) <= half).mean() == pytest.approx(0.9, abs=0.02)


def test_the_neck_uncertainty_is_unknown_where_radii_or_landmarks_are():
    body = standing_body()
    assert neck_uncertainty_deg(Pose(body)) is None
    radii = np.ones(22)
    radii[4] = np.nan
    by_hand, by_model = (neck_uncertainty_deg(Pose(body, radius90_mm=one)) for one in (radii, np.ones(22)))
    assert by_hand > by_model, "a point set by hand has the radius of an observer, 1.5 mm"
    body[8] = np.nan
    assert neck_uncertainty_deg(Pose(body, radius90_mm=np.ones(22))) is None


def test_findings_carry_the_checks_and_the_chosen_formula():
    pose = Pose(standing_body() * 1.2, radius90_mm=np.full(22, 2.0))
    found = measurements(pose, formula="hadlock")
    assert found.dating.key == "hadlock"
    assert found.dating is found.datings[3]
    assert found.dating.length_days is not None
    assert [check.key for check in found.checks][-1] == "neck_posture"
    assert found.checks[-1].value == found.neck_flexion_deg
    short = pose.positions.copy()
    short[17] = short[16] + 0.2 * (short[17] - short[16])  # the left knee next to the hip
    doubts = {check.key for check in measurements(replace(pose, positions=short)).doubts}
    assert doubts == {"femur_difference", "left_femur_for_crl"}


def test_bones_of_bodies_after_another_chart_are_not_doubted() -> None:
    """The simulator's femora follow NICHD, which has shorter ones than the chart of the checks at 12 weeks."""
    generator = np.random.default_rng(7001)
    verdicts = []
    for _ in range(100):
        size = sample_size(generator, anatomy="2026-2")
        found = checks(
            crl=size.crl, left_femur=size.femur_joint, right_femur=size.femur_joint,
            left_humerus=size.humerus_joint, right_humerus=size.humerus_joint,
        )  # fmt: skip
        verdicts += [check.verdict for key, check in found.items() if key.endswith("_for_crl")]
    checked = [verdict for verdict in verdicts if verdict != "unknown"]
    assert len(checked) > 200 and checked.count("fine") / len(checked) >= 0.95


def test_where_the_body_lies_does_not_matter():
    quarter_turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    for body in bodies(3, 4):
        before = measurements(Pose(body, radius90_mm=np.full(22, 2.0))).checks
        after = measurements(Pose(body @ quarter_turn.T + [40.0, 2, -9], radius90_mm=np.full(22, 2.0))).checks
        for one, other in zip(before, after, strict=True):
            assert one.verdict == other.verdict
            assert one.value == pytest.approx(other.value, abs=1e-6)
            assert one.uncertainty == pytest.approx(other.uncertainty, abs=1e-4)
