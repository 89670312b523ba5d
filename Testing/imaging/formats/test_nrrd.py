"""NRRD files are read as SimpleITK and pynrrd read them: types, encodings, axes, places of data; or with a warning."""

from __future__ import annotations

import bz2
import gzip
import itertools

import nrrd
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from imaging.asking import raw, refusal
from imaging.samples import blobs, oblique
from imaging.witnesses import itk_matrix

from FetusMapV2Lib.imaging.formats.nrrd import _TYPES as TYPES
from FetusMapV2Lib.imaging.reading import read_sequence, read_volume
from FetusMapV2Lib.imaging.volume_checks import LEFT_HANDED

SHAPE = (18, 17, 16)
#: Not as wide as 8 bits, so that each type holds it.
ARRAY = (blobs(SHAPE) // 2).astype(np.uint8)
PLACED = "space: left-posterior-superior\nspace directions: (4,0,0) (0,4.5,0) (0,0,5)\nspace origin: (1,2,3)"
UNPLACED = ("how its axes lie", "does not state a voxel size")


def write(path, lines=PLACED, data=None, *, kind="uchar", sizes="16 17 18", encoding="raw", version=4, end="\n"):
    header = [f"NRRD000{version}", f"type: {kind}", f"dimension: {len(sizes.split())}", f"sizes: {sizes}"]
    text = end.join([*header, f"encoding: {encoding}", *lines.split("\n"), "", ""])
    path.write_bytes(text.encode() + (ARRAY.tobytes() if data is None else data))
    return path


@pytest.mark.parametrize("name", TYPES)
def test_every_name_of_a_type(tmp_path, name):
    kind = np.dtype("<" + TYPES[name])
    path = write(tmp_path / "v.nrrd", PLACED + "\nendian: little", ARRAY.astype(kind).tobytes(), kind=name)
    array, matrix = raw(path)
    assert array.dtype == kind and np.array_equal(array, ARRAY)
    if not name.startswith("float") or name == "float":
        theirs = sitk.ReadImage(str(path))
        assert np.array_equal(sitk.GetArrayFromImage(theirs), ARRAY) and np.allclose(itk_matrix(theirs), matrix)


@pytest.mark.parametrize("encoding", ["raw", "gzip", "gz", "bzip2", "bz2", "ascii", "text", "txt", "hex"])
@pytest.mark.parametrize("order", "<>")
def test_every_encoding_and_byte_order(tmp_path, encoding, order):
    pack = {
        "raw": bytes, "gzip": gzip.compress, "gz": gzip.compress, "bzip2": bz2.compress, "bz2": bz2.compress,
        "hex": lambda data: data.hex(" ").encode(),
    }  # fmt: skip
    endian = "\nendian: " + {"<": "little", ">": "big"}[order]
    for kind, code in (("int16", "i2"), ("float", "f4"), ("uint64", "u8"), ("double", "f8"), ("uchar", "u1")):
        values = ARRAY.astype(code) if code[0] != "f" else (ARRAY / np.float32(7)).astype(code)
        data = values.astype(order + code).tobytes()
        packed = pack[encoding](data) if encoding in pack else " ".join(repr(v) for v in values.ravel().tolist())
        path = write(
            tmp_path / "v.nrrd", PLACED + endian, packed if isinstance(packed, bytes) else packed.encode(),
            kind=kind, encoding=encoding,
        )  # fmt: skip
        array, _ = raw(path)
        assert array.dtype == np.dtype(code) and array.flags.writeable
        assert np.array_equal(array, values)
        if encoding != "hex":  # pynrrd does not know it
            assert np.array_equal(nrrd.read(str(path))[0].T, values)


def test_text_that_is_no_number_of_the_type(tmp_path):
    good = " ".join(str(value) for value in ARRAY.ravel())
    for bad in ("300", "-1", "1.5", "1,5", "x", "nan", "0x10"):
        text = good.replace(" 60 ", f" {bad} ", 1)
        assert text != good
        assert "not numbers of the type" in refusal(write(tmp_path / "v.nrrd", data=text.encode(), encoding="ascii"))
    assert "truncated" in refusal(write(tmp_path / "v.nrrd", data=good[:-9].encode(), encoding="ascii"))


SPACES = ["left-posterior-superior", "LPS", "right-anterior-superior", "RAS", "left-anterior-superior", "LAS"]


@pytest.mark.parametrize("space", SPACES)
def test_spaces_and_oblique_axes_in_any_order(tmp_path, space):
    if space in ("LAS", "left-anterior-superior") and sitk.Version.MinorVersion() < 5:
        pytest.skip("ITK before that of SimpleITK 2.5 reads it otherwise")
    rotation = oblique()
    for order, flip in itertools.product(itertools.permutations(range(3)), (1, -1)):
        steps = rotation[:, list(order)] * [4.0 * flip, 4.5, 5.0]
        vectors = " ".join("(" + ",".join(repr(float(v)) for v in steps[:, axis]) + ")" for axis in range(3))
        lines = f"space: {space}\nspace directions: {vectors}\nspace origin: (1.5,-2.25,3)"
        path = write(tmp_path / "v.nrrd", lines)
        found = read_volume(path)
        assert np.allclose(found.ijk_to_ras, itk_matrix(sitk.ReadImage(str(path))), atol=1e-9)
        assert found.warnings == ((LEFT_HANDED,) if found.is_left_handed else ())


@pytest.mark.parametrize(
    "space", ["space: scanner-xyz", "space: 3D-right-handed", "space: 3D-left-handed", "space dimension: 3"]
)
def test_a_space_without_patient_axes_is_said(tmp_path, space):
    path = write(tmp_path / "v.nrrd", PLACED.replace("space: left-posterior-superior", space))
    found = read_volume(path)
    assert np.allclose(found.ijk_to_ras, itk_matrix(sitk.ReadImage(str(path))))
    assert any("no patient axes" in line for line in found.warnings)
    assert (LEFT_HANDED in found.warnings) == ("left-handed" in space)
    assert LEFT_HANDED not in read_volume(path, mirrored=True).warnings


def test_a_space_with_time(tmp_path):
    lines = "space: LPST\nspace directions: (4,0,0,0) (0,4.5,0,0) (0,0,5,0)\nspace origin: (1,2,3,0)"
    assert np.allclose(read_volume(write(tmp_path / "v.nrrd", lines)).spacing, (4, 4.5, 5))


@pytest.mark.parametrize(
    "lines, warned",
    [
        ("spacings: 4 4.5 5", UNPLACED[:1]),
        ("spacings: 4 NaN 5", UNPLACED),
        ("spacings: 4 4.5 5\naxis mins: 10 20 30", UNPLACED[:1]),
        ("spacings: 4 4.5 5\naxis mins: 10 20 30\ncenterings: node node node", UNPLACED[:1]),
        ("kinds: space domain ???", (*UNPLACED, "measures 16 x 17 x 18 mm")),
        ("space: RAS", (*UNPLACED, "measures 16 x 17 x 18 mm")),
        (PLACED.replace("\nspace origin: (1,2,3)", ""), ("does not state its position",)),
        (PLACED.replace("(1,2,3)", "(nan,nan,nan)"), ("does not state its position",)),
        (PLACED + '\nspace units: "mm" "mm" "mm"', ()),
        (PLACED + '\nspace units: "cm" "cm" "cm"', ("40 x 45 x 50 mm by its unit 'cm' but 4 x 4.5 x 5 mm",)),
        (PLACED + "\ncenters: cell cell cell\nkinds: domain domain domain\nthicknesses: 1 NaN 1\ncontent: x", ()),
        (PLACED + "\n# comment\nkey:=value\nmeasurement frame: (1,0,0) (0,1,0) (0,0,1)\nold min: 0\noldmax: 3", ()),
        (PLACED + "\na key:=1\na key:=2", ("stated twice",)),
        ("# " + "A" * 5000 + "\nnote:=" + "B" * 200_000 + "\ncontent: " + "C" * 100_000 + "\n" + PLACED, ()),
    ],
)  # fmt: skip
def test_what_headers_may_say_besides(tmp_path, lines, warned):
    path = write(tmp_path / "v.nrrd", lines)
    found = read_volume(path)
    assert np.array_equal(found.array, ARRAY)
    assert len(found.warnings) == len(warned) and all(
        any(text in line for line in found.warnings) for text in warned
    ), found.warnings
    if len(lines) < 500:
        assert np.allclose(found.ijk_to_ras, itk_matrix(sitk.ReadImage(str(path))))


def test_directions_and_spacings_that_differ(tmp_path):
    found = read_volume(write(tmp_path / "v.nrrd", PLACED + "\nspacings: 5 4.5 5"))
    assert np.allclose(found.spacing, (4, 4.5, 5))
    assert any("4 x 4.5 x 5 mm by its space directions but 5 x 4.5 x 5 mm by its spacings" in w for w in found.warnings)
    assert read_volume(write(tmp_path / "v.nrrd", PLACED + "\nspacings: 4 4.5 5")).warnings == ()


@pytest.mark.parametrize(
    "lines, problem",
    [
        (PLACED.replace("(4,0,0)", "(4x,0,0)"), "not numbers"),
        (PLACED.replace("(4,0,0)", "(1e400,0,0)"), "not numbers"),
        (PLACED.replace("(4,0,0)", "(inf,0,0)"), "not numbers"),
        (PLACED.replace("(4,0,0)", "(4_0,0,0)"), "not numbers"),
        (PLACED.replace("(4,0,0)", "(" + "4" * 400 + ",0,0)"), "not numbers"),
        (PLACED.replace("(4,0,0)", "(4,0)"), "not a vector"),
        (PLACED.replace("(4,0,0)", "(4,0,0) (4,0,0)"), "disagree"),
        (PLACED.replace("(4,0,0)", "(4,2,0)"), "right angles"),
        (PLACED.replace("(4,0,0)", "(0,4.5,0)"), "singular"),
        (PLACED.replace("(4,0,0)", "(1e9,0,0)"), "voxel size"),
        (PLACED.replace("(4,0,0) (", "(4,0,0)(("), "bracket"),
        (PLACED.replace("(0,0,5)", "(0,0,5))"), "bracket"),
        (PLACED.replace("(1,2,3)", "(1,2)"), "not a place"),
        (PLACED.replace("(1,2,3)", "(1,2,3"), "not a place"),
        (PLACED.replace("(1,2,3)", "(1,2,1e300)"), "position"),
        (PLACED.replace("left-posterior-superior", "left-posterior-superiur"), "no space"),
        (PLACED + "\nspace dimension: 3", "both space and space dimension"),
        (PLACED + "\nspacings: 4 4.5 5\nspacings: 4 4.5 5", "stated twice"),
        (PLACED + "\nkinds: domain domain", "kinds disagree"),
        (PLACED + "\nkinds: domain domain domian", "no kind"),
        (PLACED + "\nspacinqs: 4 4.5 5", "no field 'spacinqs'"),
        (PLACED + "\nsome tool's own line " + "x" * 1000, "not of the format"),
        (PLACED + "\nspace units: " + "x" * 100_000, "too long"),
        (PLACED + "\nbyte skip: -2", "less than nothing"),
        (PLACED + "\nline skip: 9999", "truncated"),
        (PLACED + "\nbyte skip: 99999999999", "truncated"),
        ("space directions: (4,0,0) (0,4.5,0) (0,0,5)", "without a space"),
        ("spacings: 4,0 4,5 5,0", "not numbers"),
        ("spacings: 4 4.5", "disagree"),
    ],
)  # fmt: skip
def test_headers_that_cannot_be_right(tmp_path, lines, problem):
    assert problem in refusal(write(tmp_path / "v.nrrd", lines))


HYPERSPACE = "space dimension: 4\nspace directions: (4,0,0,0) (0,4.5,0,0) (0,0,5,0)"


@pytest.mark.parametrize(
    "changes, problem",
    [
        ({"kind": "block"}, "type that cannot be read ('block')"),
        ({"kind": "short"}, "endian is missing"),
        ({"encoding": "zip"}, "encoding 'zip' cannot be read"),
        ({"version": 6}, "version of NRRD (NRRD0006)"),
        ({"sizes": "16 17 18 2 2"}, "5D"),
        ({"sizes": "16 17 9 2", "lines": f"{HYPERSPACE} (0,0,0,1)"}, "this is a 4D image"),
        ({"sizes": "16 17 0"}, "impossible sizes"),
        ({"sizes": "16 17 -18"}, "impossible sizes"),
        ({"sizes": "16 17 18.0"}, "not numbers"),
    ],
)
def test_other_headers_that_cannot_be_right(tmp_path, changes, problem):
    assert problem in refusal(write(tmp_path / "v.nrrd", **{"lines": "# no geometry"} | changes))


def test_versions_line_ends_and_a_byte_order_mark(tmp_path):
    for version in (1, 2, 3, 4, 5):
        assert np.array_equal(raw(write(tmp_path / "v.nrrd", version=version))[0], ARRAY)
    path = write(tmp_path / "v.nrrd", end="\r\n")
    assert np.array_equal(raw(path)[0], ARRAY)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert np.array_equal(raw(path)[0], ARRAY)


@pytest.mark.parametrize("encoding", ["raw", "gzip", "bzip2"])
def test_lines_and_bytes_that_are_skipped(tmp_path, encoding):
    """Lines are left out before, bytes after unpacking; -1 leaves out all but the voxels."""
    pack = {"raw": bytes, "gzip": gzip.compress, "bzip2": bz2.compress}[encoding]
    for skip, before in ((7, b"1234567"), (-1, b"any number")):
        data = b"one\ntwo\n" + pack(before + ARRAY.tobytes())
        path = write(tmp_path / "v.nrrd", f"{PLACED}\nline skip: 2\nbyte skip: {skip}", data, encoding=encoding)
        assert np.array_equal(raw(path)[0], ARRAY)


def test_detached_data(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "v ü.raw").write_bytes(ARRAY.tobytes())
    slices = [tmp_path / f"s{n:02d}.raw" for n in range(1, 19)]
    for path, plane in zip(slices, ARRAY, strict=True):
        path.write_bytes(plane.tobytes())
    names = "\n".join(path.name for path in slices)
    halves = [tmp_path / "a.gz", tmp_path / "b.gz"]
    for path, half in zip(halves, (ARRAY[:9], ARRAY[9:]), strict=True):
        path.write_bytes(gzip.compress(half.tobytes()))
    for lines, encoding in (
        ("data file: data/v ü.raw", "raw"),
        ("datafile: data\\v ü.raw", "raw"),
        ("data file: s%02d.raw 1 18 1", "raw"),
        ("data file: s%02d.raw 1 18 1 2", "raw"),
        (f"data file: LIST\n{names}", "raw"),
        (f"data file: LIST 2\n{names}", "raw"),
        ("data file: LIST 3\na.gz\nb.gz", "gzip"),
    ):
        found = read_volume(write(tmp_path / "v.nhdr", f"{PLACED}\n{lines}", b"", encoding=encoding))
        assert np.array_equal(found.array, ARRAY) and found.warnings == (), lines
    for lines, problem in (
        ("data file: none.raw", "'none.raw' is missing"),
        ("data file: data", "not a plain file"),
        ("data file: x\0y", "is missing"),
        ("data file: s%02d.raw 1 17 1", "do not make up"),
        ("data file: s%02d.raw 1 999999999 1", "numbered in a way"),
        ("data file: s%02d.raw 1 18 0", "numbered in a way"),
        (f"data file: LIST\n{names}\n{names}", "do not make up"),
        ("data file: LIST", "lists no data files"),
        ("data file: LIST\n" + "s01.raw\n" * 70_000, "do not make up"),
    ):
        assert problem in refusal(write(tmp_path / "v.nhdr", f"{PLACED}\n{lines}", b""))


def test_data_from_another_folder_are_said(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "v.raw").write_bytes(ARRAY.tobytes())
    path = write(tmp_path / "in" / "v.nhdr", f"{PLACED}\ndata file: ../v.raw", b"")
    found = read_volume(path)
    assert np.array_equal(found.array, ARRAY) and "another folder" in found.warnings[0]


FRAMES = np.stack([np.roll(ARRAY, t, axis=1) for t in range(5)])
FOUR = "space: LPS\nspace directions: {}\nspace origin: (1,2,3)\nkinds: {}"
VECTORS = ["(4,0,0)", "(0,4.5,0)", "(0,0,5)"]


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("kind", ["list", "time", "vector"])
@pytest.mark.parametrize("encoding", ["raw", "gzip"])
def test_frames_along_any_axis(tmp_path, place, kind, encoding):
    vectors, kinds, sizes = VECTORS.copy(), ["domain"] * 3, ["16", "17", "18"]
    vectors.insert(place, "none")
    kinds.insert(place, kind)
    sizes.insert(place, "5")
    data = np.ascontiguousarray(np.moveaxis(FRAMES, 0, 3 - place)).tobytes()
    lines = FOUR.format(" ".join(vectors), " ".join(kinds))
    packed = gzip.compress(data, 1) if encoding == "gzip" else data
    path = write(tmp_path / "v.nrrd", lines, packed, sizes=" ".join(sizes), encoding=encoding)
    found = read_sequence(path)
    assert len(found) == 5
    for t in (3, 0, 4):
        assert np.array_equal(found[t].array, FRAMES[t])
    assert np.allclose(found[1].spacing, (4, 4.5, 5)) and found[1].warnings == ()


def test_four_axes_without_directions(tmp_path):
    path = write(
        tmp_path / "v.nrrd", 'spacings: 4 4.5 5 250\nunits: "" "" "" "ms"', FRAMES.tobytes(), sizes="16 17 18 5"
    )
    found = read_sequence(path)
    assert np.array_equal(found[2].array, FRAMES[2])
    assert found.times_s == pytest.approx([0, 0.25, 0.5, 0.75, 1.0])


@pytest.mark.parametrize("kind", ["complex", "quaternion", "3D-matrix"])
def test_values_that_are_not_grey(tmp_path, kind):
    lines = FOUR.format("none " + " ".join(VECTORS), kind + " domain domain domain")
    path = write(tmp_path / "v.nrrd", lines, FRAMES.tobytes(), sizes="5 16 17 18")
    assert "not grey values" in refusal(path)


def test_axes_of_one_value_are_no_frames(tmp_path):
    lines = FOUR.format(" ".join([*VECTORS, "none", "none"]), "domain domain domain list list")
    path = write(tmp_path / "v.nrrd", lines, FRAMES.tobytes(), sizes="16 17 18 1 5")
    found = read_sequence(path)
    assert len(found) == 5 and np.array_equal(found[4].array, FRAMES[4])
