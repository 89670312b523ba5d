"""The rows of the measurements table."""

from __future__ import annotations

import numpy as np
from anatomy.bodies import standing_body

from FetusMapV2Lib.anatomy.measurements import measurements
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.presenting import measurement_rows
from FetusMapV2Lib.presenting.measurement_rows import MeasurementRow


def rows(positions: np.ndarray, formula: str = "intergrowth21") -> dict[str, MeasurementRow]:
    """The rows of a pose by their names."""
    return {row.name: row for row in measurement_rows.measurement_rows(measurements(Pose(positions), formula=formula))}


def test_an_age_outside_the_range_of_its_formula_is_doubtful() -> None:
    age = rows(standing_body() / 10)["Age, INTERGROWTH-21st"]
    assert age.doubtful and age.strong
    assert "outside 15–95 mm" in age.remark


def test_a_missing_landmark_leaves_its_values_empty_and_the_others_alone() -> None:
    positions = standing_body()
    positions[9] = np.nan
    found = rows(positions)
    assert found["Crown-rump length"].value == found["Age, Hadlock"].value == "–"
    assert found["Left femur*"].value == rows(standing_body())["Left femur*"].value != "–"


def test_the_selected_formula_comes_first() -> None:
    names = list(rows(standing_body(), "hadlock"))
    assert names[:4] == ["Crown-rump length", "Age, Hadlock", "Age, INTERGROWTH-21st", "Age, Robinson"]


def test_a_value_that_rounds_to_zero_has_no_sign() -> None:
    assert measurement_rows._amount(-0.04, 2.4, "mm") == "0.0 ± 2.4 mm"
    assert measurement_rows._amount(-0.06, None, "mm") == "-0.1 mm"
