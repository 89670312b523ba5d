"""Damaged, hostile and unusual DICOM files and folders: one line, in a moment, without memory."""

from __future__ import annotations

import os
import struct
import sys
import zlib

import numpy as np
import pytest
from imaging.samples import enhanced_us, kretz_file, kretz_in_dicom, multiframe, sample, save, slices_of
from pydicom import uid

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.reading import read_volume
from FetusMapV2Lib.imaging.study import read_study

VOLUME = sample((18, 17, 16), (4.0, 4.5, 5.0))


def deflated(content: bytes, tmp_path) -> None:
    dataset = enhanced_us([VOLUME])
    dataset.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    save(dataset, tmp_path / "v.dcm")
    data = (tmp_path / "v.dcm").read_bytes()
    group = 132 + 12 + int.from_bytes(data[140:144], "little")  # the end of the file meta information
    packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    (tmp_path / "v.dcm").write_bytes(data[:group] + packer.compress(content) + packer.flush())


def test_a_deflated_data_set_is_never_unpacked_without_limit(tmp_path):
    deflated(struct.pack("<HH2sHI", 0x0009, 0x1001, b"OB", 0, 80 << 20) + bytes(80 << 20), tmp_path)
    with pytest.raises(InputError, match="unpacks to more than 64 MiB"):
        read_volume(tmp_path / "v.dcm")
    data = (tmp_path / "v.dcm").read_bytes()
    (tmp_path / "v.dcm").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="truncated or damaged"):
        read_volume(tmp_path / "v.dcm")


def test_sequences_nested_without_end_are_one_line(tmp_path, capfd):
    save(enhanced_us([VOLUME]), tmp_path / "v.dcm")
    data = (tmp_path / "v.dcm").read_bytes()
    start = data.index(b"\x08\x00\x16\x00UI")
    nest = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    (tmp_path / "v.dcm").write_bytes(data[:start] + nest * 3 * sys.getrecursionlimit() + data[start:])
    with pytest.raises(InputError, match=r"v\.dcm"):
        read_volume(tmp_path / "v.dcm")
    assert capfd.readouterr() == ("", "")


def test_a_length_beyond_the_file_costs_no_memory(tmp_path):
    save(enhanced_us([VOLUME]), tmp_path / "v.dcm")
    data = (tmp_path / "v.dcm").read_bytes()
    start = data.index(b"\xe0\x7f\x10\x00OB") if b"\xe0\x7f\x10\x00OB" in data else data.index(b"\xe0\x7f\x10\x00OW")
    (tmp_path / "v.dcm").write_bytes(data[: start + 8] + struct.pack("<I", 0xFFFFFFF0) + data[start + 12 :])
    assert np.array_equal(read_volume(tmp_path / "v.dcm").array, VOLUME.array)


def test_kretz_data_of_another_type_are_no_volume(tmp_path):
    raw = kretz_file(np.zeros((16, 16, 16)), 1.0, 5.0, 0.0, (), (), cartesian_mm=2.0)
    dataset = kretz_in_dicom(raw)
    dataset.add_new((0x7FE1, 0x1101), "UL", 2**32 - 1)
    save(dataset, tmp_path / "v.dcm")
    with pytest.raises(InputError, match="2D image or cine loop"):
        read_volume(tmp_path / "v.dcm")


def test_pipes_are_not_waited_for_and_long_names_are_one_line(tmp_path):
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "v.dcm")
        with pytest.raises(InputError, match="not a file"):
            read_volume(tmp_path / "v.dcm")
        assert read_study(tmp_path / "v.dcm") is None
        with pytest.raises(InputError, match="no DICOM image"):
            read_volume(tmp_path)
    for name in ("x" * 5000, "a\0b"):
        with pytest.raises(InputError):
            read_volume(tmp_path / name)
    with pytest.raises(InputError, match="cannot be read"):
        read_study(tmp_path / ("x" * 5000))


# --- folders


def stored(folder, datasets, **values):
    folder.mkdir(exist_ok=True)
    for number, dataset in enumerate(datasets):
        dataset.SeriesInstanceUID = "1.2.3"
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
        save(dataset, folder / f"{values.get('SeriesInstanceUID', '')}{number:02d}.dcm")


def test_other_objects_beside_the_slices_are_left_aside(tmp_path):
    stored(tmp_path, slices_of(VOLUME))
    report = multiframe(VOLUME.array, "1.2.840.10008.5.1.4.1.1.88.33", "SR")
    for keyword in ("Rows", "Columns", "PixelData", "NumberOfFrames"):
        delattr(report, keyword)
    save(report, tmp_path / "report.dcm")
    (tmp_path / "._00.dcm").write_bytes(b"\0\5\x16\7" * 100)
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    (tmp_path / "v.nrrd").write_bytes(b"NRRD0004\n")
    (tmp_path / "more").mkdir()
    volume = read_volume(tmp_path)
    assert np.array_equal(volume.array, VOLUME.array)
    assert [w for w in volume.warnings if w.endswith("left out: report.dcm, v.nrrd")]


@pytest.mark.parametrize("keyword", ["Rows", "file"])
def test_an_end_slice_that_is_no_image_any_more_is_named(tmp_path, keyword):
    """The others lie evenly without it, so that nothing else tells of the loss."""
    slices = slices_of(VOLUME)
    stored(tmp_path, slices)
    if keyword == "file":
        (tmp_path / "00.dcm").rename(tmp_path / "IM00")
        (tmp_path / "IM00").write_bytes(b"no DICOM any more" * 100)
    else:
        del slices[0].Rows
        save(slices[0], tmp_path / "00.dcm")
    volume = read_volume(tmp_path)
    assert len(volume.array) == len(slices) - 1
    assert any("left out" in warning and "00" in warning for warning in volume.warnings)


def test_images_of_two_series_or_patients_are_refused(tmp_path):
    stored(tmp_path, slices_of(VOLUME))
    stored(tmp_path, slices_of(VOLUME)[:1], SeriesInstanceUID="1.2.4")
    with pytest.raises(InputError, match="2 DICOM series or patients"):
        read_volume(tmp_path)
    with pytest.raises(InputError, match="2 DICOM series or patients"):
        read_study(tmp_path)
    stored(tmp_path / "b", slices_of(VOLUME)[:9], PatientID="A")
    for number, dataset in enumerate(slices_of(VOLUME)[9:]):
        dataset.SeriesInstanceUID, dataset.PatientID = "1.2.3", "B"
        save(dataset, tmp_path / "b" / f"b{number}.dcm")
    with pytest.raises(InputError, match="2 DICOM series or patients"):
        read_volume(tmp_path / "b")


@pytest.mark.parametrize("content", [b"", bytes(128) + b"DICM\x02\x00", b"lost"])
def test_a_slice_that_cannot_be_read_is_named(tmp_path, content):
    stored(tmp_path, slices_of(VOLUME))
    (tmp_path / "17.dcm").write_bytes(content)
    with pytest.raises(InputError, match=r"17\.dcm"):
        read_volume(tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="every file can be read here")
def test_a_slice_without_permission_is_named(tmp_path):
    stored(tmp_path, slices_of(VOLUME))
    (tmp_path / "17.dcm").chmod(0)
    with pytest.raises(InputError, match=r"17\.dcm.*Permission"):
        read_volume(tmp_path)


def test_a_folder_that_only_holds_folders_is_no_volume(tmp_path):
    stored(tmp_path / "series", slices_of(VOLUME))
    with pytest.raises(InputError, match="no DICOM image"):
        read_volume(tmp_path)
    assert read_study(tmp_path) is None
