"""The independent world: cases repeat, landmarks lie where their definitions say, and sizes are those of the tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from benchmarks.independent_world.body import Body, make_body
from benchmarks.independent_world.cases import Grid, Made, make_case, write_case
from benchmarks.independent_world.posture import draw_posture
from benchmarks.independent_world.sizes import NICHD, draw_sizes, typical
from benchmarks.independent_world.styles import STYLES
from benchmarks.independent_world.tissues import NUMBER
from benchmarks.independent_world.truth import landmarks

from FetusMapV2Lib.anatomy.laterality import resolve_sides
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.evaluation.case_set import case_set
from FetusMapV2Lib.imaging.case_search import find_cases

row = default_schema().index
#: Few and large voxels, as a case takes seconds otherwise.
COARSE, COARSER = Grid((60, 40, 40), 2.3), Grid((36, 25, 25), 4.0)
ON_THE_SKIN = ("cranial_crest", "forehead", "nasal_tip", "chin", "hind_neck", "umbilical_cord_insertion", "rump")


@pytest.fixture(scope="module")
def made() -> Made:
    return make_case(7, 3, COARSE)


def bodies() -> list[Body]:
    found = []
    for number in range(3):
        random = np.random.default_rng([5, number])
        found.append(make_body(draw_sizes(random), draw_posture(random), random))
    return found


@pytest.fixture(scope="module")
def several() -> list[tuple[Body, np.ndarray]]:
    return [(body, landmarks(body)) for body in bodies()]


def test_the_same_seed_and_number_give_the_same_case() -> None:
    made, again, other = (make_case(7, number, COARSER) for number in (3, 3, 4))
    assert np.array_equal(made.volume.array, again.volume.array) and made.facts == again.facts
    assert np.array_equal(made.pose.positions, again.pose.positions)
    assert not np.array_equal(made.pose.positions, other.pose.positions)


def test_a_case_is_found_and_read(made: Made, tmp_path: Path) -> None:
    write_case(tmp_path, made)
    cases = case_set(find_cases(tmp_path))
    assert np.allclose(cases.truths[0], made.pose.positions, atol=1e-5) and cases.simulated.all()
    assert np.array_equal(cases.cases[0].volume().array, made.volume.array)
    truth = cases.cases[0].truth()
    assert truth["style"] in STYLES and 10 <= truth["weeks"] <= 15.2 and truth["sac_distance_mm"] > 0


def test_landmarks_lie_inside_the_picture_and_on_bone_and_skin(made: Made) -> None:
    indices = (made.pose.positions - made.volume.ijk_to_ras[:3, 3]) / COARSE.spacing
    voxels = np.rint(indices[:, ::-1]).astype(int)
    assert (made.volume.array[tuple(voxels.T)] > 0).all()
    lattice = made.scene.lattice
    places = np.rint(lattice.index(indices * COARSE.spacing)).astype(int)
    skin = made.skin[tuple(places)]
    assert (np.abs(skin[[row(key) for key in ON_THE_SKIN]]) < lattice.step).all()
    around = [made.scene.label[tuple(slice(place - 1, place + 2) for place in column)] for column in places.T]
    for key in ("upper_thoracic_spine", "lumbosacral_spine"):
        assert (around[row(key)] == NUMBER["bone"]).any()


@pytest.mark.parametrize("style", STYLES)
def test_every_style_has_greys_and_a_dark_outside(style: str) -> None:
    array = make_case(1, 0, COARSER, style).volume.array
    assert array.dtype == np.uint8 and (array == 0).mean() > 0.05
    assert len(np.unique(array)) > 40 and np.median(array[array > 0]) < 170


def test_points_of_the_skin_are_on_the_skin_and_the_nasal_bone_just_below(
    several: list[tuple[Body, np.ndarray]],
) -> None:
    for body, points in several:
        depth = body.skin(points)
        assert (np.abs(depth[[row(key) for key in ON_THE_SKIN]]) < 0.012 * body.sizes.crl).all()
        assert 0.005 < -depth[row("nasal_bone")] / body.sizes.crl < 0.03


def test_left_and_right_agree_with_equation_7(several: list[tuple[Body, np.ndarray]]) -> None:
    for _, points in several:
        sides = resolve_sides(points, default_schema())[1]
        assert not sides.arms_swapped and not sides.legs_swapped and sides.consistent
        assert min(sides.arms_confidence, sides.legs_confidence) > 0.9


def test_order_along_the_body(several: list[tuple[Body, np.ndarray]]) -> None:
    for body, points in several:
        head = body.in_head(points[:5])
        assert head[0, 2] > head[1, 2] > head[3, 2] > head[2, 2] > head[4, 2]
        assert head[2, 1] > head[3, 1] and abs(head[:, 0]).max() < 1e-6
        chart = body.trunk.spine.chart(points[[6, 8, 7]])
        assert chart[0, 2] > chart[2, 2] > chart[1, 2] and chart[2, 1] > 0
        assert abs(chart[:2, :2]).max() < 0.3


def test_sizes_are_those_of_the_tables(several: list[tuple[Body, np.ndarray]]) -> None:
    for body, points in several:
        sizes = body.sizes
        crl = np.linalg.norm(points[row("cranial_crest")] - points[row("rump")])
        assert abs(crl / sizes.crl - 1) < 0.10
        usual = typical(sizes.crl)
        assert abs(sizes.femur / usual["femur"] - 1) < 0.13
        assert abs(2 * np.pi * sizes.girth / usual["abdomen"] - 1) < 0.13
        assert abs(np.pi * (sizes.skull[0] + sizes.skull[1]) / usual["head"] - 1) < 0.15
        thigh = np.linalg.norm(points[row("left_hip")] - points[row("left_knee")])
        arm = np.linalg.norm(points[row("left_shoulder")] - points[row("left_elbow")])
        assert np.isclose(thigh, sizes.thigh) and thigh > sizes.femur and arm > 0.95 * thigh
    assert np.isclose(typical(56.0)["biparietal"], np.interp(typical(56.0)["weeks"], NICHD[:, 0], NICHD[:, 2]))
