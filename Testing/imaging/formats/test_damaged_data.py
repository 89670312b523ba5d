"""Packed voxels are good only when their checksum is: one flipped bit, a hole or a cut is never read as a volume."""

from __future__ import annotations

import bz2
import gzip

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from imaging.samples import blobs, sample

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.formats import itk_files
from FetusMapV2Lib.imaging.reading import read_sequence, read_volume
from FetusMapV2Lib.imaging.writing import write_sequence

HEADER = (
    "NRRD0004\ntype: uchar\ndimension: 3\nspace: left-posterior-superior\nsizes: 24 32 40\n"
    "space directions: (2,0,0) (0,2,0) (0,0,2)\nspace origin: (0,0,0)\nencoding: {}\n"
)
#: Noise, so that no two parts of the packed data are alike.
NOISE = np.random.default_rng(0).integers(0, 255, (40, 32, 24), dtype=np.uint8)


def packed_files(folder):
    """Each way of storing packed voxels: (file to read, file that holds the data)."""
    image = sitk.GetImageFromArray(NOISE)
    image.SetSpacing((2.0, 2.0, 2.0))
    for name, data in [
        ("v.nrrd", "v.nrrd"), ("v.mha", "v.mha"), ("v.nii.gz", "v.nii.gz"), ("v.nhdr", "v.raw.gz"), ("v.mhd", "v.zraw")
    ]:  # fmt: skip
        sitk.WriteImage(image, str(folder / name), True)
        yield folder / name, folder / data
    (folder / "b.nrrd").write_bytes(HEADER.format("bzip2").encode() + b"\n" + bz2.compress(NOISE.tobytes()))
    yield folder / "b.nrrd", folder / "b.nrrd"
    sequence = [sample().with_(array=NOISE), sample().with_(array=NOISE[::-1])]
    write_sequence(folder / "v.seq.nrrd", sequence)
    yield folder / "v.seq.nrrd", folder / "v.seq.nrrd"


def test_no_damage_to_packed_voxels_is_read(tmp_path):
    for path, data in packed_files(tmp_path):
        whole = data.read_bytes()
        assert np.array_equal(read_volume(path).array, NOISE)
        generator = np.random.default_rng(1)
        start = len(whole) - 12_000
        damages = [whole[: len(whole) // 2] + bytes(4096) + whole[len(whole) // 2 + 4096 :], whole[:-1], whole[:-5]]
        damages += [whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2 - 8) + whole[-8:]]
        for place in [*generator.integers(start, len(whole) - 1, 20), len(whole) - 2]:
            flipped = bytearray(whole)
            flipped[place] ^= 1 << int(generator.integers(8))
            damages.append(bytes(flipped))
        for damaged in damages:
            data.write_bytes(damaged)
            with pytest.raises(InputError, match="damaged"):
                read_volume(path)
        data.write_bytes(whole)


@pytest.mark.parametrize("held", [True, False])
def test_the_first_frame_of_a_damaged_sequence_is_not_read(tmp_path, held, monkeypatch):
    """Whether its volumes are kept together or unpacked one by one."""
    if not held:
        monkeypatch.setattr(itk_files, "_HELD_BYTES", 0)
    write_sequence(tmp_path / "s.seq.nrrd", [sample().with_(array=NOISE)] * 3)
    assert all(np.array_equal(read_sequence(tmp_path / "s.seq.nrrd")[t].array, NOISE) for t in (0, 2, 1))
    data = bytearray((tmp_path / "s.seq.nrrd").read_bytes())
    data[-200] ^= 4
    (tmp_path / "s.seq.nrrd").write_bytes(data)
    frames = read_sequence(tmp_path / "s.seq.nrrd")
    assert len(frames) == 3
    with pytest.raises(InputError, match="damaged"):
        frames[0]


@pytest.mark.parametrize("packing", ["raw", "gzip", "bzip2"])
def test_more_data_than_the_sizes_need(tmp_path, packing):
    """A little is padding and said so; a slice or more means that the sizes are wrong."""
    pack = {"raw": bytes, "gzip": gzip.compress, "bzip2": bz2.compress}[packing]
    header = HEADER.format(packing).encode() + b"\n"
    path = tmp_path / "v.nrrd"
    path.write_bytes(header + pack(NOISE.tobytes() + b"\n" * 100))
    found = read_volume(path)
    assert np.array_equal(found.array, NOISE)
    assert any("100 bytes behind the voxels" in line for line in found.warnings)
    path.write_bytes(header + pack(NOISE.tobytes() + bytes(24 * 32)))
    with pytest.raises(InputError, match="more voxels than the 24 x 32 x 40"):
        read_volume(path)


def test_several_members_padding_and_garbage_behind_them(tmp_path):
    header = HEADER.format("gzip").encode() + b"\n"
    packed = gzip.compress(NOISE.tobytes()[:9000]) + gzip.compress(NOISE.tobytes()[9000:])
    path = tmp_path / "v.nrrd"
    path.write_bytes(header + packed + bytes(512))
    found = read_volume(path)
    assert np.array_equal(found.array, NOISE) and found.warnings == ()
    path.write_bytes(header + packed + b"garbage")
    found = read_volume(path)
    assert np.array_equal(found.array, NOISE)
    assert any("7 bytes behind the voxels" in line for line in found.warnings)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_a_bomb_is_unpacked_no_further_than_the_header_says(tmp_path, pack):
    bomb = pack(bytes(1 << 26))
    name = "gzip" if pack is gzip.compress else "bzip2"
    path = tmp_path / "v.nrrd"
    path.write_bytes(HEADER.format(name).encode() + b"\n" + bomb)
    with pytest.raises(InputError, match="more voxels"):
        read_volume(path)
    # Far more voxels than the packed bytes could ever hold, or than any memory.
    for sizes in ("2000 2000 250", "60000 60000 60000", "999999999999 2 2", "9" * 400 + " 24 32"):
        header = HEADER.format(name).replace("24 32 40", sizes).encode()
        path.write_bytes(header + b"\n" + pack(blobs().tobytes()))
        with pytest.raises(InputError):
            read_volume(path)


def test_a_million_tiny_members_take_no_time(tmp_path):
    """Each member that ends leaves a copy of what is left of the bytes given to it."""
    packed = gzip.compress(b"") * 20_000 + gzip.compress(NOISE.tobytes())
    path = tmp_path / "v.nrrd"
    path.write_bytes(HEADER.format("gzip").encode() + b"\n" + packed)
    assert np.array_equal(read_volume(path).array, NOISE)


@pytest.mark.parametrize("lines", ["a" + " " * 2_000_000, "a=b\n" * 300_000, "#" + "a" * (1 << 24)])
def test_long_headers_of_both_formats(tmp_path, lines):
    """None of them is looked through again and again."""
    text = "ObjectType = Image\nNDims = 3\n" + lines
    (tmp_path / "v.mha").write_text(text)
    (tmp_path / "v.nrrd").write_text("NRRD0004\n" + lines.replace("=", ":="))
    for name in ("v.mha", "v.nrrd"):
        with pytest.raises(InputError, match="header is damaged"):
            read_volume(tmp_path / name)
