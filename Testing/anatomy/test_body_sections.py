"""Sizes of head and abdomen from their ellipses."""

from __future__ import annotations

import math

import numpy as np
import pytest

from FetusMapV2Lib.anatomy.body_sections import BodySection, HeadAndAbdomen
from FetusMapV2Lib.anatomy.ellipse import Ellipse
from FetusMapV2Lib.anatomy.standard_planes import SectionPlane

PLANE = SectionPlane("head", np.zeros(3), *np.eye(3), (9.0, 12.0))
ELLIPSE = Ellipse(0.0, 0.0, 12.0, 9.0, 1.5)


def test_the_head_has_three_sizes_and_the_abdomen_one():
    both = HeadAndAbdomen(BodySection("head", PLANE, ELLIPSE, 0.9), BodySection("abdomen", PLANE, ELLIPSE, 0.9))
    hc, bpd, ofd, ac = both.sizes
    assert [size.key for size in both.sizes] == ["hc", "bpd", "ofd", "ac"]
    assert (bpd.value_mm, ofd.value_mm) == (18.0, 24.0)
    assert hc.value_mm == ac.value_mm == pytest.approx(66.3, abs=0.1)
    assert hc.uncertainty_mm == pytest.approx(0.04 * hc.value_mm)
    assert ac.uncertainty_mm > hc.uncertainty_mm and bpd.uncertainty_mm == pytest.approx(1.8)
    assert "90 %" in hc.note


def test_what_is_not_measured_says_why():
    section = BodySection("abdomen", None, reason="a landmark of the trunk is missing")
    (ac,) = section.sizes
    assert not ac.measured and math.isnan(ac.value_mm) and ac.uncertainty_mm is None
    assert ac.note == "not measured: a landmark of the trunk is missing"
    assert ac.places(90) == ()


def test_an_ellipse_by_hand_says_so_and_has_no_uncertainty():
    section = BodySection("head", PLANE, reason="the edge of the skull is not seen").with_ellipse(ELLIPSE)
    assert section.by_hand and not section.reason
    assert {size.uncertainty_mm for size in section.sizes} == {None}
    assert {size.note for size in section.sizes} == {"ellipse set by hand"}
    both = HeadAndAbdomen(BodySection("head", None), BodySection("abdomen", None)).with_section(section)
    assert both.head is section


def test_sizes_with_a_chart_have_a_place_on_it():
    head = BodySection("head", PLANE, ELLIPSE, 1.0)
    hc, bpd, ofd = head.sizes
    assert [place.chart for place in hc.places(84)] == ["NICHD"]
    assert bpd.places(84)[0].z == pytest.approx(-0.65, abs=0.1)
    assert ofd.places(84) == ()
