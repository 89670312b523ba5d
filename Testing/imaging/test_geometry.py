"""The one policy for geometry: read, read with a warning that names both values, or refused."""

from __future__ import annotations

import numpy as np
import pytest
from imaging.samples import oblique

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging import geometry


def settled(first, second, **options):
    return geometry.reconcile("the voxel size", (first, "by its sform"), (second, "by its pixdim"), **options)


@pytest.mark.parametrize(
    ("first", "second", "value"),
    [
        ((0.5, 0.6, 0.7), (0.5, 0.6, 0.70001), (0.5, 0.6, 0.7)),
        (None, 0.5, 0.5),
        (0.5, None, 0.5),
        (float("nan"), None, None),
        (0.0, -1.0, None),
        ("none", None, None),
        ([], 0.5, 0.5),
        (None, None, None),
    ],
)
def test_one_statement_or_two_that_agree_need_no_warning(first, second, value):
    found, warnings = settled(first, second)
    assert warnings == []
    assert found is None if value is None else found == pytest.approx(np.atleast_1d(value))


@pytest.mark.parametrize(
    ("first", "second", "value"),
    [(1.2, 0.6, 1.2), (np.nan, 0.6, 0.6), (-0.8, 0.6, 0.6), (0.8, 0.0, 0.8), (np.inf, 0.6, 0.6), ("1e999", 0.6, 0.6)],
)
def test_two_statements_that_differ_are_both_named(first, second, value):
    found, (line,) = settled(first, second)
    assert found == pytest.approx([value])
    named = "by its sform" if value == first else "by its pixdim"
    assert f"the one {named} was used" in line
    assert f"{float(first):.4g} mm by its sform" in line and f"{float(second):.4g} mm by its pixdim" in line


def test_numbers_of_any_sign_where_they_may_be():
    assert settled(-3.0, -3.0, positive=False) == (pytest.approx([-3.0]), [])
    assert len(settled(-3.0, 3.0, positive=False)[1]) == 1


def test_parts_of_a_volume_that_differ_are_refused():
    geometry.check_equal("the pixel size", [(0.5, 0.5), (0.5, 0.50001)], "v.dcm")
    with pytest.raises(InputError, match=r"v\.dcm: the pixel size differs.*0\.5 x 0\.5 and 0\.5 x 0\.6 mm"):
        geometry.check_equal("the pixel size", [(0.5, 0.5), (0.5, 0.6)], "v.dcm")
    with pytest.raises(InputError, match="differs"):
        geometry.check_equal("the pixel size", [0.5, np.nan], "v.dcm")


@pytest.mark.parametrize(
    "values", [(1, 1, 0), (1, -1, 1), (np.nan, 1, 1), (np.inf, 1, 1), ("x", 1, 1), (), (2e3, 1, 1)]
)
def test_voxel_sizes_that_cannot_be_are_refused(values):
    with pytest.raises(InputError, match=r"voxel size is (not positive|impossible)"):
        geometry.spacing(values, "v")


def test_a_voxel_size_is_kept():
    assert geometry.spacing(["0.5", 0.25, 1], "v") == pytest.approx([0.5, 0.25, 1])


@pytest.mark.parametrize("values", [(np.nan, 0, 0), (np.inf, 0, 0), (1e300, 0, 0), [[0, 0, 0], [0, 0, np.nan]]])
def test_positions_that_are_none_are_refused(values):
    with pytest.raises(InputError, match="position"):
        geometry.position(values, "v")


def test_an_orientation_is_kept_and_rounding_is_set_right():
    found, warnings = geometry.orientation(oblique(), "v")
    assert warnings == [] and np.abs(found - oblique()).max() < 1e-12
    found, warnings = geometry.orientation(np.round(oblique(), 4)[:, :2], "v")
    assert warnings == []
    assert np.allclose(found.T @ found, np.eye(2), atol=1e-14) and np.abs(found - oblique()[:, :2]).max() < 1e-4


@pytest.mark.parametrize(
    ("second", "line"), [((0.01, 1.0, 0.0), "89.4 degrees"), ((0.0, 1.01, 0.0), "lengths 1, 1.01 and not 1")]
)
def test_an_orientation_that_is_slightly_off_is_named_and_set_right(second, line):
    found, (warning,) = geometry.orientation(np.array([(1.0, 0.0, 0.0), second]).T, "v")
    assert line in warning
    assert np.allclose(found.T @ found, np.eye(2))


@pytest.mark.parametrize(
    ("second", "line"),
    [
        ((0.1, 1.0, 0.0), "right angles"),
        ((1.0, 0.0, 0.0), "right angles"),
        ((0.0, 0.0, 0.0), "length 1"),
        ((0.0, 1.5, 0.0), "length 1"),
        ((0.0, np.nan, 0.0), "not a number"),
        ((0.0, 1e308, 0.0), "not a number"),
    ],
)
def test_other_orientations_are_refused(second, line):
    with pytest.raises(InputError, match=line):
        geometry.orientation(np.array([(1.0, 0.0, 0.0), second]).T, "v")


UP = np.array([0.0, 0.0, 1.0])


def places(heights, aside=0.0):
    return np.array([[aside * n, 0.0, height] for n, height in enumerate(heights)])


def test_even_slices_in_any_order():
    shuffled = np.random.default_rng(3).permutation(20)
    order, step, warnings = geometry.stack(places(np.arange(20) * 0.5)[shuffled], UP, "v")
    assert np.array_equal(shuffled[order], np.arange(20))
    assert step == pytest.approx([0, 0, 0.5]) and warnings == []


def test_slices_that_are_nearly_even_or_tilted_are_named():
    heights = np.arange(20.0)
    heights[7] += 0.05
    assert "0.95 to 1.05 mm" in geometry.stack(places(heights), UP, "v")[2][0]
    _, step, (line,) = geometry.stack(places(np.arange(20.0), aside=0.1), UP, "v")
    assert "84.3 degrees" in line and step == pytest.approx([0.1, 0, 1])
    astray = places(np.arange(20.0))
    astray[9, 1] = 0.3
    assert "0.3 mm beside" in geometry.stack(astray, UP, "v")[2][0]


@pytest.mark.parametrize(
    ("positions", "line"),
    [
        (places([0, 1, 2, 4, 5]), r"not evenly spaced \(1 to 2 mm\)"),
        (places([0, 1, 1, 2, 3]), "on top of each other"),
        (places([0, 0, 0]), "on top of each other"),
        (places(np.arange(5.0), aside=2.0), "contradict their orientation"),
        (places([0, 1, 2, np.nan]), "not a number"),
        (np.array([[0, 0, 0], [0, 0, 1], [5, 0, 2], [0, 0, 3.0]]), "one above the other"),
    ],
)
def test_positions_that_make_no_volume_are_refused(positions, line):
    with pytest.raises(InputError, match=line):
        geometry.stack(positions, UP, "v")
