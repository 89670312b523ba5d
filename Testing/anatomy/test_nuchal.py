"""Nuchal translucency: the largest try, the lengths that it is made for, the cut-off, and the magnified view."""

from __future__ import annotations

import math

import numpy as np
import pytest
from anatomy.bodies import standing_body

from FetusMapV2Lib.anatomy.nuchal import Nuchal, first_callipers, nuchal_of, nuchal_view, refusal
from FetusMapV2Lib.anatomy.planes import fetal_axes
from FetusMapV2Lib.anatomy.pose import Pose


def callipers(millimetres: float) -> np.ndarray:
    return np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0 + millimetres]])


def test_the_largest_of_the_tries_is_recorded():
    found = nuchal_of([callipers(1.2), callipers(1.64), callipers(0.9)], 60.0)
    assert found is not None and found.value_mm == pytest.approx(1.64)
    assert found.size.note.startswith("callipers set by hand, the largest of 3 tries; below 3.5 mm")
    assert (found.size.key, found.size.uncertainty_mm) == ("nt", None)
    assert nuchal_of([], 60.0) is None


@pytest.mark.parametrize(("crl", "refused"), [(44.94, True), (44.96, False), (84.04, False), (84.06, True)])
def test_lengths_outside_the_range_are_refused_with_a_reason(crl, refused):
    assert (nuchal_of([callipers(1.2)], crl) is None) == refused
    assert bool(refusal(crl)) == refused and (not refused or f"{crl:.1f} mm; it must be 45 to 84 mm" in refusal(crl))
    assert "unknown" in refusal(math.nan)


def test_the_cut_off_counts_at_one_decimal():
    assert not Nuchal((3.44,)).is_above and Nuchal((3.46, 1.0)).is_above
    assert "one try; at or above 3.5 mm" in Nuchal((3.5,)).note


@pytest.mark.parametrize("aspect", [0.5, 2.0])
def test_head_and_upper_thorax_fill_three_quarters_of_the_midsagittal_view(aspect):
    pose = Pose(standing_body())
    cut = nuchal_view(pose, aspect)
    rows = [pose.schema.index(key) for key in ("cranial_crest", "forehead", "nasal_tip", "chin", "hind_neck")]
    rows.append(pose.schema.index("upper_thoracic_spine"))
    offsets = pose.positions[rows] - cut.centre
    across, along = offsets @ cut.right, offsets @ cut.up
    width, height = cut.height_mm * aspect, cut.height_mm
    filled = max((np.ptp(across) + 6) / width, (np.ptp(along) + 6) / height)
    assert filled == pytest.approx(0.75)
    plane = pose.midsagittal_plane
    assert np.cross(cut.right, cut.up) == pytest.approx(
        fetal_axes(plane).left * np.sign(np.cross(cut.right, cut.up) @ plane.normal)
    )
    assert (cut.centre - plane.origin) @ plane.normal == pytest.approx(0, abs=1e-9)


def test_callipers_start_behind_the_neck_in_the_plane_and_without_it_nowhere():
    pose = Pose(standing_body())
    places, plane = first_callipers(pose), pose.midsagittal_plane
    assert (places - plane.origin) @ plane.normal == pytest.approx(np.zeros(2), abs=1e-9)
    assert (places[1] - places[0]) @ fetal_axes(plane).dorsal == pytest.approx(4.0)
    positions = pose.positions.copy()
    positions[pose.schema.index("hind_neck")] = np.nan
    assert first_callipers(pose.with_positions(positions)) is None
    assert nuchal_view(pose.with_positions(np.full_like(positions, np.nan)), 1.0) is None
