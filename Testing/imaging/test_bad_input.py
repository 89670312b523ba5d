"""Every bad input gives one clear line: what is wrong, where, and what to do; nothing is printed besides."""

from __future__ import annotations

import gzip

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from imaging.samples import blobs, encrypted_us, enhanced_us, multiframe, philips, sample, save

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.reading import read_sequence, read_volume
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.imaging.volume_checks import checked
from FetusMapV2Lib.imaging.writing import write_sequence, write_volume


def refusal(path, capfd, **options) -> str:
    """The one line with which a file is refused."""
    with pytest.raises(InputError) as caught:
        read_volume(path, **options)
    line = str(caught.value)
    assert "\n" not in line
    assert caught.value.remedy, "every refusal says what to do"
    assert path.name in line or path.parent.name in line
    printed = capfd.readouterr()
    assert printed.out == printed.err == ""
    return line


def test_missing(tmp_path, capfd):
    assert "no such file" in refusal(tmp_path / "nothing.nrrd", capfd)


@pytest.mark.parametrize("name", ["v.nrrd", "v.mha", "v.nii", "v.dcm", "v.vol"])
def test_empty(tmp_path, capfd, name):
    (tmp_path / name).touch()
    assert "empty" in refusal(tmp_path / name, capfd)


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("name", ["v.nrrd", "v.mha", "v.nii", "v.nii.gz"])
@pytest.mark.parametrize("part", [0.5, 0.97])
def test_truncated(tmp_path, capfd, name, compress, part):
    write_volume(tmp_path / name, sample(), compress=compress)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * part)])
    assert "truncated" in refusal(tmp_path / name, capfd)


def test_truncated_big_endian_and_other_forms_of_nifti(tmp_path, capfd):
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(np.int16)
    image = nibabel.Nifti1Image(blobs().astype(">i2"), np.diag([2.0, 2, 2, 1]), header)
    nibabel.save(image, tmp_path / "v.nii")
    assert read_volume(tmp_path / "v.nii").array.dtype == np.int16
    data = (tmp_path / "v.nii").read_bytes()
    (tmp_path / "v.nii").write_bytes(data[:-100])
    assert "truncated" in refusal(tmp_path / "v.nii", capfd)


def test_truncated_nifti_in_two_files(tmp_path, capfd):
    nibabel.save(nibabel.Nifti1Pair(blobs().transpose(2, 1, 0), np.diag([2.0, 2, 2, 1])), tmp_path / "v.hdr")
    assert np.array_equal(read_volume(tmp_path / "v.hdr").array, blobs())
    data = (tmp_path / "v.img").read_bytes()
    (tmp_path / "v.img").write_bytes(data[:-100])
    assert "truncated" in refusal(tmp_path / "v.hdr", capfd)
    (tmp_path / "v.img").unlink()
    assert "data file 'v.img' is missing" in refusal(tmp_path / "v.hdr", capfd)


def test_a_gzip_of_several_parts_is_whole(tmp_path):
    """Some tools compress in blocks, so the last length in the file is not the whole length."""
    nibabel.save(nibabel.Nifti1Image(blobs().transpose(2, 1, 0), np.diag([2.0, 2, 2, 1])), tmp_path / "v.nii")
    data = (tmp_path / "v.nii").read_bytes()
    (tmp_path / "w.nii.gz").write_bytes(gzip.compress(data[:9000]) + gzip.compress(data[9000:]))
    assert np.array_equal(read_volume(tmp_path / "w.nii.gz").array, blobs())


@pytest.mark.parametrize("compress", [True, False])
def test_truncated_sequence(tmp_path, compress):
    write_sequence(tmp_path / "s.seq.nrrd", [sample()] * 3, compress=compress)
    data = (tmp_path / "s.seq.nrrd").read_bytes()
    (tmp_path / "s.seq.nrrd").write_bytes(data[: int(len(data) * 0.7)])
    with pytest.raises(InputError, match="truncated"):
        read_sequence(tmp_path / "s.seq.nrrd")[2]


@pytest.mark.parametrize("build", [lambda: enhanced_us([sample()]), lambda: philips([sample()])], ids=["us", "philips"])
@pytest.mark.parametrize("part", [0.02, 0.5, 0.97])
def test_truncated_dicom(tmp_path, capfd, build, part):
    save(build(), tmp_path / "v.dcm")
    data = (tmp_path / "v.dcm").read_bytes()
    (tmp_path / "v.dcm").write_bytes(data[: int(len(data) * part)])
    line = refusal(tmp_path / "v.dcm", capfd)
    assert "truncated" in line or "damaged" in line


@pytest.mark.parametrize("name", ["v.nrrd", "v.mha", "v.nii.gz", "v.vol", "v.dcm", "v.png"])
def test_text_renamed(tmp_path, capfd, name):
    (tmp_path / name).write_text("Dear colleague, please find the volume attached.\n" * 20)
    line = refusal(tmp_path / name, capfd)
    assert "not a volume" in line or "not a readable DICOM" in line


@pytest.mark.parametrize("name", ["v.nrrd", "v.mha", "v.nii.gz"])
def test_two_dimensional(tmp_path, capfd, name):
    sitk.WriteImage(sitk.GetImageFromArray(blobs()[0]), str(tmp_path / name))
    assert "2D image" in refusal(tmp_path / name, capfd)


def test_one_slice_is_two_dimensional(tmp_path, capfd):
    sitk.WriteImage(sitk.GetImageFromArray(blobs()[:1]), str(tmp_path / "v.nrrd"))
    assert "2D image" in refusal(tmp_path / "v.nrrd", capfd)


def test_five_dimensional(tmp_path, capfd):
    nibabel.save(nibabel.Nifti1Image(np.ones((20, 20, 20, 2, 2), np.uint8), np.eye(4)), tmp_path / "v.nii")
    assert "5D" in refusal(tmp_path / "v.nii", capfd)


def test_constant(tmp_path, capfd):
    volume = sample()
    volume.array[:] = 7
    write_volume(tmp_path / "v.nrrd", volume)
    assert "every voxel is 7" in refusal(tmp_path / "v.nrrd", capfd)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_numbers(tmp_path, capfd, value):
    volume = sample(dtype=np.float32)
    volume.array[5, 6, 7] = value
    write_volume(tmp_path / "v.nrrd", volume)
    assert "NaN or infinite" in refusal(tmp_path / "v.nrrd", capfd)


def nrrd(path, geometry: str, sizes="24 32 40"):
    header = f"NRRD0004\ntype: unsigned char\ndimension: 3\nsizes: {sizes}\nencoding: raw\n{geometry}\n\n"
    path.write_bytes(header.encode() + blobs().tobytes())


@pytest.mark.parametrize(
    "kind, value",
    # In NRRD, NaN means that the spacing is unknown; in NIfTI, signs of pixdim have no meaning.
    [
        (k, v)
        for k in ("nrrd", "mha", "nii")
        for v in ("0", "-0.5", "nan", "inf")
        if (k, v) not in (("nrrd", "nan"), ("nii", "-0.5"))
    ],
)
def test_voxel_size_not_positive(tmp_path, capfd, kind, value):
    path = tmp_path / f"v.{kind}"
    if kind == "nrrd":
        nrrd(path, f"spacings: 0.5 {value} 0.5")
    elif kind == "mha":
        header = (
            "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = False\n"
            f"ElementSpacing = 0.5 {value} 0.5\nDimSize = 24 32 40\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
        )
        path.write_bytes(header.encode() + blobs().tobytes())
    else:
        nibabel.save(nibabel.Nifti1Image(blobs(), np.eye(4)), path)
        data = bytearray(path.read_bytes())
        data[84:88] = np.float32(value).tobytes()
        data[252:256] = bytes(4)  # neither qform nor sform
        path.write_bytes(data)
    assert "voxel size is not positive" in refusal(path, capfd)


def test_zero_direction(tmp_path, capfd):
    nrrd(tmp_path / "v.nrrd", "space: left-posterior-superior\nspace directions: (1,0,0) (0,0,0) (0,0,1)")
    assert "voxel size is not positive" in refusal(tmp_path / "v.nrrd", capfd)


def test_singular_direction(tmp_path, capfd):
    nrrd(tmp_path / "v.nrrd", "space: left-posterior-superior\nspace directions: (1,0,0) (1,0,0) (0,0,1)")
    assert "singular" in refusal(tmp_path / "v.nrrd", capfd)


def test_singular_direction_of_a_volume_in_memory():
    matrix = np.eye(4)
    matrix[:3, 1] = matrix[:3, 0]
    with pytest.raises(InputError, match="singular"):
        checked(Volume(blobs(), matrix))


@pytest.mark.parametrize("missing", ["type", "sizes", "dimension"])
def test_damaged_nrrd_header(tmp_path, capfd, missing):
    nrrd(tmp_path / "v.nrrd", "spacings: 1 1 1")
    data = (tmp_path / "v.nrrd").read_bytes().replace(missing.encode() + b": ", b"x" + missing.encode() + b": ")
    (tmp_path / "v.nrrd").write_bytes(data)
    assert "header is damaged" in refusal(tmp_path / "v.nrrd", capfd)


@pytest.mark.parametrize("name", ["v.nrrd", "v.mha"])
@pytest.mark.parametrize("byte", [b"\r", b"\0", b"\x0b", b"\x1f", b"\x7f"])
def test_control_character_in_a_number(tmp_path, capfd, name, byte):
    """Python takes some of them for spaces, so that 2.5 would become .5 without a word."""
    path = tmp_path / name
    write_volume(path, sample(), compress=False)
    head, end, data = path.read_bytes().partition(b"\n\n" if name == "v.nrrd" else b"LOCAL\n")
    assert b"2.5" in head
    path.write_bytes(head.replace(b"2.5", byte + b".5") + end + data)
    assert "control character" in refusal(path, capfd)


@pytest.mark.parametrize("name", ["v.nhdr", "v.mhd"])
def test_detached_data_missing(tmp_path, capfd, name):
    image = sitk.GetImageFromArray(blobs())
    image.SetSpacing((2.0, 2.0, 2.0))
    sitk.WriteImage(image, str(tmp_path / name))
    assert np.array_equal(read_volume(tmp_path / name).array, blobs())
    for data in tmp_path.glob("*raw*"):
        data.unlink()
    assert "data file" in refusal(tmp_path / name, capfd)


@pytest.mark.parametrize("shape", [(15, 40, 40), (40, 40, 8)])
def test_too_small(tmp_path, capfd, shape):
    write_volume(tmp_path / "v.nrrd", sample(shape))
    assert "too small" in refusal(tmp_path / "v.nrrd", capfd)


@pytest.mark.parametrize("spacing", [0.0, -1.0, np.nan, (1.0, 2.0), (1.0, 0.0, 1.0)])
def test_spacing_override_that_is_none(tmp_path, capfd, spacing):
    write_volume(tmp_path / "v.nrrd", sample())
    line = refusal(tmp_path / "v.nrrd", capfd, spacing=spacing)
    assert "spacing must be" in line or "spacing given is not positive" in line


# --- DICOM


def test_encrypted_dicom(tmp_path, capfd):
    save(encrypted_us(), tmp_path / "v.dcm")
    assert "encrypted" in refusal(tmp_path / "v.dcm", capfd)


def test_dicom_in_an_encrypted_envelope(tmp_path, capfd):
    random = np.random.default_rng(0).bytes(20000)
    (tmp_path / "v.dcm").write_bytes(b"\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03" + random)
    assert "encrypted" in refusal(tmp_path / "v.dcm", capfd)


@pytest.mark.parametrize("modality", ["CT", "MR", ""])
def test_not_ultrasound(tmp_path, capfd, modality):
    save(multiframe(blobs(), "1.2.840.10008.5.1.4.1.1.2.1", modality), tmp_path / "v.dcm")
    line = refusal(tmp_path / "v.dcm", capfd)
    assert "not ultrasound" in line and modality in line


def test_cine_loop(tmp_path, capfd):
    save(multiframe(blobs(), "1.2.840.10008.5.1.4.1.1.3.1", "US"), tmp_path / "v.dcm")
    assert "cine loop" in refusal(tmp_path / "v.dcm", capfd)


def test_slices_without_position(tmp_path, capfd):
    dataset = enhanced_us([sample()])
    del dataset.PerFrameFunctionalGroupsSequence[3].PlanePositionVolumeSequence
    save(dataset, tmp_path / "v.dcm")
    assert "where its slices lie" in refusal(tmp_path / "v.dcm", capfd)


def test_slices_on_top_of_each_other(tmp_path, capfd):
    dataset = enhanced_us([sample()])
    first = dataset.PerFrameFunctionalGroupsSequence[0].PlanePositionVolumeSequence
    for item in dataset.PerFrameFunctionalGroupsSequence:
        item.PlanePositionVolumeSequence = first
    save(dataset, tmp_path / "v.dcm")
    assert "on top of each other" in refusal(tmp_path / "v.dcm", capfd)


def test_pixels_in_a_compression_that_cannot_be_read(tmp_path, capfd):
    dataset = enhanced_us([sample()])
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.107"  # HEVC
    from pydicom.encaps import encapsulate

    dataset.PixelData = encapsulate([b"\0" * 64] * int(dataset.NumberOfFrames))
    dataset["PixelData"].VR = "OB"
    save(dataset, tmp_path / "v.dcm")
    assert "compressed" in refusal(tmp_path / "v.dcm", capfd)


def test_folders(tmp_path, capfd):
    (tmp_path / "none").mkdir()
    assert "no DICOM" in refusal(tmp_path / "none", capfd)
    (tmp_path / "two").mkdir()
    for name in ("a.dcm", "b.dcm"):
        save(enhanced_us([sample()]), tmp_path / "two" / name)
    assert "2 DICOM files" in refusal(tmp_path / "two", capfd)


@pytest.mark.parametrize("values", [(0.0, 1e300), (-3e38, 3e38), (1e9, 1e9 + 1)])
def test_numbers_beyond_single_precision(tmp_path, capfd, values):
    array = np.full((16, 16, 16), values[0])
    array[8:] = values[1]
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((5.0, 5.0, 5.0))
    sitk.WriteImage(image, str(tmp_path / "v.nrrd"))
    assert "single precision" in refusal(tmp_path / "v.nrrd", capfd)
