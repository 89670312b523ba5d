"""Grey values of DICOM in every form that is read, beside pydicom and SimpleITK; others are refused."""

from __future__ import annotations

import io

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from imaging.samples import PYDICOM, enhanced_us, philips, sample, save, save_without_meta, slices_of
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.reading import read_volume
from FetusMapV2Lib.imaging.volume import Volume

VOLUME = sample((18, 17, 16), (4.0, 4.5, 5.0))
BOTH = pytest.mark.parametrize("build", [enhanced_us, philips])


def read(dataset: Dataset, tmp_path, **options) -> Volume:
    save(dataset, tmp_path / "v.dcm")
    return read_volume(tmp_path / "v.dcm", **options)


def refusal(dataset: Dataset, tmp_path, capfd) -> str:
    with pytest.raises(InputError) as caught:
        read(dataset, tmp_path)
    assert capfd.readouterr() == ("", "")
    return str(caught.value)


@BOTH
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("bits", "stored"), [(8, 8), (16, 16), (16, 12)])
def test_grey_values_of_every_width(tmp_path, build, bits, stored, signed):
    dataset = build([VOLUME])
    values = VOLUME.array.astype(f"<i{bits // 8}" if signed else f"<u{bits // 8}")
    if signed and bits == 8:
        values = (VOLUME.array.astype(np.int16) - 128).astype(np.int8)
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, stored, stored - 1
    dataset.PixelRepresentation = int(signed)
    dataset.PixelData = values.tobytes()
    found = read(dataset, tmp_path)
    # values below zero are shifted, and the volume says so
    assert np.array_equal(found.array, values.astype(int) - min(0, int(values.min())))
    assert len(found.warnings) == int(signed and bits == 8)


@BOTH
def test_monochrome1_is_turned_round(tmp_path, build):
    dataset = build([VOLUME])
    dataset.PhotometricInterpretation = "MONOCHROME1"
    dataset.PixelData = (255 - VOLUME.array).tobytes()
    assert np.array_equal(read(dataset, tmp_path).array, VOLUME.array)
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelData = (4095 - VOLUME.array.astype("<u2")).tobytes()
    assert np.array_equal(read(dataset, tmp_path).array, VOLUME.array)
    dataset.PixelRepresentation = 1
    dataset.PixelData = (-1 - VOLUME.array.astype("<i2")).tobytes()
    assert np.array_equal(read(dataset, tmp_path).array, VOLUME.array)


@BOTH
@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("kind", ["RGB", "YBR_FULL"])
def test_colour_becomes_grey_in_either_order(tmp_path, build, planar, kind):
    dataset = build([VOLUME])
    colour = np.repeat(VOLUME.array[..., None], 3, axis=-1)
    if kind == "YBR_FULL":
        colour[..., 1:] = 128
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, kind, planar
    dataset.PixelData = np.ascontiguousarray(np.moveaxis(colour, -1, 1) if planar else colour).tobytes()
    assert np.abs(read(dataset, tmp_path).array.astype(int) - VOLUME.array).max() <= 1


def with_palette(bits=8) -> Dataset:
    """The negative of the volume, with a palette that turns it round."""
    dataset = enhanced_us([VOLUME])
    dataset.PhotometricInterpretation = "PALETTE COLOR"
    dataset.PixelData = (255 - VOLUME.array).tobytes()
    table = (np.arange(256)[::-1] * (257 if bits == 16 else 1)).astype("<u2" if bits == 16 else "u1").tobytes()
    for colour in ("Red", "Green", "Blue"):
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, bits])
        setattr(dataset, f"{colour}PaletteColorLookupTableData", table)
    return dataset


@pytest.mark.parametrize("bits", [8, 16])
def test_a_palette_is_followed(tmp_path, bits):
    found = read(with_palette(bits), tmp_path).array / (257 if bits == 16 else 1)
    assert np.abs(found - VOLUME.array).max() <= 1


@pytest.mark.parametrize(
    "spoil",
    [
        lambda d: delattr(d, "RedPaletteColorLookupTableData"),
        lambda d: delattr(d, "BluePaletteColorLookupTableDescriptor"),
        lambda d: setattr(d, "GreenPaletteColorLookupTableData", b"\0" * 100),
        lambda d: setattr(d, "GreenPaletteColorLookupTableDescriptor", [256, 0, 12]),
        lambda d: setattr(d, "GreenPaletteColorLookupTableDescriptor", [0, 0, 16]),
    ],
)
def test_a_palette_that_is_missing_or_damaged_is_refused(tmp_path, capfd, spoil):
    dataset = with_palette()
    spoil(dataset)
    assert "palette that is missing or damaged" in refusal(dataset, tmp_path, capfd)


@pytest.mark.parametrize("place", ["image", "shared", "frame"])
def test_values_are_rescaled(tmp_path, place):
    dataset = enhanced_us([VOLUME])
    expected = VOLUME.array * 0.5 + 10.0
    if place == "image":
        dataset.RescaleSlope, dataset.RescaleIntercept = 0.5, 10
    for number, item in enumerate([*dataset.SharedFunctionalGroupsSequence, *dataset.PerFrameFunctionalGroupsSequence]):
        if place == ("frame" if number else "shared"):
            item.PixelValueTransformationSequence = [Dataset()]
            item.PixelValueTransformationSequence[0].RescaleSlope = 0.5 * number if place == "frame" else 0.5
            item.PixelValueTransformationSequence[0].RescaleIntercept = 10
    if place == "frame":
        expected = VOLUME.array * (0.5 * np.arange(1, 19)[:, None, None]) + 10.0
    found = read(dataset, tmp_path)
    assert np.array_equal(found.array, expected.astype(np.float32))


@pytest.mark.parametrize("slope", ["0", "nan", "inf", "1e30"])
def test_a_scale_that_cannot_be_is_refused(tmp_path, slope):
    dataset = philips([VOLUME])
    dataset.RescaleSlope, dataset.RescaleIntercept = "7.125", "0"
    save(dataset, tmp_path / "v.dcm")
    data = (tmp_path / "v.dcm").read_bytes()
    assert data.count(b"7.125 ") == 1
    (tmp_path / "v.dcm").write_bytes(data.replace(b"7.125 ", slope.encode().ljust(6)))
    with pytest.raises(InputError, match="scale of its grey values"):
        read_volume(tmp_path / "v.dcm")


def test_slices_are_rescaled_as_simpleitk_does(tmp_path):
    names = []
    for number, dataset in enumerate(slices_of(VOLUME)):
        dataset.RescaleSlope, dataset.RescaleIntercept = 2, -5
        dataset.InstanceNumber, dataset.SeriesInstanceUID = number + 1, "1.2.3"
        names.append(str(tmp_path / f"{number:02d}.dcm"))
        save(dataset, tmp_path / f"{number:02d}.dcm")
    expected = sitk.ReadImage(names)
    found = read_volume(tmp_path)
    assert np.array_equal(found.array, sitk.GetArrayFromImage(expected))
    last = np.array([n - 1 for n in expected.GetSize()])
    place = expected.TransformIndexToPhysicalPoint([int(n) for n in last])
    assert np.allclose((found.ijk_to_ras @ [*last, 1])[:3] * [-1, -1, 1], place)


# --- statements that contradict each other


@BOTH
@pytest.mark.parametrize(
    "values",
    [
        {"SamplesPerPixel": 3},
        {"SamplesPerPixel": 0},
        {"PhotometricInterpretation": "RGB"},
        {"PhotometricInterpretation": "XYZ"},
        {"BitsAllocated": 12},
        {"BitsAllocated": 16},
        {"BitsAllocated": 1},
        {"BitsStored": 9},
        {"BitsStored": 0},
        {"HighBit": 8},
        {"PixelRepresentation": 2},
        {"Rows": 16},
        {"Columns": 0},
        {"Columns": 65535},
        {"BitsStored": None},
        {"PixelRepresentation": None},
        {"PhotometricInterpretation": None},
        {"Rows": [17, 17]},
    ],
    ids=str,
)
def test_pixels_that_cannot_be_as_stated_are_refused(tmp_path, capfd, build, values):
    dataset = build([VOLUME])
    for keyword, value in values.items():
        delattr(dataset, keyword) if value is None else setattr(dataset, keyword, value)
    line = refusal(dataset, tmp_path, capfd)
    assert any(part in line for part in ("cannot be right", "truncated or damaged", "does not say how", "not a number"))


def test_signed_values_whose_sign_is_not_extended(tmp_path):
    dataset = enhanced_us([VOLUME])
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 1
    values = VOLUME.array.astype(np.int16) - 128
    dataset.PixelData = (values & 0x0FFF).astype("<u2").tobytes()
    assert np.array_equal(read(dataset, tmp_path).array, values - values.min())
    if PYDICOM >= 3:
        assert np.array_equal(pydicom.dcmread(tmp_path / "v.dcm").pixel_array, values)


@pytest.mark.parametrize(
    ("values", "warning"),
    [
        ({"HighBit": 6}, "8 bits are stored but the high bit is 6"),
        ({"BitsStored": 7, "HighBit": 6}, "7 bits are stated but 10 to 230 were found"),
    ],
)
def test_bits_that_are_contradictory_are_named(tmp_path, values, warning):
    dataset = enhanced_us([VOLUME])
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    found = read(dataset, tmp_path)
    assert np.array_equal(found.array, VOLUME.array)
    assert warning in found.warnings[0]


@pytest.mark.parametrize("extra", [-272, -2, 100, 272, 272 * 18])
def test_pixel_data_of_the_wrong_length_are_refused(tmp_path, capfd, extra):
    for build in (enhanced_us, philips):
        dataset = build([VOLUME])
        dataset.PixelData = (dataset.PixelData + bytes(max(0, extra)))[: 4896 + extra]
        line = refusal(dataset, tmp_path, capfd)
        assert "truncated or damaged" in line and ("holds" in line)


def test_a_number_of_frames_that_is_wrong_is_named(tmp_path, capfd):
    for stated in (17, 19, 1, 0, 2**31 - 1):
        dataset = enhanced_us([VOLUME])
        dataset.NumberOfFrames = stated
        found = read(dataset, tmp_path)
        assert np.array_equal(found.array, VOLUME.array)
        assert f"states {stated} frames but describes 18" in found.warnings[0]
    del dataset.PerFrameFunctionalGroupsSequence[17:]
    assert "17 frames of 16 x 17 pixels need 4624 bytes, it holds 4896" in refusal(dataset, tmp_path, capfd)


# --- transfer syntaxes


@BOTH
@pytest.mark.parametrize("bits", [8, 16])
def test_run_length_encoding_is_unpacked(tmp_path, build, bits):
    dataset = build([VOLUME])
    dataset.NumberOfFrames = 18
    if bits == 16:
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
        dataset.PixelData = (VOLUME.array.astype("<u2") * 257).tobytes()
    dataset.compress(uid.RLELossless, generate_instance_uid=False)
    found = read(dataset, tmp_path)
    assert np.array_equal(found.array, VOLUME.array.astype(int) * (257 if bits == 16 else 1))
    assert np.array_equal(found.array, pydicom.dcmread(tmp_path / "v.dcm").pixel_array)


def jpeg(dataset: Dataset, frames=18, kind="JPEG") -> Dataset:
    packed = []
    for plane in VOLUME.array[:frames]:
        options = {"quality": 95} if kind == "JPEG" else {"no_jp2": True}
        Image.fromarray(plane).save(stream := io.BytesIO(), kind, **options)
        packed.append(stream.getvalue())
    dataset.NumberOfFrames = 18
    dataset.file_meta.TransferSyntaxUID = uid.JPEGBaseline8Bit
    dataset.PixelData = encapsulate(packed)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return dataset


@BOTH
def test_jpeg_is_unpacked(tmp_path, build):
    found = read(jpeg(build([VOLUME])), tmp_path)
    assert np.array_equal(found.array, pydicom.dcmread(tmp_path / "v.dcm").pixel_array)
    assert np.abs(found.array.astype(int) - VOLUME.array).max() < 12


@pytest.mark.parametrize("syntax", ["JPEGBaseline8Bit", "JPEGLSLossless", "JPEG2000Lossless"])
def test_compressed_frames_of_another_size_than_stated_are_refused(tmp_path, capfd, syntax):
    if syntax == "JPEGLSLossless" and PYDICOM < 3:
        pytest.skip("pydicom 2 writes no JPEG-LS")
    dataset = enhanced_us([VOLUME])
    if syntax == "JPEGLSLossless":
        dataset.compress(uid.JPEGLSLossless, generate_instance_uid=False)
    else:
        dataset = jpeg(dataset, kind="JPEG" if syntax == "JPEGBaseline8Bit" else "JPEG2000")
        dataset.file_meta.TransferSyntaxUID = getattr(uid, syntax)
    found = read(dataset, tmp_path)
    assert np.abs(found.array.astype(int) - VOLUME.array).max() < (12 if syntax == "JPEGBaseline8Bit" else 1)
    dataset.Rows, dataset.Columns = dataset.Columns, dataset.Rows
    assert "17 x 16 pixels are stated, of 16 x 17 there" in refusal(dataset, tmp_path, capfd)


def test_more_compressed_frames_than_are_described_are_refused(tmp_path, capfd):
    dataset = enhanced_us([VOLUME, VOLUME])
    dataset.compress(uid.RLELossless, generate_instance_uid=False)
    del dataset.PerFrameFunctionalGroupsSequence[18:]
    said = refusal(dataset, tmp_path, capfd)
    assert ("18 frames are stated, other pixels" if PYDICOM >= 3 else "cannot be unpacked") in said


@BOTH
def test_compressed_frames_that_are_lost_or_damaged_are_refused(tmp_path, capfd, build):
    lost = "18 frames are stated, 17 are there" if build is enhanced_us else "18 slices and holds 17"
    assert lost in refusal(jpeg(build([VOLUME]), 17), tmp_path, capfd)
    dataset = jpeg(build([VOLUME]))
    dataset.PixelData = encapsulate([b"\xff\xd8\xff\xe0" + bytes(60)] * 18)
    assert "compressed (JPEG Baseline" in refusal(dataset, tmp_path, capfd)
    dataset.Rows = dataset.Columns = 60000
    assert "compressed pixels cannot be 18 frames" in refusal(dataset, tmp_path, capfd)
    save(jpeg(build([VOLUME])), tmp_path / "v.dcm")
    data = (tmp_path / "v.dcm").read_bytes()
    for syntax, line in (
        (b"1.2.840.10008.1.2.1", "compressed, but it does not say how"),
        (b"1.2.3.4", "cannot be unpacked" if PYDICOM >= 3 else "truncated or damaged"),
    ):
        (tmp_path / "v.dcm").write_bytes(data.replace(b"1.2.840.10008.1.2.4.50", syntax.ljust(22, b"\0")))
        with pytest.raises(InputError, match=line):
            read_volume(tmp_path / "v.dcm")


@BOTH
@pytest.mark.parametrize(
    "syntax",
    ["ImplicitVRLittleEndian", "ExplicitVRLittleEndian", "ExplicitVRBigEndian", "DeflatedExplicitVRLittleEndian"],
)
def test_every_way_of_writing_a_data_set(tmp_path, build, syntax):
    dataset = build([VOLUME])
    big = "Big" in syntax
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelData = (VOLUME.array.astype(np.uint16) * 200).astype(">u2" if big else "<u2").tobytes()
    dataset["PixelData"].VR = "OW"
    dataset.file_meta.TransferSyntaxUID = getattr(uid, syntax)
    found = read(dataset, tmp_path)
    assert np.array_equal(found.array, VOLUME.array.astype(np.uint16) * 200)
    assert found.warnings == ()


@BOTH
@pytest.mark.parametrize(("implicit", "little"), [(True, True), (False, True), (False, False)])
@pytest.mark.parametrize("name", ["v.dcm", "IM0001"])
def test_a_data_set_without_file_meta_information(tmp_path, build, implicit, little, name):
    dataset = build([VOLUME])
    del dataset.file_meta
    save_without_meta(dataset, tmp_path / name, implicit=implicit, little=little)
    assert np.array_equal(read_volume(tmp_path / name).array, VOLUME.array)


def test_file_meta_information_without_a_transfer_syntax_or_a_preamble(tmp_path):
    save(enhanced_us([VOLUME]), tmp_path / "v.dcm")
    data = (tmp_path / "v.dcm").read_bytes()
    (tmp_path / "bare").write_bytes(data[132:])
    assert np.array_equal(read_volume(tmp_path / "bare").array, VOLUME.array)
    start = data.index(b"\x02\x00\x10\x00UI")
    length = 8 + int.from_bytes(data[start + 6 : start + 8], "little")
    (tmp_path / "v.dcm").write_bytes(data[:start] + data[start + length :])
    assert np.array_equal(read_volume(tmp_path / "v.dcm").array, VOLUME.array)
