"""Files are written whole or not at all, with a header that other programs read alike."""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from imaging.samples import oblique, sample

from FetusMapV2Lib.core.errors import OutputError
from FetusMapV2Lib.core.staging import owned_folder
from FetusMapV2Lib.imaging.reading import read_sequence, read_volume
from FetusMapV2Lib.imaging.writing import write_sequence, write_volume


def test_header_is_lps_as_other_programs_expect(tmp_path):
    volume = sample(rotation=oblique())
    write_volume(tmp_path / "v.nrrd", volume)
    header = (tmp_path / "v.nrrd").read_bytes()
    assert b"\nspace: left-posterior-superior\n" in header and b"\ntype: unsigned char\n" in header
    image = sitk.ReadImage(str(tmp_path / "v.nrrd"))
    point = np.array(image.TransformIndexToPhysicalPoint((3, 4, 5)))
    assert np.allclose(point * [-1, -1, 1], (volume.ijk_to_ras @ [3, 4, 5, 1])[:3])
    write_volume(tmp_path / "v.nii.gz", volume)
    assert np.allclose(nibabel.load(tmp_path / "v.nii.gz").affine, volume.ijk_to_ras, atol=1e-3)


def test_compression_is_an_option(tmp_path):
    write_volume(tmp_path / "a.nrrd", sample(), compress=True)
    write_volume(tmp_path / "b.nrrd", sample(), compress=False)
    assert (tmp_path / "a.nrrd").stat().st_size < (tmp_path / "b.nrrd").stat().st_size
    assert np.array_equal(read_volume(tmp_path / "a.nrrd").array, read_volume(tmp_path / "b.nrrd").array)


def test_an_existing_output_is_kept(tmp_path):
    (tmp_path / "v.nrrd").write_text("mine")
    (tmp_path / "v.seq.nrrd").write_text("mine")
    with pytest.raises(OutputError, match="--overwrite"):
        write_volume(tmp_path / "v.nrrd", sample(), overwrite=False)
    with pytest.raises(OutputError, match="--overwrite"):
        write_sequence(tmp_path / "v.seq.nrrd", [sample()], overwrite=False)
    assert (tmp_path / "v.nrrd").read_text() == (tmp_path / "v.seq.nrrd").read_text() == "mine"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("name", ["v.seq.nrrd", "v.nrrd"])
def test_a_full_disk_leaves_nothing(tmp_path, name, monkeypatch):
    @contextlib.contextmanager
    def full(parent, prefix):
        """The temporary file is a link to the device that is always full."""
        with owned_folder(parent, prefix) as folder:
            (folder / name).symlink_to("/dev/full")
            yield folder

    monkeypatch.setattr("FetusMapV2Lib.core.atomic_files.owned_folder", full)
    with pytest.raises(OutputError):
        if "seq" in name:
            write_sequence(tmp_path / name, [sample()] * 2)
        else:
            write_volume(tmp_path / name, sample())
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("FetusMapV2Lib.core.atomic_files._flush", full)
    with pytest.raises(OutputError, match="disk is full"):
        write_volume(tmp_path / "v.nrrd", sample())
    assert list(tmp_path.iterdir()) == []


def test_frames_must_agree(tmp_path):
    others = [sample((41, 32, 24)), sample(dtype=np.uint16), sample(rotation=oblique())]
    for other in others:
        with pytest.raises(OutputError, match="frame 1"):
            write_sequence(tmp_path / "s.seq.nrrd", [sample(), other])
    with pytest.raises(OutputError, match="no frames"):
        write_sequence(tmp_path / "s.seq.nrrd", [])
    assert list(tmp_path.iterdir()) == []


def test_frames_may_come_from_a_generator_or_a_lazy_file(tmp_path):
    write_sequence(tmp_path / "a.seq.nrrd", (sample(seed=n) for n in range(3)))
    write_sequence(tmp_path / "b.seq.nrrd", read_sequence(tmp_path / "a.seq.nrrd"))
    found = read_sequence(tmp_path / "b.seq.nrrd")
    assert len(found) == 3 and np.array_equal(found[2].array, sample(seed=2).array)


@pytest.mark.parametrize("times", [[0.0, 1.0], [0.0, 1.0, 1.0], [0.0, 1.0, float("inf")]])
def test_times_must_be_one_per_frame_and_rise(tmp_path, times):
    with pytest.raises(OutputError, match="times"):
        write_sequence(tmp_path / "s.seq.nrrd", [sample()] * 3, times_s=times)
    assert list(tmp_path.iterdir()) == []


def test_what_a_file_cannot_hold_is_refused(tmp_path):
    volume = sample()
    sheared = volume.ijk_to_ras.copy()
    sheared[0, 1] += 1.0
    with pytest.raises(OutputError, match="right angles"):
        write_volume(tmp_path / "v.nrrd", volume.with_(ijk_to_ras=sheared))
    with pytest.raises(OutputError, match="kind of volume file"):
        write_volume(tmp_path / "v.png", volume)
    with pytest.raises(OutputError, match=r"\.seq\.nrrd"):
        write_sequence(tmp_path / "v.nrrd", [volume])
