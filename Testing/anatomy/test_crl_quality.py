"""The criteria of a crown-rump image: judged where there is a ground, and only there."""

from __future__ import annotations

import math

import numpy as np
import pytest
from anatomy.bodies import standing_body

from FetusMapV2Lib.anatomy.crl_quality import CrlView, cranial_dorsal_hip_deg, crl_quality
from FetusMapV2Lib.anatomy.plausibility import Check
from FetusMapV2Lib.anatomy.pose import Pose

WHOLE = CrlView(crown_inside_mm=9.0, rump_inside_mm=7.0, field_mm=80.0, chin_chest_mm=6.0, chin_chest_grey=0.2)


def pose(positions: np.ndarray | None = None, confidence: float = 0.9, radius: float = 1.5) -> Pose:
    positions = standing_body() if positions is None else positions
    return Pose(positions, np.full(22, confidence), np.full(22, radius))


def judged(one: Pose, view: CrlView | None = WHOLE) -> dict[str, Check]:
    return {check.key.removeprefix("crl_"): check for check in crl_quality(one, view)}


def test_a_good_image_passes_each_criterion_that_has_a_ground() -> None:
    found = judged(pose())
    fine = {key for key, check in found.items() if check.verdict == "fine"}
    assert fine == {"midsagittal", "crown_in_field", "rump_in_field", "ends_seen", "size"}
    assert {key for key in found if found[key].verdict == "unknown"} == {
        "cranial_dorsal_hip",
        "beam_angle",
        "chin_fluid",
    }
    for check in found.values():
        assert check.source and check.remark and check.remark.startswith("not judged") == (check.verdict == "unknown")
    assert found["chin_fluid"].value == pytest.approx(20) and "6.0 mm" in found["chin_fluid"].remark


def test_a_bent_midline_is_no_plane_where_the_landmarks_are_sure() -> None:
    bent = standing_body()
    bent[:6, 0] += [3, -3, 3, -3, 3, -3]
    assert judged(pose(bent, radius=1.0))["midsagittal"].verdict == "flagged"
    assert judged(pose(bent, radius=6.0))["midsagittal"].verdict == "fine"
    assert judged(Pose(bent))["midsagittal"].verdict == "unknown"


def test_the_limit_of_the_plane_holds_for_19_of_20_poses() -> None:
    rng, radius = np.random.default_rng(5), 1.5
    sd = radius / 2.5003  # 90 % of an isotropic Gaussian in space lies within 2.5 standard deviations
    bodies = standing_body() + rng.normal(0, sd, (400, 22, 3))
    passed = np.mean([judged(pose(body, radius=radius))["midsagittal"].verdict == "fine" for body in bodies])
    assert passed == pytest.approx(0.95, abs=0.035)


def test_the_angle_is_that_of_crown_spine_and_rump() -> None:
    points = np.array([[0.0, 0, 1], [0, 0, 0], [0, 1, 0]])
    assert cranial_dorsal_hip_deg(points, (0, 1, 2)) == pytest.approx(90)
    assert math.isnan(cranial_dorsal_hip_deg(points * [[1], [1], [np.nan]], (0, 1, 2)))
    found = judged(pose())["cranial_dorsal_hip"]
    body = standing_body()
    assert found.value == pytest.approx(cranial_dorsal_hip_deg(body, (0, 6, 9)))
    rng = np.random.default_rng(2)
    moved = body + rng.normal(0, 1.5 / 2.5003, (2000, 22, 3))
    scatter = np.std([cranial_dorsal_hip_deg(one, (0, 6, 9)) for one in moved])
    assert found.uncertainty == pytest.approx(1.645 * scatter, rel=0.1)


@pytest.mark.parametrize(("inside", "verdict"), [(2.0, "fine"), (1.0, "borderline"), (-0.1, "flagged")])
def test_an_end_must_lie_in_the_field_with_its_radius(inside: float, verdict: str) -> None:
    found = judged(pose(), CrlView(crown_inside_mm=inside, rump_inside_mm=5.0))
    assert (found["crown_in_field"].verdict, found["rump_in_field"].verdict) == (verdict, "fine")


def test_a_doubtful_end_and_a_small_image_are_flagged() -> None:
    found = judged(pose(confidence=0.4), CrlView(field_mm=200.0))
    assert found["ends_seen"].verdict == "flagged" and found["ends_seen"].value == pytest.approx(40)
    assert found["size"].verdict == "flagged" and found["size"].value < 30


def test_without_volume_confidence_and_landmarks_nothing_is_judged() -> None:
    assert {check.verdict for check in crl_quality(Pose(np.full((22, 3), np.nan)))} == {"unknown"}
    assert all(math.isnan(check.value) for check in crl_quality(Pose(np.full((22, 3), np.nan))))
