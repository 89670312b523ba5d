"""Texts about an estimate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from anatomy.bodies import standing_body

from FetusMapV2Lib.anatomy.laterality import Laterality
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.estimation.estimate import Estimate, Region, TwoRegions
from FetusMapV2Lib.estimation.resource_estimate import ResourceEstimate
from FetusMapV2Lib.presenting.durations import seconds_elsewhere
from FetusMapV2Lib.presenting.estimate_text import detail_rows, resource_text, warnings_text

GPU = ResourceEstimate("cuda:0 (NVIDIA T4)", "a CUDA GPU is available", "stand-in", 2**30, 16 * 2**30, "")


def estimate(arms: float = 0.9) -> Estimate:
    pose = Pose(standing_body(), np.linspace(0.4, 0.99, 22), laterality=Laterality(arms, 0.9, False, False, True))
    return replace(Estimate.given(pose, "model 1"), warnings=("The spacing is 1 mm.",))


@pytest.mark.parametrize(
    ("resources", "usual", "text"),
    [
        (
            GPU,
            200.0,
            "Runs on cuda:0 (NVIDIA T4): a CUDA GPU is available. Takes about 3 min. Memory: about 1.0 of 16.0 GiB.",
        ),
        (
            replace(GPU, device="cpu", device_reason="as requested", device_bytes=None),
            None,
            "Runs on the processor (CPU): as requested. The duration is known after the first estimate. "
            "Memory: about 1.0 GiB.",
        ),
    ],
)
def test_resources_in_one_line(resources: ResourceEstimate, usual: float | None, text: str) -> None:
    assert resource_text(resources, usual) == text


def test_the_first_estimate_is_told_the_time_of_another_computer() -> None:
    line = resource_text(GPU, None, seconds_elsewhere(GPU.device, "full"))
    assert "Took about 1 s on another computer." in line and "known" not in line
    assert "Takes about 3 min." in resource_text(GPU, 200.0, 1.0)
    assert seconds_elsewhere("mps", "off") is None


def test_uncertain_sides_are_a_warning() -> None:
    assert warnings_text(estimate()) == "The spacing is 1 mm."
    assert warnings_text(estimate(arms=0.4)).splitlines()[1].startswith("Left and right are uncertain")


def test_details_name_the_least_certain_landmarks_and_leave_out_what_is_unknown() -> None:
    rows = dict(detail_rows(estimate().pose, None, ""))
    assert rows["Landmarks"] == "22 of 22"
    assert rows["Least certain"].startswith("Cranial crest 40%, ")
    assert set(rows) == {"Landmarks", "Least certain", "Sides"}
    assert dict(detail_rows(estimate().pose, estimate(), ""))["Fetus"] == "found"
    assert {"Model", "Device", "Time"} <= set(dict(detail_rows(estimate().pose, estimate(), "model 1")))


def test_details_name_the_landmarks_with_two_places() -> None:
    two = TwoRegions(12, Region(np.zeros(3), 0.6, 4.0), Region(np.array([0.0, 5.0, 12.0]), 0.3, 5.0))
    known = replace(estimate(), two_regions=(two,))
    assert dict(detail_rows(known.pose, known, ""))["Two places"] == "Left wrist: perhaps 13 mm away"
    assert "Two places" not in dict(detail_rows(known.pose, None, ""))


def test_the_details_of_a_doubtful_pose_say_why_first() -> None:
    doubtful = replace(estimate(), pose=replace(estimate().pose, doubt="It is doubtful."))
    assert detail_rows(doubtful.pose, doubtful, "")[0] == ("Fetus", "doubtful: It is doubtful.")
