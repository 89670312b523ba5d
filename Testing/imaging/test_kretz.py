"""GE Kretz: a synthetic volume, sampled on the torus, comes back where it was in Cartesian space."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from imaging.samples import kretz_file, kretz_in_dicom, record, save

from FetusMapV2Lib.foundation.errors import InputError
from FetusMapV2Lib.imaging.reading import read_frames, read_volume

RESOLUTION, FIRST, BEND = 0.8, 38.0, 12.0  # mm
THETA = np.linspace(-0.6, 0.6, 70)
PHI = np.linspace(-0.5, 0.45, 60)
COUNT = 100
# A ball far from every symmetry, in the space where y = +(r cos(theta) - D) sin(phi), mm.
BALL, RADIUS = np.array([12.0, 15.0, 80.0]), 6.0


def torus():
    """Cartesian points (phi, theta, r, 3) of the samples, plooney's sign."""
    r = FIRST + RESOLUTION * np.arange(COUNT)
    phi, theta, r = np.meshgrid(PHI, THETA, r, indexing="ij")
    x = r * np.sin(theta)
    y = (r * np.cos(theta) - BEND) * np.sin(phi)
    z = BEND * (1 - np.cos(phi)) + r * np.cos(theta) * np.cos(phi)
    return np.stack([x, y, z], -1)


def ball_file(offset=(0.0, 0.0, 0.0)) -> bytes:
    distance = np.linalg.norm(torus() - BALL - offset, axis=-1)
    voxels = np.clip((RADIUS - distance) * 50 + 120, 20, 220).astype(np.uint8)
    return kretz_file(voxels, RESOLUTION, FIRST, BEND, THETA, PHI)


def centre(volume) -> tuple[np.ndarray, float]:
    """Centroid in RAS mm and volume-equivalent radius of the ball."""
    k, j, i = np.nonzero(volume.array > 120)
    points = np.stack([i, j, k, np.ones(len(i))], -1) @ volume.ijk_to_ras.T
    return points[:, :3].mean(0), (len(i) * np.prod(volume.spacing) * 3 / 4 / np.pi) ** (1 / 3)


@pytest.mark.parametrize("handedness, sign", [("slicerheart", -1), ("plooney", 1)])
def test_scan_conversion_puts_a_ball_where_it_was(tmp_path, handedness, sign):
    (tmp_path / "v.vol").write_bytes(ball_file())
    volume = read_volume(tmp_path / "v.vol", kretz_handedness=handedness)
    found, radius = centre(volume)
    assert np.abs(found - BALL * [1, sign, 1]).max() < 0.3
    assert radius == pytest.approx(RADIUS, abs=0.3)
    assert not volume.is_left_handed
    assert volume.array.dtype == np.uint8
    assert volume.array[0, 0, 0] == 0  # outside the field of view


def test_the_two_conventions_are_mirror_images(tmp_path):
    (tmp_path / "v.vol").write_bytes(ball_file())
    one = read_volume(tmp_path / "v.vol", kretz_handedness="slicerheart")
    other = read_volume(tmp_path / "v.vol", kretz_handedness="plooney")
    assert one.shape == other.shape
    assert np.mean(one.array != other.array) > 0.005
    # Equal but for samples that fall on the border of the field of view.
    assert np.mean(np.abs(one.array[:, ::-1].astype(int) - other.array) > 1) < 0.002


def test_unknown_handedness_is_refused(tmp_path):
    (tmp_path / "v.vol").write_bytes(ball_file())
    with pytest.raises(InputError, match="slicerheart or plooney"):
        read_volume(tmp_path / "v.vol", kretz_handedness="left")  # type: ignore[arg-type]


def test_kretz_inside_dicom(tmp_path):
    save(kretz_in_dicom(ball_file()), tmp_path / "v.dcm")
    found, _ = centre(read_volume(tmp_path / "v.dcm", kretz_handedness="plooney"))
    assert np.abs(found - BALL).max() < 0.3


def test_several_volumes_over_time(tmp_path):
    later = ball_file((0.0, -10.0, 5.0))
    marker = struct.pack("<HH", 0xD000, 1)
    (tmp_path / "v.vol").write_bytes(ball_file() + record(0xD600, 1, later[later.rindex(marker) + 8 :]))
    frames = read_frames(tmp_path / "v.vol", kretz_handedness="plooney")
    assert len(frames) == 2
    assert np.abs(centre(frames[1])[0] - BALL - [0, -10, 5]).max() < 0.3


def test_a_wavelet_compressed_volume_names_the_remedy(tmp_path):
    data = ball_file()
    start = data.rindex(struct.pack("<HH", 0xD000, 1))
    for kept in (b"", record(0xD000, 1, b"\x12" * 5000), record(0xD100, 1, b"\x12" * 5000)):
        (tmp_path / "v.vol").write_bytes(data[:start] + kept)
        with pytest.raises(InputError, match=r"v\.vol.*wavelet-compressed.*uncompressed"):
            read_volume(tmp_path / "v.vol")


@pytest.mark.parametrize("part", [0.2, 0.5, 0.99])
def test_a_truncated_file_is_said_to_be_truncated(tmp_path, part):
    data = ball_file()
    (tmp_path / "v.vol").write_bytes(data[: int(len(data) * part)])
    with pytest.raises(InputError, match="truncated"):
        read_volume(tmp_path / "v.vol")


def test_angles_that_do_not_fit_the_voxels_are_refused(tmp_path):
    voxels = np.zeros((20, 20, 20), np.uint8)
    (tmp_path / "v.vol").write_bytes(kretz_file(voxels, 1.0, 30, 5, THETA[:7], PHI[:20]))
    with pytest.raises(InputError, match="geometry"):
        read_volume(tmp_path / "v.vol")
