"""Bodies whose parts lie elsewhere, and whose landmarks lie where the schema's visible criteria say."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from phantom.fetuses import sample_fetus

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.phantom.body_plan import LUMBOSACRAL, USUAL_PLAN, BodyPlan, draw_plan
from FetusMapV2Lib.phantom.build import Build, draw_build
from FetusMapV2Lib.phantom.collisions import ellipsoid_distance, surface_points
from FetusMapV2Lib.phantom.fetus import Fetus, make_fetus
from FetusMapV2Lib.phantom.joints import NEUTRAL_BODY
from FetusMapV2Lib.phantom.layers import BONE_LAYER
from FetusMapV2Lib.phantom.limbs import pose_limbs
from FetusMapV2Lib.phantom.postures import draw_posture, posture_is_free
from FetusMapV2Lib.phantom.scene_options import SceneOptions
from FetusMapV2Lib.phantom.scenes import draw_individual
from FetusMapV2Lib.phantom.shapes import Array, Ellipsoid, unit
from FetusMapV2Lib.phantom.simulated_case import simulate_case
from FetusMapV2Lib.phantom.sizes import Size
from FetusMapV2Lib.phantom.skeleton import Skeleton, nuchal_bulge, pose_skeleton, spine_length
from FetusMapV2Lib.phantom.tissues import Tissue

SCHEMA = default_schema()


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def usual() -> Fetus:
    return sample_fetus(random(3), 86.0)


@pytest.fixture(scope="module", params=["2026-3", "2026-4"])
def bodies(usual: Fetus, request: pytest.FixtureRequest) -> list[Fetus]:
    """Upright bodies of twelve plans, neither warped nor bent to a side."""
    posture = {**usual.posture, **NEUTRAL_BODY}
    plans = [draw_plan(random(seed), request.param) for seed in range(12)]
    return [make_fetus(usual.size.built(Build(marks_on_skin=True, plan=plan)), posture, random()) for plan in plans]


def mark(body: Fetus, key: str) -> Array:
    return np.asarray(body.pose[SCHEMA.index(key)])


def on_head(body: Fetus, points: Array) -> Array:
    """In the head's frame: left, backwards and up from the middle of the brain case, half OFDs."""
    return body.skeleton.head.inverse().points(points) / body.skeleton.unit


def skin_of(parts: tuple[Ellipsoid, ...]) -> Array:
    """Points on the outline of a union of ellipsoids."""
    points = np.concatenate([surface_points(part, 4000) for part in parts])
    return np.asarray(points[ellipsoid_distance(points, parts).min(axis=-1) > -0.02])


def midline_front(body: Fetus) -> Array:
    """(N, 3) the skin of the head near the midline, in its frame."""
    skin = on_head(body, skin_of((body.skeleton.cranium, *body.skeleton.face)))
    return np.asarray(skin[(np.abs(skin[:, 0]) < 0.06) & (skin[:, 1] < 0)])


def test_the_usual_plan_moves_nothing() -> None:
    points = random().normal(size=(50, 3))
    np.testing.assert_array_equal(USUAL_PLAN.face(points), points)
    for level in (-0.02, 0.0, 0.215, 0.5, 0.885, 1.0, 1.2):
        assert USUAL_PLAN.along(level) == level
    assert draw_build(random(1), 84.0, 55.0, "2026-2").plan == USUAL_PLAN
    assert "plan" not in Build().as_dict()


def test_levels_keep_their_order_in_every_plan() -> None:
    for seed in range(200):
        plan = draw_plan(random(seed))
        along = [plan.along(level) for level in np.linspace(0, 1, 101)]
        assert (np.diff(along) > 0).all() and (along[0], along[-1]) == (0, 1)
        heights = plan.face_heights(np.linspace(-1.3, 0.0, 60))
        assert (np.diff(heights) > 0).all() and plan.atlas[1] < -0.5


def test_shoulders_and_lower_spine_lie_at_many_places_between_crown_and_rump(bodies: list[Fetus]) -> None:
    def share(body: Fetus, key: str) -> float:
        crown, rump = mark(body, "cranial_crest"), mark(body, "rump")
        return float((mark(body, key) - crown) @ (rump - crown) / np.sum((rump - crown) ** 2))

    upper, lower = ([share(body, key) for body in bodies] for key in ("upper_thoracic_spine", "lumbosacral_spine"))
    wide = bodies[0].size.build.plan.column != 1
    assert min(upper) < (0.39 if wide else 0.43) and max(upper) > (0.46 if wide else 0.47)
    assert min(lower) < (0.79 if wide else 0.83) and max(lower) > 0.85


def test_the_crown_rump_length_is_kept(bodies: list[Fetus]) -> None:
    for body in bodies:
        assert np.linalg.norm(mark(body, "cranial_crest") - mark(body, "rump")) == pytest.approx(
            body.size.crl, abs=0.05
        )


def test_face_landmarks_are_the_most_forward_points_of_the_skin(bodies: list[Fetus]) -> None:
    for body in bodies:
        skin = midline_front(body)
        nose, bone, forehead, chin = (
            on_head(body, mark(body, key)) for key in ("nasal_tip", "nasal_bone", "forehead", "chin")
        )
        assert nose[1] == pytest.approx(skin[:, 1].min(), abs=0.03)
        root = bone[2] + 0.10
        above = skin[skin[:, 2] > root]
        assert forehead[1] == pytest.approx(above[:, 1].min(), abs=0.03) and forehead[2] > root
        below = skin[skin[:, 2] < chin[2] + 0.03]
        assert chin[1] == pytest.approx(below[:, 1].min(), abs=0.05)
        # the nasal bones lie below the skin of the bridge, at most some 2 mm
        bridge = skin[np.abs(skin[:, 2] - bone[2]) < 0.04][:, 1].min()
        assert 0.0 < bone[1] - bridge < 0.2


def test_the_nape_is_the_deepest_point_between_occiput_and_back(bodies: list[Fetus]) -> None:
    for body in bodies:
        parts = (body.skeleton.cranium, *body.skeleton.trunk)
        neck = mark(body, "hind_neck")
        assert float(ellipsoid_distance(neck, parts).min()) == pytest.approx(nuchal_bulge(body.size), abs=0.15)
        occiput = body.skeleton.on_head(np.array([0.0, 1.0, -0.1]))
        upper = body.skeleton.spine.at(0.30)
        back = upper.points(np.array([0.0, 0.30 * body.size.girth, 0.0]))
        along = (occiput - back) / np.linalg.norm(occiput - back)
        forwards = -upper.rotation[:, 1] + (upper.rotation[:, 1] @ along) * along
        depths = [float((point - back) @ forwards) for point in (neck, back, occiput)]
        assert depths[0] > max(depths[1:]) + 0.3


def test_the_rump_is_the_lowest_skin_of_the_trunk(bodies: list[Fetus]) -> None:
    for body in bodies:
        down = -body.skeleton.spine.at(LUMBOSACRAL).rotation[:, 2]
        skin = skin_of(body.skeleton.trunk)
        assert float(mark(body, "rump") @ down) == pytest.approx(float((skin @ down).max()), abs=0.1)


def test_spine_landmarks_are_level_with_shoulders_and_iliac_wings(bodies: list[Fetus]) -> None:
    for body in bodies:
        upper, lower = mark(body, "upper_thoracic_spine"), mark(body, "lumbosacral_spine")
        axis = body.skeleton.spine.at(0.22).rotation[:, 2]
        shoulders = (mark(body, "left_shoulder") + mark(body, "right_shoulder")) / 2
        assert abs((shoulders - upper) @ axis) < 0.7
        hips = (mark(body, "left_hip") + mark(body, "right_hip")) / 2
        girth = body.size.girth
        wings = [
            shape.centre
            for shape in body.shapes
            if isinstance(shape, Ellipsoid) and shape.tissue == Tissue.BONE and shape.order == BONE_LAYER
            and np.allclose(shape.radii, np.array([0.06, 0.24, 0.20]) * girth)
        ]  # fmt: skip
        assert len(wings) == 2
        up = body.skeleton.hip(1).rotation[:, 2]
        assert (np.mean(wings, axis=0) - lower) @ up == pytest.approx(0.0, abs=0.1)
        assert (lower - hips) @ up > 1.0


@pytest.mark.parametrize("anatomy", ["2026-3", "2026-4"])
def test_a_case_of_the_anatomy_records_the_plan(anatomy: str) -> None:
    case = simulate_case(4, 0, (77, 52, 52), 1.8, scene=SceneOptions(anatomy=anatomy), renderer="labels")
    plan = json.loads(json.dumps(case.truth["size"]["build"]["plan"]))
    assert plan["by_schema"] is True and len(plan["levels"]) == 4
    lists = {name: tuple(value) for name, value in plan.items() if isinstance(value, list)}
    assert (
        BodyPlan(**{**plan, **lists})
        == draw_individual(4, 0, np.array([138.6, 93.6, 93.6]), scene=SceneOptions(anatomy=anatomy)).size.build.plan
    )
    assert case.pose.present.all()


@pytest.mark.parametrize("anatomy", ["2026-3", "2026-4"])
def test_bodies_of_all_plans_find_postures(anatomy: str) -> None:
    extent = np.array([138.0, 94.0, 94.0])
    plans = {
        draw_individual(8, index, extent, scene=SceneOptions(anatomy=anatomy)).size.build.plan for index in range(6)
    }
    assert len(plans) == 6 and USUAL_PLAN not in plans


def test_a_seat_reaches_farther(usual: Fetus) -> None:
    posture = {**usual.posture, **NEUTRAL_BODY}
    bodies = [
        make_fetus(usual.size.built(Build(plan=replace(USUAL_PLAN, seat=seat))), posture, random(), 40.0)
        for seat in (1.0, 2.0)
    ]
    lower = [np.linalg.norm(mark(body, "rump") - mark(body, "lumbosacral_spine")) for body in bodies]
    assert lower[1] > lower[0] + 2.0


def test_a_tail_makes_the_lower_trunk_thinner_and_leaves_the_chest(usual: Fetus) -> None:
    plain, thin = (
        pose_skeleton(usual.size.built(Build(plan=BodyPlan(tail=tail))), 40.0, NEUTRAL_BODY)
        for tail in ((1.0, 1.0), (0.6, 0.5))
    )
    assert thin.outline_depth(0.4) == plain.outline_depth(0.4)
    width, depth = np.divide(thin.outline_depth(0.94), plain.outline_depth(0.94))
    assert (width, depth) == (pytest.approx(0.6), pytest.approx(0.5))
    at_cord = np.divide(thin.outline_depth(0.715), plain.outline_depth(0.715))
    assert (at_cord > [0.6, 0.5]).all() and (at_cord < 1).all()


@pytest.fixture(scope="module")
def slim(usual: Fetus) -> Size:
    """A body whose belly leaves limbs room."""
    return usual.size.built(Build(plan=BodyPlan(hips_forward=0.2, tail=(0.8, 0.6))))


def test_limbs_are_drawn_up_as_often_as_asked(slim: Size) -> None:
    """Where the belly leaves them room."""
    rarely, always = (
        [draw_posture(random(n), slim, spine_length(slim), manners=manners)["left_hip_flexion"] for n in range(25)]
        for manners in (None, {"folded": 1.0})
    )
    assert np.median(always) > np.median(rarely) + 8


def drawn_limbs(size: Size, number: int, kind: str, manners: dict[str, float]) -> tuple[Skeleton, list[Array]]:
    """The skeleton of a random posture, and the joints of its two limbs of a kind."""
    length = spine_length(size)
    posture = draw_posture(random(number), size, length, manners=manners)
    skeleton = pose_skeleton(size, length, posture)
    return skeleton, [limb.joints for limb in pose_limbs(skeleton, posture) if limb.kind == kind]


def test_legs_are_raised_and_arms_close_as_often_as_asked(slim: Size) -> None:
    """Shanks then point forward rather than back to the seat."""

    def forward(raising: float, number: int) -> float:
        _, legs = drawn_limbs(slim, number, "leg", {"folded": 0.7, "raised": raising})
        return float(-np.mean([unit(joints[2] - joints[1])[1] for joints in legs]))

    rarely, always = ([forward(often, number) for number in range(25)] for often in (0.0, 1.0))
    assert np.median(always) > np.median(rarely) + 0.15


def test_arms_lie_along_the_body_as_often_as_asked(slim: Size) -> None:
    """Upper arms then point to the rump."""

    def downward(often: float, number: int) -> float:
        skeleton, arms = drawn_limbs(slim, number, "arm", {"raised": 0.7, "along": often})
        down = unit(skeleton.spine.at(1.0).shift - skeleton.cranium.centre)
        return float(np.mean([unit(joints[1] - joints[0]) @ down for joints in arms]))

    rarely, always = ([downward(often, number) for number in range(25)] for often in (0.0, 1.0))
    assert np.median(always) > np.median(rarely) + 0.15


def test_limbs_differ_more_in_length_in_2026_6() -> None:
    """By up to a third, all four alike; the rest of the body is drawn as before."""

    def factors(anatomy: str) -> Array:
        measures = [dict(draw_build(random(number), 90.0, 65.0, anatomy).measures) for number in range(300)]
        return np.array([[one["humerus_joint"], one["femur_joint"]] for one in measures])

    before, after = factors("2026-5"), factors("2026-6")
    assert np.quantile(before, 0.95) < 1.2 and np.quantile(after, 0.95) > 1.28
    assert 0.85 < np.quantile(after, 0.05) < 1.0 and 1.08 < np.median(after) < 1.18
    assert np.corrcoef(after.T)[0, 1] > 0.7


@pytest.mark.parametrize("anatomy, other", [("2026-4", "2026-5"), ("2026-5", "2026-4"), ("2026-6", "2026-5")])
def test_an_anatomy_holds_its_limbs_in_its_own_way(anatomy: str, other: str) -> None:
    body, again, elsewhere = (
        draw_individual(3, 4, np.array([137.7, 93.6, 93.6]), scene=SceneOptions(anatomy=name))
        for name in (anatomy, anatomy, other)
    )
    assert body.posture == again.posture and posture_is_free(body.size, body.length, body.posture)
    assert elsewhere.posture != body.posture


def test_a_body_that_has_hardly_a_posture_is_drawn_anew() -> None:
    """Its chin lies on its chest in nearly all of them."""
    body = draw_individual(1201, 20026, np.array([137.7, 93.6, 93.6]), scene=SceneOptions(anatomy="2026-4"))
    assert posture_is_free(body.size, body.length, body.posture)
