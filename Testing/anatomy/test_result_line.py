"""The one line of a result: its parts, its grade and its sign, in English and translated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from reporting.samples import pose

from FetusMapV2Lib.anatomy.measurements import measurements
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.result_line import SIGNS, ResultLine, result_line


def line(of: Pose) -> ResultLine:
    return result_line(of, measurements(of))


def test_length_age_posture_and_landmarks_are_told() -> None:
    found = measurements(pose())
    shown = line(pose())
    assert shown.crl == f"CRL {found.crl.value_mm:.1f} ± {found.crl.uncertainty_mm:.1f} mm"
    assert shown.age == f"{found.dating.weeks_text} (± {found.dating.combined_days:.0f} d)"
    assert shown.text == f"{shown.crl} · {shown.age} · neutral · all landmarks clear"
    assert (shown.grade, shown.sign) == ("fine", "✓")


def test_doubtful_and_missing_landmarks_are_counted_and_ask_for_a_look() -> None:
    confidence = np.full(22, 0.9)
    confidence[[3, 7]] = 0.3
    shown = line(replace(pose(12), confidence=np.where(np.arange(22) == 12, np.nan, confidence)))
    assert shown.landmarks == "2 doubtful, 1 missing" and shown.grade == "review"


def test_a_doubtful_fetus_outweighs_everything() -> None:
    shown = line(replace(pose(), doubt="A score of 0.7."))
    assert shown.landmarks == "fetus doubtful" and shown.grade == "doubtful"
    assert len(set(SIGNS.values())) == 3


def test_without_a_length_there_is_no_age() -> None:
    shown = line(pose(0))
    assert shown.crl == "CRL missing" and shown.age == "" and shown.text.startswith("CRL missing · ")


def test_a_flexed_neck_is_named() -> None:
    bent = pose().positions.copy()
    face = pose().schema.face_rows
    bent[face[1]] = bent[face[0]] + [0.0, -8.0, -1.0]
    shown = line(pose().with_positions(bent))
    assert "neck" in shown.posture and shown.grade == "review"


def test_every_text_is_translated() -> None:
    shown = result_line(pose(), measurements(pose()), translate=lambda text: f"<{text}>")
    assert shown.text.count("<") == 4
