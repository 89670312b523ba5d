"""Philips Cartesian DICOM: counts, units and private elements that do not fit are named or refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from imaging.dicom.asking import read, refusal
from imaging.samples import philips, sample, save
from pydicom import uid

from FetusMapV2Lib.imaging.reading import read_sequence, read_volume

VOLUME = sample((18, 17, 16), (4.0, 4.5, 5.0))


@pytest.mark.parametrize("number", [2, 36, None])
def test_philips_frames_are_volumes_or_slices(tmp_path, number):
    dataset = philips([VOLUME, VOLUME.with_(array=np.roll(VOLUME.array, 2, axis=1))])
    if number is None:
        del dataset.NumberOfFrames
    else:
        dataset.NumberOfFrames = number
    save(dataset, tmp_path / "v.dcm")
    frames = read_sequence(tmp_path / "v.dcm")
    assert len(frames) == 2 and np.array_equal(frames[1].array, np.roll(VOLUME.array, 2, axis=1))


@pytest.mark.parametrize("number", [2, 36, 1, 18, 72, None])
def test_compressed_philips_frames_are_volumes_or_slices_too(tmp_path, number):
    dataset = philips([VOLUME, VOLUME])
    dataset.NumberOfFrames = 36
    dataset.compress(uid.RLELossless, generate_instance_uid=False)
    if number is None:
        del dataset.NumberOfFrames
    else:
        dataset.NumberOfFrames = number
    if number in (2, 36, None):
        assert np.array_equal(read(dataset, tmp_path).array, VOLUME.array)
        assert len(read_sequence(tmp_path / "v.dcm")) == 2
    else:
        refusal(dataset, tmp_path)


@pytest.mark.parametrize("number", [1, 3, 35, 37, 1000])
def test_philips_counts_that_do_not_match_the_data_are_refused(tmp_path, number):
    dataset = philips([VOLUME, VOLUME])
    dataset.NumberOfFrames = number
    assert f"states {number} volumes of 18 slices and holds 36" in refusal(dataset, tmp_path)


@pytest.mark.parametrize("slices", [0, 17, 20, 36, 2**32 - 1])
def test_a_philips_number_of_slices_that_is_wrong_is_refused(tmp_path, slices):
    dataset = philips([VOLUME, VOLUME])
    dataset[0x3001, 0x1001].value = slices
    assert "slices" in refusal(dataset, tmp_path)


def test_philips_units_are_named(tmp_path):
    dataset = philips([VOLUME])
    dataset.PhysicalUnitsXDirection = 4
    (line,) = read(dataset, tmp_path).warnings
    assert "along x is stated as 0.4 in seconds, not in cm; 4 mm was assumed" in line
    assert read_volume(tmp_path / "v.dcm", spacing=4.0).warnings == ()
    del dataset.PhysicalUnitsXDirection
    assert "0.4 without a unit" in read(dataset, tmp_path).warnings[0]


def test_philips_slice_distances_that_differ_are_both_named(tmp_path):
    dataset = philips([VOLUME])
    dataset.SpacingBetweenSlices = 5
    assert read(dataset, tmp_path).warnings == ()
    dataset.SpacingBetweenSlices = 2.5
    found = read(dataset, tmp_path)
    assert found.spacing[2] == pytest.approx(5.0)
    assert "5 mm by Philips' own element but 2.5 mm by SpacingBetweenSlices" in found.warnings[0]


@pytest.mark.parametrize("value", [0.0, -0.4, float("nan"), 1e308, None])
def test_a_philips_voxel_size_that_cannot_be_is_refused(tmp_path, value):
    dataset = philips([VOLUME])
    dataset.PhysicalDeltaX = value
    assert "voxel size is" in refusal(dataset, tmp_path)


def test_philips_elements_in_another_block_and_without_their_type(tmp_path):
    dataset = philips([VOLUME])
    for element in (0x0010, 0x1001, 0x1003):
        del dataset[0x3001, element]
    block = dataset.private_block(0x3001, "Philips3D", create=True)
    block.add_new(0x01, "UN", struct.pack("<I", 18))
    block.add_new(0x03, "UN", struct.pack("<d", 0.5))
    assert read(dataset, tmp_path).spacing == pytest.approx((4.0, 4.5, 5.0))
    block[0x03].value, block[0x01].value = b"0.50", b"18"
    assert read(dataset, tmp_path).spacing == pytest.approx((4.0, 4.5, 5.0))
