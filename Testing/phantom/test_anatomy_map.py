"""The tissue map: landmarks lie in their tissue, organs on their side, shapes have their volume at any resolution."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.phantom.anatomy_map import build_tissue_map
from FetusMapV2Lib.phantom.placement import CaseGeometry, nominal_extent
from FetusMapV2Lib.phantom.scenes import sample_geometry
from FetusMapV2Lib.phantom.shapes import Ellipsoid, Shell, frame_along, tube
from FetusMapV2Lib.phantom.surroundings import enclosing_ellipsoid
from FetusMapV2Lib.phantom.tissues import Tissue

SHAPE, SPACING = (276, 188, 187), 0.5
SCHEMA = default_schema()
LIMB = {Tissue.SKIN, Tissue.SOFT, Tissue.MUSCLE, Tissue.CARTILAGE, Tissue.BONE}


class Scene:
    """A case's geometry with its map."""

    def __init__(self, index: int) -> None:
        self.geometry: CaseGeometry = sample_geometry(21, index, nominal_extent(SHAPE, SPACING))
        self.map = build_tissue_map(self.geometry, SHAPE, SPACING).numpy()

    def near(self, point: np.ndarray, radius_mm: float) -> set[Tissue]:
        """Labels within a distance of a point (mm)."""
        low = -(np.array(SHAPE[::-1]) - 1) / 2 * SPACING
        reach = int(np.ceil(radius_mm / SPACING))
        i, j, k = np.round((point - low) / SPACING).astype(int)
        steps = np.arange(-reach, reach + 1)
        dk, dj, di = np.meshgrid(steps, steps, steps, indexing="ij")
        near = (dk**2 + dj**2 + di**2) * SPACING**2 <= radius_mm**2
        return {Tissue(int(v)) for v in np.unique(self.map[k + dk[near], j + dj[near], i + di[near]])}

    def mark(self, key: str) -> np.ndarray:
        return self.geometry.landmarks[SCHEMA.index(key)]

    def centre(self, tissue: Tissue) -> np.ndarray:
        """Middle of a tissue in the body frame, mm."""
        kji = np.argwhere(self.map == tissue)
        point = (kji.mean(axis=0)[::-1] - (np.array(SHAPE[::-1]) - 1) / 2) * SPACING
        return self.geometry.place.inverse().points(point)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [Scene(index) for index in range(2)]


def test_every_joint_lies_inside_its_limb(scenes: list[Scene]) -> None:
    for scene in scenes:
        for mark in SCHEMA.landmarks[10:]:
            here = scene.near(scene.mark(mark.key), 0.1)
            assert here <= LIMB, (mark.key, here)
            if not mark.key.endswith("shoulder"):
                assert {Tissue.CARTILAGE, Tissue.BONE} & scene.near(scene.mark(mark.key), 1.6), mark.key


def test_head_and_trunk_landmarks_lie_in_their_anatomy(scenes: list[Scene]) -> None:
    for scene in scenes:
        assert {Tissue.BONE, Tissue.MEMBRANE} & scene.near(scene.mark("cranial_crest"), 2.0)
        assert {Tissue.BRAIN, Tissue.VENTRICLE, Tissue.FALX} & scene.near(scene.mark("cranial_crest"), 3.4)
        assert {Tissue.BONE, Tissue.MEMBRANE} & scene.near(scene.mark("forehead"), 2.0)
        assert Tissue.BONE in scene.near(scene.mark("nasal_bone"), 0.7)
        for spine in ("upper_thoracic_spine", "lumbosacral_spine"):
            assert {Tissue.BONE, Tissue.CARTILAGE} & scene.near(scene.mark(spine), 0.8)
        for surface in ("nasal_tip", "chin", "hind_neck", "rump", "umbilical_cord_insertion"):
            assert {Tissue.SKIN, Tissue.SOFT} & scene.near(scene.mark(surface), 1.2), surface
        assert Tissue.CORD in scene.near(scene.mark("umbilical_cord_insertion"), 2.5)


def test_organs_lie_on_their_side(scenes: list[Scene]) -> None:
    for scene in scenes:
        heart, liver = scene.centre(Tissue.HEART), scene.centre(Tissue.LIVER)
        assert heart[0] > 0.5
        assert liver[0] < heart[0] - 0.8  # the warp of a body shifts both
        assert heart[2] > liver[2]  # cranial
        stomach = scene.geometry.place.inverse().points(
            max(
                (s for s in scene.geometry.shapes if isinstance(s, Ellipsoid) and s.tissue == Tissue.STOMACH),
                key=lambda s: float(np.prod(s.radii)),
            ).centre
        )
        assert stomach[0] > 1.0
        brain, bladder = scene.centre(Tissue.BRAIN), scene.centre(Tissue.BLADDER)
        assert brain[2] > heart[2] > bladder[2]


def test_the_fetus_lies_in_fluid_inside_the_volume(scenes: list[Scene]) -> None:
    for scene in scenes:
        fluid_ml = (scene.map == Tissue.FLUID).sum() * SPACING**3 / 1000
        assert (2 if len(scene.geometry.surroundings.body) else 10) < fluid_ml < 320
        half = np.array(SHAPE[::-1]) * SPACING / 2
        assert (np.abs(scene.geometry.landmarks) < half - 2.0).all()
        for tissue in (Tissue.PLACENTA, Tissue.UTERINE_WALL, Tissue.BRAIN, Tissue.BONE, Tissue.LIVER):
            assert (scene.map == tissue).sum() > 50, tissue


def test_the_map_has_the_same_tissues_at_another_resolution() -> None:
    extent = nominal_extent((230, 157, 156), 0.6)
    np.testing.assert_array_equal(extent, nominal_extent((460, 313, 312), 0.3))
    geometry = sample_geometry(21, 1, extent)
    coarse = build_tissue_map(geometry, (115, 78, 78), 1.2)
    fine = build_tissue_map(geometry, (230, 157, 156), 0.6)
    for tissue in (Tissue.FLUID, Tissue.UTERINE_WALL, Tissue.PLACENTA, Tissue.BRAIN, Tissue.LIVER):
        volumes = [float((m == int(tissue)).sum()) * s**3 for m, s in ((coarse, 1.2), (fine, 0.6))]
        assert volumes[0] == pytest.approx(volumes[1], rel=0.12), tissue


def painted(*shapes: object, spacing: float = 0.25) -> torch.Tensor:
    from FetusMapV2Lib.phantom.anatomy_map import Canvas, paint_shapes

    canvas = Canvas((80, 88, 96), spacing, "cpu", Tissue.OUTSIDE)
    paint_shapes(canvas, shapes)  # type: ignore[arg-type]
    return canvas.labels


def millilitres(labels: torch.Tensor, tissue: Tissue, spacing: float = 0.25) -> float:
    return float((labels == int(tissue)).sum()) * spacing**3


def test_an_oblique_ellipsoid_has_its_volume_and_place() -> None:
    axes = frame_along(np.array([1.0, 2.0, 3.0]), np.array([0.0, 1.0, 0.0]))
    centre = np.array([1.5, -1.0, 0.5])
    labels = painted(Ellipsoid(Tissue.LIVER, centre, np.array([3.0, 5.0, 7.0]), axes))
    assert millilitres(labels, Tissue.LIVER) == pytest.approx(4 / 3 * np.pi * 105, rel=0.01)
    found = np.argwhere(labels.numpy() > 0).mean(axis=0)[::-1]
    np.testing.assert_allclose((found - (np.array([96, 88, 80]) - 1) / 2) * 0.25, centre, atol=0.02)


def test_a_tapered_tube_has_its_volume() -> None:
    labels = painted(tube(Tissue.BONE, np.array([[-6.0, -2, 1], [5.0, 3, -2]]), np.array([2.0, 2.0])))
    length = np.linalg.norm([11, 5, 3])
    assert millilitres(labels, Tissue.BONE) == pytest.approx(np.pi * 4 * length + 4 / 3 * np.pi * 8, rel=0.02)


def test_a_shell_is_closed_and_its_plates_leave_gaps() -> None:
    ball = Ellipsoid(Tissue.BONE, np.zeros(3), np.full(3, 8.0))
    whole = painted(Shell(ball, 0.1))
    centre_to_face = whole[40, 44, :] == int(Tissue.BONE)
    assert int(centre_to_face.sum()) >= 2
    cap = painted(Shell(ball, 0.1, np.array([[0.0, 0.0, 1.0, np.cos(np.radians(30))]])))
    found = np.argwhere(cap.numpy() > 0)
    assert len(found) and (found[:, 0] > 40).all()
    assert 0.03 < len(found) / int((whole > 0).sum()) < 0.11  # (1 - cos 30) / 2 = 0.067


def test_painting_over_chosen_tissues_only() -> None:
    base = Ellipsoid(Tissue.SOFT, np.array([-2.0, 0, 0]), np.full(3, 3.0))
    organ = Ellipsoid(Tissue.HEART, np.array([1.0, 0, 0]), np.full(3, 3.0), over=(Tissue.SOFT,))
    both, alone = painted(base, organ), painted(base)
    assert int((both > 0).sum()) == int((alone > 0).sum())
    assert int((both == int(Tissue.HEART)).sum()) > 0


def test_the_enclosing_ellipsoid_holds_all_points_and_is_not_much_larger_than_needed() -> None:
    generator = np.random.default_rng(0)
    ball = generator.normal(size=(400, 3))
    ball /= np.linalg.norm(ball, axis=1, keepdims=True)
    turn = frame_along(np.array([1.0, 1, 0]), np.array([0, 0, 1.0]))
    points = (ball * np.array([20.0, 10.0, 5.0])) @ turn.T + np.array([3.0, -4, 5])
    centre, axes, radii = enclosing_ellipsoid(points, 0.0)
    assert (np.linalg.norm((points - centre) @ axes / radii, axis=1) <= 1 + 1e-9).all()
    assert np.linalg.det(axes) == pytest.approx(1.0)
    np.testing.assert_allclose(np.sort(radii), [5, 10, 20], rtol=0.06)
