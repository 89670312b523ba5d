"""MetaImage files are read as SimpleITK reads them, or with a warning, or refused with one line."""

from __future__ import annotations

import itertools
import zlib

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from imaging.asking import raw, refusal
from imaging.samples import blobs, oblique
from imaging.witnesses import itk_matrix

from FetusMapV2Lib.imaging.formats.metaimage import _TYPES as TYPES
from FetusMapV2Lib.imaging.reading import read_sequence, read_volume
from FetusMapV2Lib.imaging.volume_checks import LEFT_HANDED

SHAPE = (18, 17, 16)
ARRAY = (blobs(SHAPE) // 2).astype(np.uint8)
PLACED = "TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 1 2 3\nElementSpacing = 4 4.5 5"


def write(path, lines=PLACED, data=None, *, kind="MET_UCHAR", sizes="16 17 18", file="LOCAL", binary="True"):
    text = (
        f"ObjectType = Image\nNDims = {len(sizes.split())}\nBinaryData = {binary}\n{lines}\nDimSize = {sizes}\n"
        f"ElementType = {kind}\nElementDataFile = {file}\n"
    )
    path.write_bytes(text.encode() + (ARRAY.tobytes() if data is None else data))
    return path


@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("packed", [True, False])
def test_every_type_byte_order_and_packing(tmp_path, name, order, packed):
    data = ARRAY.astype(order + TYPES[name]).tobytes()
    lines = f"{PLACED}\nBinaryDataByteOrderMSB = {order == '>'}"
    if packed:
        data = zlib.compress(data, 1)
        lines += f"\nCompressedData = True\nCompressedDataSize = {len(data)}"
    path = write(tmp_path / "v.mha", lines, data, kind="MET_" + name.upper())
    array, matrix = raw(path)
    assert array.dtype == np.dtype(TYPES[name]) and np.array_equal(array, ARRAY)
    image = sitk.ReadImage(str(path))
    assert np.array_equal(sitk.GetArrayFromImage(image), ARRAY) and np.allclose(itk_matrix(image), matrix)


def test_oblique_axes_in_any_order(tmp_path):
    for order, flip in itertools.product(itertools.permutations(range(3)), (1, -1)):
        directions = oblique()[:, list(order)] * [flip, 1, 1]
        numbers = " ".join(repr(float(value)) for value in directions.T.ravel())
        path = write(tmp_path / "v.mha", f"TransformMatrix = {numbers}\nOffset = 1 2 3\nElementSpacing = 4 4.5 5")
        found = read_volume(path)
        assert np.allclose(found.ijk_to_ras, itk_matrix(sitk.ReadImage(str(path))), atol=1e-9)
        assert found.warnings == ((LEFT_HANDED,) if found.is_left_handed else ())


NO_ORIENTATION = "how its axes lie"


@pytest.mark.parametrize(
    "lines, warned",
    [
        (PLACED.replace("TransformMatrix", "Rotation"), ()),
        (PLACED.replace("TransformMatrix", "Orientation").replace("Offset", "Position"), ()),
        (PLACED.replace("Offset", "Origin") + "\nCenterOfRotation = 7 8 9\nAnatomicalOrientation = RAI", ()),
        (PLACED + "\nAnatomicalOrientation = ???\nMy Own Field = x=y: z\nComment = a", ()),
        (PLACED.replace(" = ", "="), ()),
        (PLACED.replace("\n", "\n\n"), ()),
        (PLACED.replace("\n", "\r\n"), ()),
        (PLACED.replace("ElementSpacing", "ElementSize"), ()),
        (PLACED + "\nElementSize = 4 4.5 5.5", ("4 4.5 5 by ElementSpacing but 4 4.5 5.5 by ElementSize",)),
        ("Offset = 1 2 3\nElementSpacing = 4 4.5 5", (NO_ORIENTATION,)),
        ("TransformMatrix = 1 0 0 0 1 0 0 0 1\nElementSpacing = 4 4.5 5", ("does not state its position",)),
        (PLACED + "\nAnatomicalOrientation = LPS", ("RAI by its TransformMatrix but LPS",)),
        (PLACED + "\nDistanceUnits = cm", ("40 x 45 x 50 mm by its unit 'cm' but 4 x 4.5 x 5 mm",)),
        (PLACED + "\nElementToIntensityFunctionSlope = 2", ("slope 2",)),
    ],
)
def test_what_headers_may_say_besides(tmp_path, lines, warned):
    path = write(tmp_path / "v.mha", lines)
    found = read_volume(path)
    assert np.array_equal(found.array, ARRAY)
    assert np.allclose(found.ijk_to_ras, itk_matrix(sitk.ReadImage(str(path))))
    assert len(found.warnings) == len(warned) and all(
        any(text in line for line in found.warnings) for text in warned
    ), found.warnings


@pytest.mark.parametrize(
    "more, texts",
    [
        ("Position = 1 2 4", ("1 2 3 by Offset but 1 2 4 by Position",)),
        ("Origin = 1 2 4", ("1 2 4 by Origin but 1 2 3 by Offset",)),
        ("Rotation = 0 1 0 -1 0 0 0 0 1", ("1 0 0 0 1 0 0 0 1 by TransformMatrix but 0 1 0 -1 0 0 0 0 1 by Rotation",)),
    ],
)
def test_the_same_stated_twice(tmp_path, more, texts):
    path = write(tmp_path / "v.mha", f"{PLACED}\n{more}")
    found = read_volume(path)
    assert np.allclose(found.ijk_to_ras, itk_matrix(sitk.ReadImage(str(path))))
    assert all(any(text in line for line in found.warnings) for text in texts), found.warnings


@pytest.mark.parametrize(
    "lines, problem",
    [
        (PLACED.replace("4.5", "4.5abc"), "not numbers"),
        (PLACED.replace("4.5", "4,5"), "not numbers"),
        (PLACED.replace("4.5", "1e999"), "not numbers"),
        (PLACED.replace("4.5", "9" * 400), "not numbers"),
        (PLACED.replace("4.5", "nan"), "voxel size is not positive"),
        (PLACED.replace("4.5", "0"), "voxel size is not positive"),
        (PLACED.replace("4 4.5 5", "4 4.5"), "ElementSpacing has 2 numbers, not 3"),
        (PLACED.replace("4 4.5 5", "4 4.5 5 6"), "ElementSpacing has 4 numbers, not 3"),
        (PLACED.replace("1 2 3", "1 2"), "Offset has 2 numbers, not 3"),
        (PLACED.replace("1 2 3", "1 2 inf"), "position"),
        (PLACED.replace("0 0 0 1\n", "0 0 1\n"), "TransformMatrix has 8 numbers, not 9"),
        (PLACED.replace("= 1 0 0", "= 1 0 nan"), "not a number"),
        (PLACED.replace("= 1 0 0", "= 0.8 0.6 0"), "right angles"),
        (PLACED.replace("= 1 0 0", "= 2 0 0"), "length 1"),
        (PLACED.replace("= 1 0 0", "= 0 1 0"), "singular"),
        (PLACED.replace("TransformMatrix", "TransfoseMatrix"), "how its axes lie"),
        (PLACED.replace("TransformMatrix", "TransfozmMatrix"), "no field 'TransfozmMatrix'"),
        (PLACED.replace("ElementSpacing", "elementspacing"), "no field"),
        (PLACED + "\nOffset = 1 2 3", "Offset is stated twice"),
        (PLACED + "\nno separator", "not of the format"),
        (PLACED + "\n= 1 2 3", "not of the format"),
        (PLACED + "\nCompressedData = maybe", "not numbers"),
        (PLACED + "\nBinaryDataByteOrderMSB = True\nElementByteOrderMSB = False", "two byte orders"),
        (PLACED + "\nHeaderSize = 10", "HeaderSize"),
        (PLACED + "\nElementNumberOfChannels = 0", "ElementNumberOfChannels"),
        (PLACED + "\nCompressedData = True\nCompressedDataSize = 999999", "truncated"),
    ],
)  # fmt: skip
def test_headers_that_cannot_be_right(tmp_path, lines, problem):
    path = write(tmp_path / "v.mha", lines)
    if "how its" in problem:
        assert any(problem in line for line in read_volume(path).warnings)
    else:
        assert problem in refusal(path)


@pytest.mark.parametrize(
    "changes, problem",
    [
        ({"kind": "MET_STRING"}, "type that cannot be read ('MET_STRING')"),
        ({"sizes": "16 17 " + "9" * 400}, "not numbers"),
        ({"sizes": "16 17 999999999999"}, "larger than any"),
        ({"sizes": "16 17 -18"}, "impossible sizes"),
        ({"sizes": "16 306"}, "2D image"),
        ({"sizes": "16 17 18 2 2"}, "5D image"),
        ({"file": "none.raw"}, "'none.raw' is missing"),
        ({"file": "LIST"}, "lists 0"),
        ({"file": "s%d.raw 1 3 1", "data": b""}, "is missing"),
    ],
)  # fmt: skip
def test_other_headers_that_cannot_be_right(tmp_path, changes, problem):
    if changes.get("file") == "LIST":
        changes = {**changes, "data": b""}
    assert problem in refusal(write(tmp_path / "v.mha", "# no geometry =", **changes))


@pytest.mark.parametrize("dimensions", ["-3", "0", "999999999", "3.0", "x", "9" * 400])
def test_impossible_numbers_of_dimensions(tmp_path, dimensions):
    path = write(tmp_path / "v.mha")
    path.write_bytes(path.read_bytes().replace(b"NDims = 3", f"NDims = {dimensions}".encode()))
    assert "header is damaged" in refusal(path)


def test_several_bytes_in_an_unknown_order_are_said(tmp_path):
    found = read_volume(write(tmp_path / "v.mha", data=ARRAY.astype("<i2").tobytes(), kind="MET_SHORT"))
    assert np.array_equal(found.array, ARRAY) and any("byte order" in line for line in found.warnings)


def test_text_and_data_at_the_end(tmp_path):
    text = " ".join(str(value) for value in ARRAY.ravel()).encode()
    assert np.array_equal(raw(write(tmp_path / "v.mha", data=text, binary="False"))[0], ARRAY)
    path = write(tmp_path / "v.mha", f"{PLACED}\nHeaderSize = -1", b"anything" + ARRAY.tobytes())
    assert np.array_equal(raw(path)[0], ARRAY)


def test_detached_data(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "v ü.zraw").write_bytes(zlib.compress(ARRAY.tobytes()))
    (tmp_path / "head.raw").write_bytes(b"0123456789" + ARRAY.tobytes())
    for n, plane in enumerate(ARRAY):
        (tmp_path / f"s{n:03d}.raw").write_bytes(plane.tobytes())
        (tmp_path / f"s{n:03d}.zraw").write_bytes(zlib.compress(plane.tobytes()))
    together = sum(path.stat().st_size for path in tmp_path.glob("s*.zraw"))
    names = "".join(f"s{n:03d}.raw\n" for n in range(18)).encode()
    for file, lines, after in (
        ("data/v ü.zraw", "\nCompressedData = True", b""),
        ("data\\v ü.zraw", "\nCompressedData = True", b""),
        ("head.raw", "\nHeaderSize = 10", b""),
        ("head.raw", "\nHeaderSize = -1", b""),
        ("s%03d.raw 0 17 1", "", b""),
        ("s%03d.zraw 0 17 1", f"\nCompressedData = True\nCompressedDataSize = {together}", b""),
        ("LIST", "", names),
        ("LIST 2", "", names),
    ):
        found = read_volume(write(tmp_path / "v.mhd", PLACED + lines, after, file=file))
        assert np.array_equal(found.array, ARRAY) and found.warnings == (), file
    assert "do not make up" in refusal(write(tmp_path / "v.mhd", PLACED, names[9:], file="LIST"))


def test_four_dimensions(tmp_path):
    frames = np.stack([np.roll(ARRAY, t, axis=1) for t in range(3)])
    matrix = " ".join(str(int(value)) for value in np.eye(4).ravel())
    lines = f"TransformMatrix = {matrix}\nOffset = 1 2 3 0\nElementSpacing = 4 4.5 5 1"
    for packed in (False, True):
        data = zlib.compress(frames.tobytes()) if packed else frames.tobytes()
        more = f"\nCompressedData = True\nCompressedDataSize = {len(data)}" if packed else ""
        found = read_sequence(write(tmp_path / "v.mha", lines + more, data, sizes="16 17 18 3"))
        assert (
            len(found) == 3 and np.array_equal(found[2].array, frames[2]) and np.array_equal(found[0].array, frames[0])
        )
        assert np.allclose(found[0].spacing, (4, 4.5, 5)) and found[0].warnings == ()
