"""Probes and vendor styles: geometry of the torus, sampled fields of view, mixes and their separation."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from FetusMapV2Lib.phantom.probe import Probe, box_coordinates, coverage, field_of_view, sample_probe
from FetusMapV2Lib.phantom.style import (
    HELD_OUT_MIX,
    STYLES,
    TRAINING_MIX,
    WIDE_MIX,
    StyleMix,
    VendorStyle,
    blended,
    sample_style,
)

EXTENT = (93.6, 93.9, 138.0)  # i, j, k


def probes(count: int) -> list[Probe]:
    return [sample_probe(torch.Generator().manual_seed(seed), EXTENT) for seed in range(count)]


def test_beam_coordinates_go_to_points_and_back() -> None:
    probe = probes(1)[0]
    rng = torch.Generator().manual_seed(0)
    share = torch.rand((3, 200), generator=rng) * 2 - 1
    r = probe.radius_mm + (share[0] + 1) / 2 * probe.depth_mm
    theta, phi = share[1] * probe.half_lateral_rad, share[2] * probe.half_elevation_rad
    points = probe.points(r, theta, phi)
    rotation, centre = probe.frame()
    x, y, z = rotation @ (points - centre).T
    back = probe.normalised(x, y, z)
    for found, expected in zip(back, (share[2], share[1], share[0]), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_torus_is_that_of_swept_probes() -> None:
    probe = probes(1)[0]
    theta, phi, r = 0.2, -0.3, probe.radius_mm + 20
    distance = probe.radius_mm - probe.sweep_radius_mm
    x = r * math.sin(theta)
    y = (r * math.cos(theta) - distance) * math.sin(phi)
    z = distance * (1 - math.cos(phi)) + r * math.cos(theta) * math.cos(phi)
    rotation, centre = probe.frame()
    point = probe.points(torch.tensor([r]), torch.tensor([theta]), torch.tensor([phi]))[0]
    torch.testing.assert_close(rotation @ (point - centre), torch.tensor([x, y, z]), atol=1e-3, rtol=0)


def test_voxels_are_placed_about_the_centre_of_the_box() -> None:
    probe = probes(1)[0]
    shape = (11, 9, 7)
    phi, theta, r = box_coordinates(shape, 2.0, probe, "cpu", 0, 11)
    position = torch.tensor([(5 - 3) * 2.0, (1 - 4) * 2.0, (8 - 5) * 2.0])  # i, j, k of voxel [8, 1, 5]
    rotation, centre = probe.frame()
    expected = probe.normalised(*(rotation @ (position - centre)))
    for image, value in zip((phi, theta, r), expected, strict=True):
        torch.testing.assert_close(image[8, 1, 5], value, atol=1e-4, rtol=0)
    part = box_coordinates(shape, 2.0, probe, "cpu", 4, 6)
    torch.testing.assert_close(part[2], r[4:6])


def test_probes_look_in_through_all_six_faces_and_cut_corners_off() -> None:
    faces = set()
    for probe in probes(60):
        axis = np.array(probe.axis)
        along = int(np.abs(axis).argmax())
        faces.add((along, axis[along] > 0))
        # In front of the face through which it looks.
        assert probe.face_mm[along] * axis[along] < -0.5 * EXTENT[along] + 3
        frame = np.array([probe.lateral, probe.elevational, probe.axis])
        np.testing.assert_allclose(frame @ frame.T, np.eye(3), atol=1e-5)
        assert probe.sweep_radius_mm > probe.radius_mm * (1 - math.cos(probe.half_lateral_rad)) + 5
    assert len(faces) == 6


def test_probes_see_most_of_the_box_but_not_its_corners() -> None:
    for probe in probes(24):
        assert 0.65 <= coverage(EXTENT, probe) <= 0.97
        seen = field_of_view((46, 32, 32), 3.0, probe)
        assert bool(seen[23, 16, 16])
        corners = seen[::45, ::31, ::31]
        assert int(corners.sum()) <= 4


def test_same_generator_state_same_probe_and_style() -> None:
    assert probes(3) == probes(3)
    first, second = (sample_style(torch.Generator().manual_seed(5)) for _ in range(2))
    assert first == second
    assert sample_style(torch.Generator().manual_seed(6)) != first


def _numbers(style: VendorStyle) -> dict[str, float]:
    return {name: value for name, value in asdict(style).items() if isinstance(value, float)}


def test_training_mix_draws_all_styles_near_their_centres() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = [sample_style(generator, TRAINING_MIX) for _ in range(90)]
    assert {style.name for style in drawn} == set(STYLES)
    assert {style.spacing_mm for style in drawn} == {0.3, 0.5}
    for style in drawn:
        assert 45 <= style.dynamic_range_db <= 75
        assert abs(style.dynamic_range_db - STYLES[style.name].dynamic_range_db) <= 4
    assert len({style.grey for style in drawn}) == 90


def test_the_wide_mix_goes_far_beyond_the_training_mix() -> None:
    generator = torch.Generator().manual_seed(2)
    training, wide = ([sample_style(generator, mix) for _ in range(120)] for mix in (TRAINING_MIX, WIDE_MIX))
    for name, factor in (("grey", 2.0), ("dynamic_range_db", 1.5), ("clutter_db", 1.3), ("gamma", 2.0)):
        spreads = [np.ptp([getattr(style, name) for style in styles]) for styles in (training, wide)]
        assert spreads[1] > factor * spreads[0], name
    assert not any(style.fluid for style in training)
    assert 0.3 < np.mean([style.fluid > 0 for style in wide]) < 0.7


def test_weights_choose_styles() -> None:
    generator = torch.Generator().manual_seed(0)
    mix = StyleMix(weights={"B": 1.0})
    assert {sample_style(generator, mix).name for _ in range(20)} == {"B"}
    still = sample_style(generator, replace(mix, jitter=(0.0, 0.0)))
    assert still == STYLES["B"]


def test_held_out_styles_are_none_that_training_can_draw() -> None:
    generator = torch.Generator().manual_seed(1)
    training = [sample_style(generator, TRAINING_MIX) for _ in range(300)]
    ranges = {}
    for name in STYLES:
        table = np.array([list(_numbers(style).values()) for style in training if style.name == name])
        ranges[name] = table.min(axis=0), table.max(axis=0)
    counts = []
    for _ in range(60):
        held_out = sample_style(generator, HELD_OUT_MIX)
        assert "+" in held_out.name
        values = np.array(list(_numbers(held_out).values()))
        outside = [int(((values < low) | (values > high)).sum()) for low, high in ranges.values()]
        counts.append(min(outside))
    # Of the 17 settings, how many lie outside the training range of the nearest style.
    assert min(counts) >= 1
    assert np.mean(counts) >= 4


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_blend_lies_between(share: float) -> None:
    mixed = blended(STYLES["A"], STYLES["C"], share)
    expected = (1 - share) * STYLES["A"].dynamic_range_db + share * STYLES["C"].dynamic_range_db
    assert mixed.dynamic_range_db == pytest.approx(expected)
    assert mixed.name == "A+C"
    assert mixed.spacing_mm in (0.3, 0.5)
