"""NIfTI files are read as nibabel and SimpleITK read them; where these differ, a warning says so."""

from __future__ import annotations

import gzip
import struct

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from imaging.asking import raw, refusal
from imaging.samples import blobs, oblique
from imaging.witnesses import itk_matrix

from FetusMapV2Lib.imaging.reading import read_sequence, read_volume
from FetusMapV2Lib.imaging.volume_checks import LEFT_HANDED

SHAPE = (18, 17, 16)
ARRAY = (blobs(SHAPE) // 2).astype(np.uint8)
AFFINE = np.diag([4.0, 4.5, 5.0, 1.0])
AFFINE[:3, 3] = (1.0, 2.0, 3.0)
TILTED = AFFINE.copy()
TILTED[:3, :3] = oblique() * (4.0, 4.5, 5.0)
# Places of fields of NIfTI-1, in bytes.
DATATYPE, BITPIX, PIXDIM, OFFSET, SLOPE, UNITS, QFORM_CODE, SFORM_CODE = 70, 72, 76, 108, 112, 123, 252, 254
QUATERNION, SROW = 256, 280


def write(path, array=ARRAY, *, sform=(AFFINE, 1), qform=(AFFINE, 1), version=nibabel.Nifti1Image, order="<", poke=()):
    header = version.header_class(endianness=order)
    header.set_data_dtype(array.dtype.newbyteorder(order))
    image = version(array.T, None, header)
    image.set_sform(*sform)
    image.set_qform(*qform)
    nibabel.save(image, path)
    if poke:
        data = bytearray(path.read_bytes())
        for place, form, *values in poke:
            struct.pack_into(order + form, data, place, *values)
        path.write_bytes(data)
    return path


@pytest.mark.parametrize("code", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
@pytest.mark.parametrize("order", "<>")
def test_every_type_byte_order_and_version(tmp_path, code, order):
    for name, version in (
        ("v.nii", nibabel.Nifti1Image), ("v.nii.gz", nibabel.Nifti1Image), ("w.nii", nibabel.Nifti2Image),
        ("v.hdr", nibabel.Nifti1Pair), ("w.hdr", nibabel.Nifti2Pair),
    ):  # fmt: skip
        path = write(tmp_path / name, ARRAY.astype(code), version=version, order=order)
        array, matrix = raw(path)
        assert array.dtype == np.dtype(code) and np.array_equal(array, ARRAY)
        assert np.allclose(matrix, nibabel.load(path).affine)
        assert read_volume(path).warnings == ()


@pytest.mark.parametrize("left_handed", [False, True])
@pytest.mark.parametrize("which", ["both", "sform", "qform"])
def test_orientation_by_sform_and_qform(tmp_path, which, left_handed):
    affine = TILTED @ np.diag([1, 1, -1 if left_handed else 1, 1])
    sform, qform = (affine, int(which != "qform")), (affine, int(which != "sform"))
    path = write(tmp_path / "v.nii", sform=sform, qform=qform)
    found = read_volume(path)
    assert np.allclose(found.ijk_to_ras, affine, atol=1e-5)
    assert found.warnings == ((LEFT_HANDED,) if left_handed else ())
    assert np.allclose(found.ijk_to_ras, itk_matrix(sitk.ReadImage(str(path))), atol=1e-4)
    assert np.allclose(found.ijk_to_ras, nibabel.load(path).affine, atol=1e-5)


@pytest.mark.parametrize(
    "changes, warned",
    [
        ({"sform": (np.diag([8.0, 9, 10, 1]), 2)}, ["8 x 9 x 10 mm by its sform but 4 x 4.5 x 5 mm by its pixdim"]),
        ({"sform": (TILTED, 2)}, ["by its sform but RAS by its qform", "degrees apart"]),
        ({"sform": (AFFINE @ np.diag([-1, 1, 1, 1]), 2)}, ["LAS by its sform but RAS by its qform"]),
        ({"sform": (AFFINE + np.eye(4, k=3) * 9, 2)}, ["first voxel is at 10, 2, 3 by its sform but at 1, 2, 3"]),
        ({"poke": [(PIXDIM + 4, "f", -4.0)]}, ["but -4 x 4.5 x 5 mm by its pixdim; the one by its sform"]),
        ({"poke": [(PIXDIM + 4, "f", 0.0)]}, ["but 0 x 4.5 x 5 mm by its pixdim; the one by its sform"]),
        ({"poke": [(PIXDIM + 4, "f", np.nan)]}, ["but nan x 4.5 x 5 mm by its pixdim; the one by its sform"]),
        ({"poke": [(SROW, "f", np.nan)]}, ["its sform cannot be right", "its qform was used"]),
        ({"poke": [(SROW, "4f", 0, 0, 0, 1)]}, ["its sform cannot be right"]),
        ({"poke": [(SROW + 4, "f", 3.0)]}, ["its sform cannot be right", "right angles"]),
        ({"poke": [(QUATERNION, "2f", 0.9, 0.9)]}, ["its qform cannot be right", "length 1 (0.9 x 0.9 x 0)"]),
        ({"sform": (AFFINE, 0), "poke": [(QUATERNION, "2f", 0.8, 0.605)]}, ["has length 1.003 and not 1"]),
        ({"sform": (AFFINE, 0), "poke": [(PIXDIM, "f", 5.0)]}, ["handedness of its qform (pixdim[0]) is 5"]),
        ({"poke": [(SFORM_CODE, "h", 99)]}, ["sform_code of 99"]),
        ({"poke": [(SFORM_CODE, "h", -1)]}, ["sform_code of -1"]),
        ({"poke": [(BITPIX, "h", 16)]}, ["8 bits by its type but 16 by bitpix"]),
        ({"sform": (AFFINE, 0), "qform": (AFFINE, 0)}, ["how its axes lie"]),
        ({"sform": (AFFINE, 0), "poke": [(PIXDIM + 4, "f", -4.0)]}, ["-4 x 4.5 x 5 mm by its pixdim"]),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_said(tmp_path, changes, warned):
    path = write(tmp_path / "v.nii", **changes)
    found = read_volume(path)
    assert np.array_equal(found.array, ARRAY)
    text = " | ".join(found.warnings)
    assert all(part in text for part in warned), text
    if changes.get("sform", (0, 1))[1] and "cannot be right" not in warned[0] and "sform_code" not in text:
        assert np.allclose(found.ijk_to_ras, nibabel.load(path).affine, atol=1e-5)


@pytest.mark.parametrize(("unit", "factor"), [(0, 1.0), (2, 1.0), (1, 1e3), (3, 1e-3)])
def test_units_of_length(tmp_path, unit, factor):
    """SimpleITK takes the unit, nibabel does not: where that matters, a warning names both sizes."""
    scale = np.diag([1 / factor] * 3 + [1.0])
    path = write(tmp_path / "v.nii", sform=(scale @ AFFINE, 1), qform=(scale @ AFFINE, 1), poke=[(UNITS, "B", unit)])
    found = read_volume(path)
    assert np.allclose(found.ijk_to_ras, AFFINE, atol=1e-4)
    assert np.allclose(found.ijk_to_ras, itk_matrix(sitk.ReadImage(str(path))), atol=1e-3)
    assert ("by its unit" in " ".join(found.warnings)) == (factor != 1.0)


@pytest.mark.parametrize(
    "slope, intercept, expected",
    [(2.0, 3.0, 2), (1.0, 0.0, None), (0.0, 3.0, None), (np.nan, np.nan, None), (0.5, -1.0, 0.5)],
)
@pytest.mark.parametrize("code", ["u1", "i2", "f4", "f8"])
def test_scaled_grey_values(tmp_path, slope, intercept, expected, code):
    path = write(tmp_path / "v.nii", ARRAY.astype(code), poke=[(SLOPE, "2f", slope, intercept)])
    wanted = ARRAY if expected is None else ARRAY * slope + intercept
    assert np.array_equal(raw(path)[0], wanted)
    assert np.array_equal(np.asarray(nibabel.load(path).dataobj).T, wanted)


@pytest.mark.parametrize(
    "poke, problem",
    [
        ([(SLOPE, "2f", np.inf, 0.0)], "scaled by inf"),
        ([(SLOPE, "2f", 2.0, np.nan)], "scaled by 2 and nan"),
        ([(OFFSET, "f", 0.0)], "vox_offset is 0"),
        ([(OFFSET, "f", 352.5)], "vox_offset is 352.5"),
        ([(OFFSET, "f", np.nan)], "vox_offset is nan"),
        ([(OFFSET, "f", 1e30)], "vox_offset is 1e+30"),
        ([(OFFSET, "f", 368.0)], "truncated"),
        ([(40, "h", 9)], "impossible dimensions"),
        ([(42, "h", -16)], "impossible dimensions"),
        ([(42, "3h", 32767, 32767, 32767)], "larger than any"),
        ([(42, "h", 8)], "too small"),
        ([(46, "h", 17)], "more voxels than the 16 x 17 x 17"),
        ([(0, "i", 0)], "sizeof_hdr is not 348"),
        ([(DATATYPE, "h", 1536)], "NIfTI type 1536"),
        ([(DATATYPE, "h", 32)], "NIfTI type 32"),
        ([(SROW, "f", np.nan), (QUATERNION, "f", np.nan)], "not a number"),
        ([(SROW + 4, "f", 3.0), (QFORM_CODE, "h", 0)], "right angles"),
        ([(SROW, "4f", 0, 0, 0, 1), (QFORM_CODE, "h", 0)], "voxel size is not positive"),
        ([(SROW + 12, "f", 1e30), (QFORM_CODE, "h", 0)], "position"),
        ([(QFORM_CODE, "2h", 0, 0), (PIXDIM + 4, "f", np.inf)], "voxel size is not positive"),
    ],
)  # fmt: skip
def test_headers_that_cannot_be_right(tmp_path, poke, problem):
    assert problem in refusal(write(tmp_path / "v.nii", poke=poke))


def test_frames_vectors_and_colours(tmp_path):
    frames = np.stack([np.roll(ARRAY, t, axis=1) for t in range(3)])
    for name in ("v.nii", "v.nii.gz"):
        found = read_sequence(write(tmp_path / name, frames))
        assert len(found) == 3
        assert all(np.array_equal(found[t].array, frames[t]) for t in (2, 0, 1))
    assert len(read_sequence(write(tmp_path / "v.nii", frames[:1]))) == 1
    colour = np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")])
    for channel in "RGB":
        colour[channel] = ARRAY
    found = read_volume(write(tmp_path / "v.nii", colour))
    assert np.array_equal(found.array, ARRAY) and found.warnings == ("colour was turned into grey",)
    vector = write(tmp_path / "v.nii", frames[:, None], poke=[(68, "h", 1007)])
    assert "colour was turned into grey" in read_volume(vector).warnings
    assert "5D" in refusal(write(tmp_path / "v.nii", frames[:, None]))


def test_extensions_are_passed_over(tmp_path):
    header = nibabel.Nifti1Header()
    header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"taken at 12 weeks" * 3))
    for kind, name in (
        (nibabel.Nifti1Image, "v.nii"),
        (nibabel.Nifti1Pair, "v.hdr"),
        (nibabel.Nifti1Image, "v.nii.gz"),
    ):
        nibabel.save(kind(ARRAY.T, AFFINE, header), tmp_path / name)
        found = read_volume(tmp_path / name)
        assert np.array_equal(found.array, ARRAY) and found.warnings == ()
    (tmp_path / "v.hdr").write_bytes((tmp_path / "v.hdr").read_bytes() + b"more")
    assert any("bytes behind its header" in line for line in read_volume(tmp_path / "v.hdr").warnings)


@pytest.mark.parametrize("name", ["v.img", "v.IMG", "v.img.gz"])
def test_data_in_a_second_file(tmp_path, name):
    write(tmp_path / "v.hdr", version=nibabel.Nifti1Pair)
    data = (tmp_path / "v.img").read_bytes()
    (tmp_path / "v.img").unlink()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    assert np.array_equal(read_volume(tmp_path / "v.hdr").array, ARRAY)
    (tmp_path / name).unlink()
    assert "'v.img' is missing" in refusal(tmp_path / "v.hdr")
