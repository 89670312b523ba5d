"""Individual bodies: proportions, the warp that takes landmarks along, nape and belly, and landmarks set by people."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from phantom.fetuses import sample_fetus

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.phantom.annotators import DEFINITIONS, HAND_MM, annotated
from FetusMapV2Lib.phantom.build import Build, draw_build, warped_points, warped_shape
from FetusMapV2Lib.phantom.fetus import Fetus, make_fetus
from FetusMapV2Lib.phantom.joints import NEUTRAL_BODY
from FetusMapV2Lib.phantom.shapes import Ellipsoid, Shell, Tube, tube, turn
from FetusMapV2Lib.phantom.tissues import Tissue

SCHEMA = default_schema()


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def usual() -> Fetus:
    return sample_fetus(random(3), 82.0)


def with_build(fetus: Fetus, build: Build) -> Fetus:
    return make_fetus(fetus.size.built(build), fetus.posture, random(), fetus.skeleton.spine.length)


def test_proportions_vary_within_their_bounds() -> None:
    drawn = [draw_build(random(seed), 84.0, 55.0) for seed in range(200)]
    girths = np.array([dict(build.measures)["ac"] for build in drawn])
    assert 0.05 < girths.std() < 0.09 and 0.85 <= girths.min() < girths.max() <= 1.15
    nape = np.array([build.nuchal_mm for build in drawn])
    assert (nape >= 1.0).all() and (nape <= 4.0).all() and 1.3 < np.median(nape) < 2.0
    assert len({json.dumps(build.as_dict()) for build in drawn}) == 200


def test_the_bowel_is_back_in_the_belly_after_twelve_weeks() -> None:
    shares = [np.mean([draw_build(random(s), days, 50.0).hernia_mm > 0 for s in range(100)]) for days in (72, 80, 88)]
    assert shares[0] > 0.7 > shares[1] > 0.2 and shares[2] == 0


def test_a_build_changes_the_measures_it_names(usual: Fetus) -> None:
    build = Build(measures=(("ac", 1.1), ("femur_joint", 0.9)), shoulders=1.2, leg_girth=1.2, toes=5)
    other = with_build(usual, build)
    assert other.size.ac == pytest.approx(1.1 * usual.size.ac) and other.size.bpd == usual.size.bpd
    thigh = [np.linalg.norm(f.pose[16] - f.pose[17]) for f in (usual, other)]
    assert thigh[1] == pytest.approx(0.9 * thigh[0])
    width = [np.linalg.norm(f.skeleton.shoulder(1).shift - f.skeleton.shoulder(-1).shift) for f in (usual, other)]
    assert width[1] == pytest.approx(1.2 * 1.1 * width[0])
    assert other.truth["size"]["build"]["toes"] == 5 and "build" not in usual.truth["size"]


def test_the_warp_takes_landmarks_and_shapes_along(usual: Fetus) -> None:
    build = Build(waves=draw_build(random(4), 82.0, 50.0).waves)
    other = with_build(usual, build)
    np.testing.assert_allclose(other.pose, warped_points(usual.pose, build))
    moved = np.linalg.norm(other.pose - usual.pose, axis=1)
    assert 0.2 < moved.mean() < 3.0
    # what lay on a surface lies on it still
    for shape in usual.shapes[:40]:
        if isinstance(shape, Ellipsoid) and max(shape.radii) < 6:
            after = warped_shape(shape, build)
            assert isinstance(after, Ellipsoid)
            for axis in range(3):
                point = warped_points(shape.centre + shape.axes[:, axis] * shape.radii[axis], build)
                q = (point - after.centre) @ after.axes / after.radii
                assert np.linalg.norm(q) == pytest.approx(1.0, abs=0.08)
    crown_rump = [np.linalg.norm(f.pose[0] - f.pose[9]) for f in (usual, other)]
    assert crown_rump[1] == pytest.approx(crown_rump[0], rel=0.15)
    assert other.truth["crl_mm"] == pytest.approx(crown_rump[1], abs=1e-3)


def test_a_warped_ellipsoid_keeps_plates_where_they_are() -> None:
    # nearly a plain stretch along x
    build = Build(waves=((30.0, 0.0, 0.0, 0.01, 0.0, 0.0, 0.0),))
    body = Ellipsoid(Tissue.BONE, np.zeros(3), np.array([2.0, 3.0, 1.0]), turn(2, 30.0))
    shell = warped_shape(Shell(body, 0.2, np.array([[0.0, 1.0, 0.0, 0.8]])), build)
    assert isinstance(shell, Shell)
    kept = warped_points(body.centre + body.axes[:, 1] * body.radii[1], build)
    lost = warped_points(body.centre - body.axes[:, 1] * body.radii[1], build)
    for point, on_plate in ((kept, True), (lost, False)):
        q = (point - shell.body.centre) @ shell.body.axes / shell.body.radii
        assert (shell.plates[0, :3] @ q > shell.plates[0, 3]) == on_plate
    assert np.linalg.det(shell.body.axes) == pytest.approx(1.0)
    line = tube(Tissue.BONE, np.array([[0.0, 0, 0], [10.0, 0, 0]]), 1.0)
    np.testing.assert_allclose(warped_shape(line, build).points[1], [13.0, 0, 0], rtol=0.01)


def test_a_wide_nuchal_translucency_lifts_the_skin_and_its_landmark(usual: Fetus) -> None:
    thin, wide = (with_build(usual, Build(nuchal_mm=mm)) for mm in (1.0, 4.0))
    neck = SCHEMA.index("hind_neck")
    assert np.linalg.norm(wide.pose[neck] - thin.pose[neck]) == pytest.approx(0.6 * 3.0)
    fluid = [s for s in wide.shapes if isinstance(s, Tube) and s.tissue == Tissue.EXTRA_FLUID]
    assert max(float(s.radii.max()) for s in fluid) == pytest.approx(2.0)


def test_crest_and_forehead_lie_on_the_skin(usual: Fetus) -> None:
    skin = with_build(usual, Build(marks_on_skin=True))
    apart = np.linalg.norm(skin.pose - usual.pose, axis=1)
    assert apart[0] == pytest.approx(0.07 * usual.size.girth) and apart[1] == pytest.approx(apart[0])
    assert not apart[2:].any()


def test_the_neutral_posture_keeps_the_crown_rump_length_of_any_proportions(usual: Fetus) -> None:
    build = replace(draw_build(random(6), 82.0, 50.0), waves=())
    size = usual.size.built(build)
    neutral = make_fetus(size, {**usual.posture, **NEUTRAL_BODY}, random())
    assert neutral.truth["crl_mm"] == pytest.approx(size.crl, abs=0.05)


def test_annotators_slide_some_landmarks_and_shake_all(usual: Fetus) -> None:
    errors = np.array([annotated(usual.pose, random(seed))[0] - usual.pose for seed in range(400)])
    apart = np.sqrt((errors**2).sum(axis=2).mean(axis=0))
    for number, key in enumerate(SCHEMA.keys):
        expected = np.hypot(HAND_MM, DEFINITIONS[key][0] if key in DEFINITIONS else 0.0)
        assert apart[number] == pytest.approx(expected, rel=0.12), key
    missing = usual.pose.copy()
    missing[SCHEMA.index("rump")] = np.nan
    found, record = annotated(missing, random())
    # the lumbosacral spine slides towards the rump: it does not without one, but stays
    assert np.isnan(found[SCHEMA.index("rump")]).all() and np.isfinite(found).sum() == 63
    assert set(record["definition_mm"]) == set(DEFINITIONS) and json.dumps(record)
