"""GE Kretz: a synthetic volume, sampled on the torus, comes back where it was in Cartesian space."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from imaging.samples import kretz_file, kretz_in_dicom, record, save

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.reading import read_sequence, read_volume

RESOLUTION, FIRST, BEND = 0.8, 38.0, 12.0  # mm
THETA = np.linspace(-0.6, 0.6, 70)
PHI = np.linspace(-0.5, 0.45, 60)
COUNT = 100
# A ball far from every symmetry, in the space where y = +(r cos(theta) - D) sin(phi), mm.
BALL, RADIUS = np.array([12.0, 15.0, 80.0]), 6.0


def torus(phi=PHI, theta=THETA):
    """Cartesian points (phi, theta, r, 3) of the samples, plooney's sign."""
    r = FIRST + RESOLUTION * np.arange(COUNT)
    phi, theta, r = np.meshgrid(phi, theta, r, indexing="ij")
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


@pytest.mark.parametrize("handedness, sign", [("slicerheart", -1), ("plooney", 1)])
@pytest.mark.parametrize(
    "phi, theta",
    [((-0.7, 0.1), (-0.2, 0.9)), ((0.7, -0.1), (0.2, -0.9)), ((0.2, 0.9), (-0.9, -0.3)), ((-0.4, 0.4), (-0.5, 0.5))],
)
def test_the_box_holds_the_whole_fan_and_no_more(tmp_path, phi, theta, handedness, sign):
    phi, theta = np.linspace(*phi, 9), np.linspace(*theta, 11)
    voxels = np.full((9, 11, COUNT), 100, np.uint8)
    (tmp_path / "v.vol").write_bytes(kretz_file(voxels, RESOLUTION, FIRST, BEND, theta, phi))
    volume = read_volume(tmp_path / "v.vol", kretz_handedness=handedness)
    points = torus(phi, theta).reshape(-1, 3) * [1, sign, 1]
    first = volume.ijk_to_ras[:3, 3]
    last = first + volume.spacing * (np.array(volume.shape[::-1]) - 1)
    assert (first <= points.min(axis=0) + 1e-9).all() and (last >= points.max(axis=0) - 1e-9).all()
    assert (first > points.min(axis=0) - volume.spacing).all() and (last < points.max(axis=0) + volume.spacing).all()


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
    frames = read_sequence(tmp_path / "v.vol", kretz_handedness="plooney")
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


# --- geometry that is missing or cannot be


def records_of(data: bytes) -> list[tuple[int, int, bytes]]:
    found, position = [], 16
    while position < len(data):
        group, element, length = struct.unpack_from("<HHI", data, position)
        found.append((group, element, data[position + 8 : position + 8 + length]))
        position += 8 + length
    return found


def changed(changes: dict[tuple[int, int], bytes | None], data: bytes | None = None) -> bytes:
    """The ball's file with some records exchanged, or left out."""
    parts = [b"KRETZFILE 1.0   "]
    for group, element, value in records_of(SMALL if data is None else data):
        new = changes.get((group, element), value)
        parts += [] if new is None else [record(group, element, new)]
    return b"".join(parts)


def doubles(*values: float) -> bytes:
    return np.array(values, "<f8").tobytes()


_VOXELS = np.random.default_rng(0).integers(0, 200, (20, 22, 40)).astype(np.uint8)
_BEAMS, _PLANES = np.linspace(-0.5, 0.5, 22) + np.pi / 2, np.linspace(-0.4, 0.4, 20) + np.pi / 2
SMALL = kretz_file(_VOXELS, 1.6, 40.0, 12.0, _BEAMS - np.pi / 2, _PLANES - np.pi / 2)
BOX = kretz_file(_VOXELS, 0.5, 10, 0, [], [], cartesian_mm=2.5)
_SWAPPED = _BEAMS.copy()
_SWAPPED[[5, 6]] = _SWAPPED[[6, 5]]
_NOT_A_NUMBER = _BEAMS.copy()
_NOT_A_NUMBER[5] = np.nan


@pytest.mark.parametrize(
    ("tag", "values", "line"),
    [
        ((0xC100, 1), None, "distance of the samples is missing"),
        ((0xC200, 1), None, "radius of the first sample is missing"),
        ((0xC200, 2), None, "distance between the axes is missing"),
        ((0xC300, 1), None, "angles of the planes are missing"),
        ((0xC300, 2), None, "angles of the beams are missing"),
        ((0xC300, 2), b"", "angles of the beams are missing"),
        ((0xC200, 1), b"\0" * 4, "radius of the first sample is missing"),
        ((0xC100, 1), doubles(np.nan), "no number"),
        ((0xC100, 1), doubles(0.0), "voxel size is not positive"),
        ((0xC100, 1), doubles(-0.0016), "voxel size is not positive"),
        ((0xC100, 1), doubles(1e300), "voxel size is"),
        ((0xC100, 1), doubles(0.9), "beams from"),
        ((0xC200, 1), doubles(np.inf), "no number"),
        ((0xC200, 1), doubles(-3.0), "beams from -4.8"),
        ((0xC200, 1), doubles(1e9), "beams from"),
        ((0xC200, 2), doubles(1e9), "between the axes"),
        ((0xC300, 2), _SWAPPED.tobytes(), "angles of the beams are out of order"),
        ((0xC300, 2), np.full(22, 1.5).tobytes(), "angles of the beams are out of order"),
        ((0xC300, 2), _NOT_A_NUMBER.tobytes(), "angles of the beams are no angles"),
        ((0xC300, 2), (_BEAMS * 100).tobytes(), "angles of the beams are no angles"),
        ((0xC300, 1), np.linspace(-6, 6, 20).tobytes(), "reach"),
        ((0xC300, 2), _BEAMS[:-1].tobytes(), "angles for 21 x 20 beams, 22 x 20 are there"),
        ((0xC000, 1), b"\0\0", "holds no voxels"),
        ((0xC000, 1), b"\1", "does not state its dimensions"),
    ],
)
def test_a_geometry_that_is_missing_or_impossible_is_refused(tmp_path, tag, values, line):
    (tmp_path / "v.vol").write_bytes(changed({tag: values}))
    with pytest.raises(InputError, match=line):
        read_volume(tmp_path / "v.vol")


@pytest.mark.parametrize("size", [None, doubles(np.nan), doubles(0.0), doubles(-2.5), doubles(1e300)])
def test_a_box_without_a_voxel_size_is_refused(tmp_path, size):
    (tmp_path / "v.vol").write_bytes(changed({(0x0010, 0x0022): size}, BOX))
    with pytest.raises(InputError, match="voxel size is"):
        read_volume(tmp_path / "v.vol")


def test_records_that_are_stated_twice(tmp_path):
    (tmp_path / "v.vol").write_bytes(SMALL + record(0xC100, 1, doubles(0.0016)))
    assert read_volume(tmp_path / "v.vol").warnings == ()
    for tag, value in (((0xC100, 1), doubles(0.002)), ((0xD000, 1), bytes(_VOXELS.size)), ((0xC000, 2), b"\x16\1")):
        (tmp_path / "v.vol").write_bytes(SMALL + record(*tag, value))
        with pytest.raises(InputError, match="is stated twice, differently"):
            read_volume(tmp_path / "v.vol")


@pytest.mark.parametrize("order", [1, -1])
def test_angles_may_rise_or_fall_and_be_uneven(tmp_path, order):
    beams = np.sort(_BEAMS + 0.3 * (_BEAMS - _BEAMS.mean()) ** 3)
    (tmp_path / "a.vol").write_bytes(changed({(0xC300, 2): beams.tobytes()}))
    turned = record(0xD000, 1, _VOXELS[:, ::order].tobytes())[8:]
    (tmp_path / "b.vol").write_bytes(changed({(0xC300, 2): beams[::order].tobytes(), (0xD000, 1): turned}))
    one, other = (read_volume(tmp_path / name) for name in ("a.vol", "b.vol"))
    assert np.allclose(one.ijk_to_ras, other.ijk_to_ras)
    assert np.mean(np.abs(one.array.astype(int) - other.array) > 1) < 0.002


def test_volumes_over_time_that_are_incomplete_are_named(tmp_path):
    later = _VOXELS[::-1].tobytes()
    (tmp_path / "v.vol").write_bytes(SMALL + record(0xD600, 1, later) + record(0xD600, 1, later[:-10]))
    frames = read_sequence(tmp_path / "v.vol")
    assert len(frames) == 2 and "1 of the 3 volumes in the file are compressed or incomplete" in frames[0].warnings[0]


@pytest.mark.parametrize("tail", [b"\0" * 4, b"\0" * 4096])
def test_zeros_behind_the_records_are_padding(tmp_path, tail):
    (tmp_path / "v.vol").write_bytes(SMALL + tail)
    assert read_volume(tmp_path / "v.vol").warnings == ()


@pytest.mark.parametrize("tail", [b"\0\xd6\1", record(0xD600, 1, b"1234")[:-1]])
def test_a_record_that_is_cut_off_is_truncation(tmp_path, tail):
    (tmp_path / "v.vol").write_bytes(SMALL + tail)
    with pytest.raises(InputError, match="truncated"):
        read_volume(tmp_path / "v.vol")
