"""Volumes come back from real files with the same voxels at the same place in the world."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from imaging.samples import (
    ORIENTATIONS,
    blobs,
    enhanced_us,
    kretz_file,
    oblique,
    philips,
    read_back,
    reordered,
    sample,
    save,
    world,
)
from pydicom.dataset import Dataset

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.formats import itk_files
from FetusMapV2Lib.imaging.grid import Grid, resample
from FetusMapV2Lib.imaging.reading import read_sequence, read_volume, volume_name
from FetusMapV2Lib.imaging.source import ascii_path
from FetusMapV2Lib.imaging.volume import LPS_TO_RAS, ijk_to_ras_matrix
from FetusMapV2Lib.imaging.volume_checks import LEFT_HANDED, grey
from FetusMapV2Lib.imaging.writing import to_simpleitk, write_sequence, write_volume

SIZE = (24, 16, 16)


def write_nibabel(path, volume):
    nibabel.save(nibabel.Nifti1Image(volume.array.transpose(2, 1, 0), volume.ijk_to_ras), path)


def write_simpleitk(path, volume):
    sitk.WriteImage(to_simpleitk(volume), str(path), useCompression=True)


def write_pydicom(path, volume):
    # The slices of a DICOM volume follow their normal, so only right-handed index axes can be stored as they are.
    save(enhanced_us([volume], shuffled=True), path)


WRITERS = {
    "v.nrrd": write_simpleitk,
    "v.mha": write_simpleitk,
    "v.nii": write_simpleitk,
    "v.nii.gz": write_nibabel,
    "v.dcm": write_pydicom,
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("rotation", [None, oblique()], ids=["straight", "oblique"])
def test_all_48_index_orders_written_as_files_give_one_world(tmp_path, name, rotation):
    volume = sample((24, 20, 18), (3.0, 3.5, 4.0), rotation)
    expected = Grid.fit(volume, SIZE)
    image = resample(volume, expected)
    path = tmp_path / name
    for orientation in ORIENTATIONS:
        stored = reordered(volume, *orientation)
        WRITERS[name](path, stored)
        found = read_volume(path)
        tolerance = 1e-3 if ".nii" in name else 1e-6  # NIfTI keeps positions in single precision
        assert np.abs(world(found) - world(volume)).max() < tolerance
        grid = Grid.fit(found, SIZE)
        assert np.abs(grid.grid_to_ras - expected.grid_to_ras).max() < tolerance
        assert np.abs(resample(found, grid) - image).max() < 0.2
        if not name.endswith(".dcm"):
            assert found.shape == stored.shape
            assert found.is_left_handed == stored.is_left_handed
        assert (LEFT_HANDED in found.warnings) == found.is_left_handed


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float32])
@pytest.mark.parametrize("name", ["v.nrrd", "v.mha", "v.nii.gz"])
def test_types_survive(tmp_path, dtype, name):
    volume = sample(dtype=dtype)
    write_volume(tmp_path / name, volume)
    found = read_volume(tmp_path / name)
    assert found.array.dtype == dtype
    assert np.array_equal(found.array, volume.array)
    assert found.name == "v" and found.warnings == ()


@pytest.mark.parametrize("dtype, expected", [("f8", "f4"), ("i4", "f4"), ("i1", "u1"), ("u4", "f4")])
def test_other_types_become_working_types(tmp_path, dtype, expected):
    image = sitk.GetImageFromArray((blobs() // 2).astype(dtype))
    image.SetSpacing((2.0, 2.0, 2.0))
    sitk.WriteImage(image, str(tmp_path / "v.nrrd"))
    found = read_volume(tmp_path / "v.nrrd")
    assert found.array.dtype == expected
    assert np.allclose(found.array, blobs() // 2)


def test_signed_values_are_shifted_and_said_so(tmp_path):
    image = sitk.GetImageFromArray((blobs().astype(np.int16) - 128) * 250)
    image.SetSpacing((2.0, 2.0, 2.0))
    sitk.WriteImage(image, str(tmp_path / "v.nrrd"))
    found = read_volume(tmp_path / "v.nrrd")
    assert found.array.min() == 0 and found.array.dtype == np.uint16
    assert np.ptp(found.array) == 250 * int(np.ptp(blobs()))
    assert "shifted" in found.warnings[0]


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("name", ["v.nrrd", "v.mha", "v.nii.gz"])
def test_colour_becomes_grey(tmp_path, channels, name):
    colour = np.repeat(blobs()[..., None], channels, axis=-1)
    colour[..., 1] //= 2
    image = sitk.GetImageFromArray(colour, isVector=True)
    image.SetSpacing((2.0, 2.0, 2.0))
    sitk.WriteImage(image, str(tmp_path / name))
    found = read_volume(tmp_path / name)
    expected = blobs() * (0.299 + 0.114) + (blobs() // 2) * 0.587
    assert found.array.dtype == np.uint8
    assert np.abs(found.array - expected).max() <= 1.0
    assert "grey" in found.warnings[0]


def test_luminance_of_wider_types():
    pixel = np.array([[1000, 2000, 3000]])
    assert grey(pixel.astype(np.uint16))[0] == 1815
    assert grey(pixel.astype(np.float32))[0] == pytest.approx(1815.0)


def test_path_with_spaces_and_other_letters(tmp_path):
    folder = tmp_path / "Fälle 12. Woche 胎儿"
    for name in ("v ö.nrrd", "v ö.mha", "v ö.nii.gz"):
        write_volume(folder / name, sample())
        assert np.array_equal(read_volume(folder / name).array, sample().array)


def test_where_only_plain_names_are_understood_a_copy_is_read(tmp_path):
    path = tmp_path / "v ö.nii.gz"
    path.write_bytes(b"content")
    with ascii_path(path, needed=True) as name:
        assert name.isascii() and name.endswith(".nii.gz")
        assert Path(name).read_bytes() == b"content"
    assert not Path(name).exists()
    with ascii_path(path, needed=False) as name:
        assert name == str(path)


# --- sequences


def frames_of(count=4):
    volume = sample((20, 18, 16), (4.0, 4.0, 4.0), oblique())
    return [volume.with_(array=np.roll(volume.array, t, axis=1)) for t in range(count)]


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("held", [True, False])
def test_sequences_come_back_frame_by_frame_in_any_order(tmp_path, compress, count, held, monkeypatch):
    if not held:  # as long ones, which are not kept together
        monkeypatch.setattr(itk_files, "_HELD_BYTES", 0)
    frames = frames_of(count)
    write_sequence(tmp_path / "s.seq.nrrd", frames, compress=compress)
    found = read_sequence(tmp_path / "s.seq.nrrd")
    assert len(found) == count
    for t in (count - 1, 0, 1, -1):
        assert np.array_equal(found[t].array, frames[t].array)
        assert np.allclose(found[t].ijk_to_ras, frames[t].ijk_to_ras)
    assert [volume.name for volume in found] == [f"s_{t:04d}" for t in range(count)]
    assert len(found[1:]) == count - 1
    with pytest.raises(IndexError):
        found[count]


def test_a_sequence_read_as_one_volume_gives_the_first_frame_and_says_so(tmp_path):
    write_sequence(tmp_path / "s.seq.nrrd", frames_of())
    volume = read_volume(tmp_path / "s.seq.nrrd")
    assert np.array_equal(volume.array, frames_of()[0].array)
    assert any("4 volumes over time" in line for line in volume.warnings)


def test_sequences_whose_frames_are_interleaved(tmp_path):
    """As older Slicer versions write them: the list is the fastest axis."""
    frames = frames_of(5)
    image = sitk.GetImageFromArray(np.stack([f.array for f in frames], -1), isVector=True)
    image.CopyInformation(to_simpleitk(frames[0]))
    sitk.WriteImage(image, str(tmp_path / "s.seq.nrrd"))
    found = read_sequence(tmp_path / "s.seq.nrrd")
    assert len(found) == 5
    assert np.array_equal(found[3].array, frames[3].array)


def test_four_dimensional_nifti(tmp_path):
    frames = frames_of()
    stack = np.stack([f.array.transpose(2, 1, 0) for f in frames], -1)
    nibabel.save(nibabel.Nifti1Image(stack, frames[0].ijk_to_ras), tmp_path / "s.nii.gz")
    found = read_sequence(tmp_path / "s.nii.gz")
    assert len(found) == 4
    for t in (2, 0):
        assert np.array_equal(found[t].array, frames[t].array)
        assert np.allclose(found[t].ijk_to_ras, frames[t].ijk_to_ras, atol=1e-3)


def test_a_volume_is_a_sequence_of_one(tmp_path):
    write_volume(tmp_path / "v.nrrd", sample())
    found = read_sequence(tmp_path / "v.nrrd")
    assert [only.name for only in found] == ["v"]
    assert found.times_s is None


@pytest.mark.parametrize(("unit", "factor"), [("s", 1.0), ("ms", 1e-3), ("", None), ("mm", None)])
def test_times_of_a_sequence_are_told_in_seconds_where_they_have_a_unit(tmp_path, unit, factor):
    times = [0.0, 130.5, 260.0, 1000.25]
    write_sequence(tmp_path / "s.seq.nrrd", frames_of(), times_s=times, compress=False)
    head, _, data = (tmp_path / "s.seq.nrrd").read_bytes().partition(b"\n\n")
    (tmp_path / "s.seq.nrrd").write_bytes(head.replace(b'"s"', f'"{unit}"'.encode()) + b"\n\n" + data)
    found = read_sequence(tmp_path / "s.seq.nrrd").times_s
    if factor is None:
        assert found is None
    else:
        assert found == pytest.approx(np.array(times) * factor)


@pytest.mark.parametrize("spoilt", [b"0 1 1 2", b"0 2 1 3", b"0 1 2", b"0 1 x 2", b"0 1 nan 2"])
def test_times_that_cannot_be_are_not_known(tmp_path, spoilt):
    write_sequence(tmp_path / "s.seq.nrrd", frames_of(), times_s=[0, 1, 2, 3], compress=False)
    data = (tmp_path / "s.seq.nrrd").read_bytes()
    assert data.count(b"values:=0 1 2 3") == 1
    (tmp_path / "s.seq.nrrd").write_bytes(data.replace(b"values:=0 1 2 3", b"values:=" + spoilt))
    found = read_sequence(tmp_path / "s.seq.nrrd")
    assert found.times_s is None and len(found) == 4


def test_times_of_a_nifti_file_and_of_frames_that_are_counted(tmp_path):
    stack = np.stack([f.array.transpose(2, 1, 0) for f in frames_of()], -1)
    image = nibabel.Nifti1Image(stack, frames_of()[0].ijk_to_ras)
    nibabel.save(image, tmp_path / "unknown.nii")
    assert read_sequence(tmp_path / "unknown.nii").times_s is None
    image.header["pixdim"][4] = 250.0
    image.header.set_xyzt_units("mm", "msec")
    nibabel.save(image, tmp_path / "s.nii")
    assert read_sequence(tmp_path / "s.nii").times_s == pytest.approx([0.0, 0.25, 0.5, 0.75])
    write_sequence(tmp_path / "s.seq.nrrd", frames_of())
    assert read_sequence(tmp_path / "s.seq.nrrd").times_s is None


# --- DICOM


def test_enhanced_us_volume_sequence_with_shuffled_frames(tmp_path):
    frames = frames_of(3)
    save(enhanced_us(frames, shuffled=True), tmp_path / "v.dcm")
    found = read_sequence(tmp_path / "v.dcm")
    assert len(found) == 3
    for t in range(3):
        assert np.array_equal(found[t].array, frames[t].array)
        assert np.allclose(found[t].ijk_to_ras, frames[t].ijk_to_ras)
    assert found.times_s == pytest.approx([0.0, 0.5, 1.0])


def test_moments_that_are_only_numbered_have_no_times(tmp_path):
    dataset = enhanced_us(frames_of(2))
    for item in dataset.PerFrameFunctionalGroupsSequence:
        number = int(item.TemporalPositionSequence[0].TemporalPositionTimeOffset > 0)
        del item.TemporalPositionSequence
        content = Dataset()
        content.TemporalPositionIndex = number + 1
        item.FrameContentSequence = [content]
    save(dataset, tmp_path / "v.dcm")
    found = read_sequence(tmp_path / "v.dcm")
    assert len(found) == 2 and found.times_s is None


def test_enhanced_us_volume_in_colour(tmp_path):
    save(enhanced_us([sample()], colour=True), tmp_path / "v.dcm")
    assert np.array_equal(read_volume(tmp_path / "v.dcm").array, sample().array)


def test_philips_cartesian(tmp_path):
    volume = sample(spacing=(2.5, 2.0, 3.0))
    moved = volume.with_(array=np.roll(volume.array, 3, axis=0))
    save(philips([volume, moved]), tmp_path / "v.dcm")
    found = read_sequence(tmp_path / "v.dcm")
    assert len(found) == 2
    assert np.array_equal(found[1].array, moved.array)
    assert np.allclose(found[0].spacing, (2.5, 2.0, 3.0))
    assert not found[0].is_left_handed


def test_a_folder_with_one_dicom_file_and_something_else(tmp_path):
    save(enhanced_us([sample()]), tmp_path / "IM0001")
    (tmp_path / "readme.txt").write_text("exported")
    assert np.array_equal(read_volume(tmp_path).array, sample().array)


@pytest.mark.parametrize("rotation", [None, oblique()], ids=["straight", "oblique"])
def test_a_folder_of_slices_with_positions(tmp_path, rotation):
    volume = sample(rotation=rotation)
    write_slices(tmp_path, volume, range(volume.shape[0]))
    found = read_volume(tmp_path)
    assert np.array_equal(found.array, volume.array)
    assert np.allclose(found.ijk_to_ras, volume.ijk_to_ras, atol=1e-6)


def test_a_folder_with_a_missing_slice_is_refused(tmp_path):
    write_slices(tmp_path, sample(), [n for n in range(40) if n != 17])
    with pytest.raises(InputError, match="not evenly spaced"):
        read_volume(tmp_path)


def write_slices(folder, volume, numbers):
    lps = LPS_TO_RAS @ volume.ijk_to_ras
    directions = lps[:3, :2] / np.array(volume.spacing[:2])
    for n in numbers:
        dataset = enhanced_us([volume.with_(array=volume.array[n : n + 1])])
        del dataset.PerFrameFunctionalGroupsSequence, dataset.SharedFunctionalGroupsSequence
        dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.6.1"
        dataset.ImagePositionPatient = [float(v) for v in (lps @ [0, 0, n, 1])[:3]]
        dataset.ImageOrientationPatient = [float(v) for v in directions.T.ravel()]
        dataset.PixelSpacing = [volume.spacing[1], volume.spacing[0]]
        save(dataset, folder / f"IM{97 * n % 101:04d}")


def test_dicom_written_by_the_test_is_what_it_says(tmp_path):
    save(enhanced_us([sample()]), tmp_path / "v.dcm")
    dataset = read_back(tmp_path / "v.dcm")
    assert dataset.NumberOfFrames == sample().shape[0]


# --- suspicious geometry


def test_one_millimetre_is_suspicious_and_can_be_overridden(tmp_path):
    volume = sample((70, 40, 40), (1.0, 1.0, 1.0))
    write_volume(tmp_path / "v.nrrd", volume)
    assert any("exactly 1.0 mm" in line for line in read_volume(tmp_path / "v.nrrd").warnings)
    found = read_volume(tmp_path / "v.nrrd", spacing=1.5)
    assert np.allclose(found.spacing, 1.5)
    assert found.warnings == ()
    assert np.allclose(read_volume(tmp_path / "v.nrrd", spacing=(1.5, 2.0, 2.5)).spacing, (1.5, 2.0, 2.5))


def test_missing_voxel_size_is_said(tmp_path):
    header = "NRRD0004\ntype: unsigned char\ndimension: 3\nsizes: 24 32 40\nencoding: raw\n\n"
    (tmp_path / "v.nrrd").write_bytes(header.encode() + blobs().tobytes())
    found = read_volume(tmp_path / "v.nrrd")
    assert np.array_equal(found.array, blobs())
    assert any("does not state a voxel size" in line for line in found.warnings)
    assert any("does not state how its axes lie" in line for line in found.warnings)
    (only,) = read_volume(tmp_path / "v.nrrd", spacing=2.0).warnings
    assert "how its axes lie" in only


@pytest.mark.parametrize("spacing, expected", [(0.02, True), (2.0, False), (5.0, False), (20.0, True)])
def test_an_extent_that_cannot_be_a_fetus_is_a_warning(tmp_path, spacing, expected):
    write_volume(tmp_path / "v.nrrd", sample(spacing=(spacing,) * 3))
    warnings = read_volume(tmp_path / "v.nrrd").warnings
    assert any("10-15 week fetus" in line for line in warnings) == expected


def test_mirrored_switch(tmp_path):
    write_volume(tmp_path / "v.nrrd", sample())
    mirror = read_volume(tmp_path / "v.nrrd", mirrored=True)
    assert mirror.is_left_handed and LEFT_HANDED not in mirror.warnings  # the user has said so


@pytest.mark.parametrize(
    "name, stem",
    [("a.b.nii.gz", "a.b"), ("x.seq.nrrd", "x"), ("x.NRRD", "x"), ("IM0001", "IM0001"), ("c.vol", "c")],
)
def test_names(name, stem):
    assert volume_name(name) == stem


# --- GE Kretz, Cartesian


def test_kretz_with_cartesian_voxels(tmp_path):
    (tmp_path / "v.vol").write_bytes(kretz_file(blobs(), 0.5, 10, 0, [], [], cartesian_mm=2.5))
    found = read_volume(tmp_path / "v.vol")
    assert np.array_equal(found.array, blobs())
    assert np.allclose(found.ijk_to_ras, ijk_to_ras_matrix(2.5))
