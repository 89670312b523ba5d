"""Physics of the simulated ultrasound image: speckle, shadows, enhancement, interfaces, field of view, greys."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.phantom.echo import contact, interfaces, sample_medium
from FetusMapV2Lib.phantom.probe import Probe, field_of_view
from FetusMapV2Lib.phantom.speckle import adaptive_filter, beam_grid, gaussian_blur, point_spread, speckle_envelope
from FetusMapV2Lib.phantom.style import STYLES, VendorStyle
from FetusMapV2Lib.phantom.tissues import Tissue
from FetusMapV2Lib.phantom.ultrasound import acquire, acquire_envelope

# Looks along +k into a box of 60 mm; its field of view leaves the corners out.
PROBE = Probe(
    face_mm=(0.0, 0.0, -30.0),
    axis=(0.0, 0.0, 1.0),
    lateral=(1.0, 0.0, 0.0),
    elevational=(0.0, 1.0, 0.0),
    radius_mm=45.0,
    sweep_radius_mm=38.0,
    half_lateral_rad=0.40,
    half_elevation_rad=0.40,
    depth_mm=60.0,
    frequency_mhz=5.0,
    focus_mm=35.0,
)
PLAIN = replace(  # one effect at a time: everything beside scatter, interfaces and attenuation is off
    STYLES["A"], texture_db=0.0, dropout=0.0, noise_db=-80.0, clutter_db=-80.0, reverberation=0.0, speckle_filter=0.0
)
SPACING = 0.75
SHAPE = (80, 80, 80)


def seeded(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def uniform(tissue: Tissue = Tissue.MATERNAL) -> torch.Tensor:
    return torch.full(SHAPE, int(tissue), dtype=torch.uint8)


def coordinates(shape: tuple[int, ...] = SHAPE, spacing: float = SPACING) -> list[torch.Tensor]:
    """mm from the centre along k, j, i, each broadcastable."""
    axes = [(torch.arange(n, dtype=torch.float32) - (n - 1) / 2) * spacing for n in shape]
    return list(torch.meshgrid(*axes, indexing="ij"))


def with_ball(tissue: Tissue, radius: float, around: Tissue = Tissue.MATERNAL) -> torch.Tensor:
    k, j, i = coordinates()
    labels = uniform(around)
    labels[k**2 + j**2 + i**2 < radius**2] = int(tissue)
    return labels


def scene(shape: tuple[int, ...], spacing: float) -> torch.Tensor:
    """A fluid cavity with a bone-shelled ball in it, the same at every voxel size."""
    k, j, i = coordinates(shape, spacing)
    labels = torch.full(shape, int(Tissue.MATERNAL), dtype=torch.uint8)
    labels[k**2 + j**2 + i**2 < 24**2] = int(Tissue.FLUID)
    ball = (k - 2) ** 2 + j**2 + (i - 3) ** 2
    labels[ball < 11**2] = int(Tissue.BONE)
    labels[ball < 9.5**2] = int(Tissue.BRAIN)
    return labels


def full_width(image: torch.Tensor, axis: int, step: float) -> float:
    """Full width at half maximum of the autocovariance along an axis."""
    image = image - image.mean()
    size = image.shape[axis]
    values = [float((image.narrow(axis, 0, size - n) * image.narrow(axis, n, size - n)).mean()) for n in range(14)]
    ratio = np.array(values) / values[0]
    n = int(np.argmax(ratio < 0.5))
    return 2 * step * (n - 1 + (ratio[n - 1] - 0.5) / (ratio[n - 1] - ratio[n]))


def test_homogeneous_tissue_has_a_rayleigh_envelope() -> None:
    envelope, grid, _ = acquire_envelope(uniform(), SPACING, PROBE, PLAIN, seeded())
    near = (grid.depth > 25) & (grid.depth < 40)
    speckle = envelope[near][:, 8:-8, 8:-8]
    assert float(speckle.mean() / speckle.std()) == pytest.approx(1.913, rel=0.03)
    # Rayleigh: the mean square of the envelope is 4 / pi of its squared mean.
    assert float(speckle.square().mean() / speckle.mean() ** 2) == pytest.approx(4 / np.pi, rel=0.02)


def test_speckle_power_does_not_depend_on_depth() -> None:
    grid = beam_grid(PROBE, PLAIN)
    envelope = speckle_envelope(torch.ones(grid.shape), None, grid, seeded())
    power = envelope.square()[:, 8:-8, 8:-8].mean(dim=(1, 2))
    for part in power[5:-5].chunk(4):
        assert float(part.mean()) == pytest.approx(1.0, rel=0.08)


def test_speckle_is_as_wide_as_the_point_spread_says() -> None:
    grid = beam_grid(PROBE, PLAIN)
    envelope = speckle_envelope(torch.ones(grid.shape), None, grid, seeded())
    middle = len(grid.r) // 2
    part = envelope[middle - 25 : middle + 25, 6:-6, 6:-6]
    measured = [full_width(part, axis, float(grid.steps[axis, middle])) for axis in range(3)]
    assert measured[0] < measured[1] < measured[2]
    np.testing.assert_allclose(measured, grid.widths[:, middle].numpy(), rtol=0.12)


@pytest.mark.parametrize("style", [PLAIN, replace(PLAIN, axial_mm=1.3, lateral_mm=2.2, elevational_mm=2.8)])
def test_widths_in_the_image_are_millimetres_whatever_the_voxel_size(style: VendorStyle) -> None:
    for spacing in (0.4, 0.6):
        shape = (round(36 / spacing),) * 3
        image = acquire(torch.full(shape, int(Tissue.MATERNAL), dtype=torch.uint8), spacing, PROBE, style, seeded())
        # The box is the middle of the field; there i is lateral, j elevational, k axial.
        part = image.float()[8:-8, 8:-8, 8:-8]
        measured = [full_width(part, axis, spacing) for axis in (0, 2, 1)]
        expected = point_spread(PROBE, style, torch.linspace(0, 60, 61))[:, 20:40].mean(dim=1).numpy()
        assert measured[0] < measured[1] < measured[2]
        np.testing.assert_allclose(measured, expected, rtol=0.25)


def test_beam_is_narrowest_at_the_focus() -> None:
    _, lateral, _ = point_spread(PROBE, PLAIN, torch.linspace(0, PROBE.depth_mm, 61))
    assert abs(int(lateral.argmin()) - PROBE.focus_mm) <= 1
    assert float(lateral[0]) > float(lateral.min()) < float(lateral[-1])


def test_bone_casts_a_shadow_and_fluid_enhances() -> None:
    k, _, i = coordinates()
    behind = (k > 16) & (k < 26) & (coordinates()[1].abs() < 4)
    under, beside = behind & (i.abs() < 4), behind & (i > 11) & (i < 16)

    def contrast(labels: torch.Tensor) -> float:
        image = acquire(labels, SPACING, PROBE, PLAIN, seeded()).float()
        return float(image[under].mean() - image[beside].mean())

    none = contrast(uniform())
    assert abs(none) < 8
    assert contrast(with_ball(Tissue.BONE, 7.0)) < none - 20
    assert contrast(with_ball(Tissue.FLUID, 7.0)) > none + 8


def test_shadow_grows_with_frequency() -> None:
    def behind(frequency: float) -> float:
        probe = replace(PROBE, frequency_mhz=frequency)
        _, grid, parts = acquire_envelope(with_ball(Tissue.BONE, 5.0), SPACING, probe, PLAIN, seeded())
        row = int((grid.depth - 48).abs().argmin())
        centre = parts.loss_db[row, len(grid.theta) // 2, len(grid.phi) // 2]
        return float(centre - parts.loss_db[row].median())

    # Two-way attenuation in dB is proportional to frequency.
    assert behind(6.0) == pytest.approx(2 * behind(3.0), rel=0.1)
    assert behind(3.0) > 10


def _interface_strength(angle_deg: float, first: Tissue = Tissue.FLUID, second: Tissue = Tissue.SOFT) -> float:
    """Integrated reflectivity along the central beam of a plane interface whose normal is turned by an angle."""
    k, _, i = coordinates()
    angle = np.radians(angle_deg)
    labels = uniform(first)
    labels[k * np.cos(angle) + i * np.sin(angle) > 0] = int(second)
    grid = beam_grid(PROBE, PLAIN)
    reflectivity, _ = interfaces(sample_medium(labels, SPACING, PROBE, grid), grid)
    centre = reflectivity[:, len(grid.theta) // 2 - 3 : len(grid.theta) // 2 + 4, len(grid.phi) // 2]
    return float(centre.sum(dim=0).mean() * grid.steps[0, 0])


def test_interface_echo_depends_on_angle_and_impedance() -> None:
    square, oblique, grazing = (_interface_strength(angle) for angle in (0.0, 30.0, 60.0))
    # Squarely met, the integral of |d ln Z / dr| is the step of ln Z.
    assert square == pytest.approx(np.log(1.62 / 1.51), rel=0.1)
    assert square > 1.1 * oblique > 1.1 * 1.4 * grazing > 0
    assert _interface_strength(0.0, Tissue.FLUID, Tissue.BONE) > 8 * square
    assert _interface_strength(0.0, Tissue.FLUID, Tissue.FLUID) == pytest.approx(0.0, abs=1e-5)


def test_outside_the_field_of_view_is_zero_and_inside_is_not() -> None:
    image = acquire(uniform(), SPACING, PROBE, STYLES["A"], seeded())
    seen = field_of_view(SHAPE, SPACING, PROBE)
    assert image.dtype == torch.uint8
    assert tuple(image.shape) == SHAPE
    assert int(image[~seen].max()) == 0
    assert int(image[seen].min()) >= 1
    assert 0.3 < float(seen.float().mean()) < 0.95


@pytest.mark.parametrize(("shape", "spacing"), [((81, 77, 79), 0.6), ((161, 153, 157), 0.3)])
def test_things_are_shown_where_they_are(shape: tuple[int, int, int], spacing: float) -> None:
    k, j, i = coordinates(shape, spacing)
    labels = torch.full(shape, int(Tissue.FLUID), dtype=torch.uint8)
    place = (6.2, -5.1, 3.7)  # k, j, i
    labels[(k - place[0]) ** 2 + (j - place[1]) ** 2 + (i - place[2]) ** 2 < 4**2] = int(Tissue.LUNG)
    tilted = replace(PROBE, axis=(0.0, 0.6, 0.8), elevational=(0.0, 0.8, -0.6), face_mm=(1.0, -18.0, -24.0))
    for probe in (PROBE, tilted):
        weight = (acquire(labels, spacing, probe, PLAIN, seeded()).float() - 25).clamp(min=0)
        found = [float((axis * weight).sum() / weight.sum()) for axis in (k, j, i)]
        np.testing.assert_allclose(found, place, atol=0.35)


def test_same_seed_same_image_other_seed_other_image() -> None:
    labels = scene(SHAPE, SPACING)
    first, again, other = (acquire(labels, SPACING, PROBE, STYLES["A"], seeded(s)) for s in (3, 3, 4))
    assert torch.equal(first, again)
    assert (first != other).float().mean() > 0.3


def test_image_does_not_depend_on_the_voxel_size() -> None:
    fine = acquire(scene((200, 200, 200), 0.3), 0.3, PROBE, STYLES["A"], seeded()).float()
    coarse = acquire(scene((100, 100, 100), 0.6), 0.6, PROBE, STYLES["A"], seeded()).float()
    fine, coarse = F.avg_pool3d(fine[None], 4)[0], F.avg_pool3d(coarse[None], 2)[0]
    seen = F.avg_pool3d(field_of_view((200, 200, 200), 0.3, PROBE).float()[None], 4)[0] == 1
    difference = (fine - coarse)[seen]
    assert abs(float(difference.mean())) < 2
    assert float(torch.corrcoef(torch.stack([fine[seen], coarse[seen]]))[0, 1]) > 0.93
    assert float(coarse[seen].std() / fine[seen].std()) == pytest.approx(1.0, abs=0.08)


def test_coarse_voxels_get_fewer_beams_and_speckle_they_can_show() -> None:
    fine = beam_grid(PROBE, PLAIN)
    assert beam_grid(PROBE, PLAIN, spacing_mm=0.6).shape == fine.shape
    coarse = beam_grid(PROBE, PLAIN, spacing_mm=2.0)
    assert 5 * np.prod(coarse.shape) < np.prod(fine.shape)
    assert float(coarse.widths.min()) == pytest.approx(3.0)
    labels = uniform()[::2, ::2, ::2].contiguous()
    plain = acquire(labels, 1.5, PROBE, PLAIN, seeded()).float()[6:-6, 6:-6, 6:-6]
    # neighbours are alike: nothing is finer than the voxels
    assert float(torch.corrcoef(torch.stack([plain[1:].flatten(), plain[:-1].flatten()]))[0, 1]) > 0.3


def test_styles_differ_measurably() -> None:
    figures = {}
    for name, style in STYLES.items():
        alone = replace(style, texture_db=0.0, dropout=0.0)
        part = acquire(uniform(), SPACING, PROBE, alone, seeded())[20:60, 20:60, 20:60].float()
        figures[name] = (float(part.std() / part.mean()), full_width(part, 0, SPACING))
    # B filters most, C least: the contrast of speckle falls and its grain grows.
    assert 1.1 * figures["B"][0] < figures["A"][0]
    assert 1.1 * figures["B"][0] < figures["C"][0]
    assert figures["C"][1] < figures["A"][1] < figures["B"][1]


def test_greys_over_tissue_are_those_of_a_real_volume() -> None:
    labels = scene(SHAPE, SPACING)
    k, _, i = coordinates()
    layers = (Tissue.MATERNAL, Tissue.MUSCLE, Tissue.BOUNDARY, Tissue.PLACENTA, Tissue.SOFT)
    maternal = labels == int(Tissue.MATERNAL)
    for number, layer in enumerate(layers):
        labels[maternal & (((k + 0.3 * i) / 5).floor() % len(layers) == number)] = int(layer)
    tissue = field_of_view(SHAPE, SPACING, PROBE) & (labels != int(Tissue.FLUID))
    found = []
    for seed, style in enumerate(STYLES.values()):
        image = acquire(labels, SPACING, PROBE, style, seeded(seed)).numpy()
        found.append(np.percentile(image[tissue.numpy()], [5, 25, 50, 75, 95]))
    np.testing.assert_allclose(np.mean(found, axis=0), [16, 37, 59, 85, 126], atol=15)


def test_clutter_noise_and_dropout_show() -> None:
    labels = scene(SHAPE, SPACING)
    k, j, i = coordinates()
    fluid = (labels == int(Tissue.FLUID)) & ((k**2 + j**2 + i**2) < 20**2)
    image = {}
    for name, change in {
        "plain": {},
        "clutter": {"clutter_db": -8.0},
        "noise": {"noise_db": -8.0},
        "dropout": {"dropout": 0.45},
    }.items():
        image[name] = acquire(labels, SPACING, PROBE, replace(PLAIN, **change), seeded()).float()  # type: ignore[arg-type]
    assert image["clutter"][fluid].mean() > image["plain"][fluid].mean() + 2
    assert image["noise"][fluid].mean() > image["plain"][fluid].mean() + 2
    seen = field_of_view(SHAPE, SPACING, PROBE) & (labels == int(Tissue.MATERNAL))
    low = {name: float(image[name][seen].quantile(0.1)) for name in ("plain", "dropout")}
    assert low["dropout"] < low["plain"] - 2


def test_echoing_fluid_is_as_bright_as_asked_for() -> None:
    labels = scene(SHAPE, SPACING)
    k, j, i = coordinates()
    inside = (labels == int(Tissue.FLUID)) & ((k**2 + j**2 + i**2) < 20**2)
    maternal = field_of_view(SHAPE, SPACING, PROBE) & (labels == int(Tissue.MATERNAL))
    dark, echoing = (acquire(labels, SPACING, PROBE, replace(PLAIN, fluid=f), seeded()).float() for f in (0.0, 0.3))
    assert float(dark[inside].median()) < 10
    assert 15 < float(echoing[inside].median()) < 0.8 * float(echoing[maternal].median())


def test_dropout_is_the_share_of_the_aperture_in_poor_contact() -> None:
    grid = beam_grid(PROBE, PLAIN)
    for dropout in (0.1, 0.3):
        lost = [float((contact(grid, dropout, seeded(seed)) > 3).float().mean()) for seed in range(30)]
        assert np.mean(lost) == pytest.approx(dropout, rel=0.4)
    assert float(contact(grid, 0.0, seeded()).abs().max()) == 0.0


def test_reverberation_repeats_an_interface_at_twice_its_depth() -> None:
    k, _, _ = coordinates()
    labels = uniform(Tissue.FLUID)
    labels[(k + 10).abs() < 1] = int(Tissue.BONE)  # 20 mm below the face
    level = {}
    for strength in (0.0, 0.15):
        style = replace(PLAIN, reverberation=strength)
        _, grid, parts = acquire_envelope(labels, SPACING, PROBE, style, seeded())
        middle = parts.specular[:, len(grid.theta) // 2, len(grid.phi) // 2]
        level[strength] = float(middle[(grid.depth > 36) & (grid.depth < 44)].max())
        first = float(middle[(grid.depth > 17) & (grid.depth < 23)].max())
    assert level[0.0] < 0.01 * first
    assert level[0.15] == pytest.approx(0.15 * first, rel=0.3)


def test_speckle_filter_smooths_speckle_and_keeps_edges() -> None:
    grid = beam_grid(PROBE, PLAIN)
    scatter = torch.ones(grid.shape)
    scatter[:, : len(grid.theta) // 2] = 0.01
    level = 20 * torch.log10(speckle_envelope(scatter, None, grid, seeded()).clamp(min=1e-6))
    filtered = adaptive_filter(level, grid, 1.8, 0.8)
    side = (slice(20, -20), slice(len(grid.theta) // 2 + 12, -6), slice(6, -6))
    assert filtered[side].std() < 0.75 * level[side].std()
    half = len(grid.theta) // 2
    steps = [(x[20:-20, half + 2, 6:-6] - x[20:-20, half - 3, 6:-6]).mean() for x in (level, filtered)]
    assert float(steps[1] / steps[0]) > 0.85
    assert torch.equal(adaptive_filter(level, grid, 1.8, 0.0), level)


def test_blur_keeps_a_constant_to_the_rim() -> None:
    grid = beam_grid(PROBE, PLAIN)
    blurred = gaussian_blur(grid, grid.widths)(torch.full(grid.shape, 3.0))
    torch.testing.assert_close(blurred, torch.full(grid.shape, 3.0), rtol=1e-4, atol=0)


def test_map_without_tissue_gives_a_dark_image() -> None:
    image = acquire(uniform(Tissue.OUTSIDE), SPACING, PROBE, STYLES["A"], seeded())
    assert bool(torch.isfinite(image.float()).all())


@pytest.mark.parametrize(
    ("labels", "spacing"),
    [(torch.zeros(8, 8, dtype=torch.uint8), 0.5), (torch.zeros(8, 8, 8), 0.5), (uniform(), 0.0), (uniform(), -1.0)],
)
def test_wrong_input_is_named(labels: torch.Tensor, spacing: float) -> None:
    with pytest.raises(UserError):
        acquire(labels, spacing, PROBE, STYLES["A"], seeded())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_gives_the_image_of_the_cpu_with_the_same_generator() -> None:
    labels = scene(SHAPE, SPACING)
    here = acquire(labels, SPACING, PROBE, STYLES["A"], seeded()).float()
    there = acquire(labels.cuda(), SPACING, PROBE, STYLES["A"], seeded()).cpu().float()
    assert float((here - there).abs().mean()) < 0.5
    own = torch.Generator(device="cuda").manual_seed(1)
    assert acquire(labels.cuda(), SPACING, PROBE, STYLES["A"], own).is_cuda
