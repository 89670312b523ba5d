"""Any name of a file works; pipes, devices and loops are not waited for."""

from __future__ import annotations

import os
import sys
import tempfile

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from imaging.formats.test_nrrd import PLACED, write
from imaging.samples import sample

from FetusMapV2Lib.core.errors import InputError, OutputError
from FetusMapV2Lib.imaging import source, writing
from FetusMapV2Lib.imaging.reading import read_sequence, read_volume, volume_name
from FetusMapV2Lib.imaging.writing import write_sequence, write_volume

SUFFIXES = (".nrrd", ".mha", ".nii", ".nii.gz")


@pytest.fixture
def as_on_windows(monkeypatch):
    """SimpleITK takes the UTF-8 letters of a name for those of a code page, as it does on Windows."""
    real = sitk.WriteImage

    def misled(image, name, *arguments, **options):
        return real(image, name.encode("utf-8").decode("cp1252", "replace"), *arguments, **options)

    monkeypatch.setattr(writing.sitk, "WriteImage", misled)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_letters_of_other_languages(tmp_path, suffix, as_on_windows, monkeypatch):
    """Also where the folder for temporary files has the user's name in it."""
    temporary = tmp_path / "Müller" / "Temp"
    temporary.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    path = tmp_path / "Müller" / f"Übung 胎儿{suffix}"
    write_volume(path, sample())
    found = read_volume(path)
    assert np.array_equal(found.array, sample().array)
    assert np.allclose(found.ijk_to_ras, sample().ijk_to_ras, atol=1e-5)
    assert sorted(one.name for one in path.parent.iterdir()) == ["Temp", path.name]
    assert list(temporary.iterdir()) == []


def test_without_any_plain_folder_one_line_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(source.os, "access", lambda folder, mode: False)
    with pytest.raises(OutputError, match="plain letters"):
        write_volume(tmp_path / "ü.nii.gz", sample())
    assert list(tmp_path.iterdir()) == []


def test_a_volume_that_does_not_arrive_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(writing.sitk, "WriteImage", lambda *arguments, **options: None)
    with pytest.raises(OutputError, match="could not be written"):
        write_volume(tmp_path / "v.nii.gz", sample())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names there are Unicode")
@pytest.mark.parametrize("suffix", [*SUFFIXES, ".seq.nrrd", ".nhdr", ".mhd"])
def test_bytes_that_are_no_unicode(tmp_path, suffix):
    """File names of old systems: ü is the byte FC."""
    path = tmp_path / os.fsdecode(b"\xfcbung" + suffix.encode())
    if suffix == ".seq.nrrd":
        write_sequence(path, [sample(), sample()])
    elif suffix in SUFFIXES:
        write_volume(path, sample())
    else:
        name = {".nhdr": "v.nhdr", ".mhd": "v.mhd"}[suffix]
        sitk.WriteImage(writing.to_simpleitk(sample()), str(tmp_path / name))
        (tmp_path / "v.raw").rename(tmp_path / os.fsdecode(b"\xfc.raw"))
        header = (tmp_path / name).read_bytes().replace(b"v.raw", b"\xfc.raw")
        path.write_bytes(header)
    volume = read_sequence(path)[0]
    assert np.array_equal(volume.array, sample().array)
    assert volume.name.encode("utf-8").decode("utf-8").startswith("übung")


def test_the_names_of_cases_can_be_printed():
    assert volume_name(os.fsdecode(b"\xfc\xe4.nrrd")) == "üä" or sys.platform == "win32"
    assert volume_name("a.hdr") == volume_name("a.NRRD") == volume_name("a.img.gz") == "a"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_devices_and_loops_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "folder").mkdir()
    others = ["pipe", "loop", "folder", "/dev/zero", "/dev/stdin", "/proc/self/mem", "a" * 300, "a\0b", "."]
    for name in ("pipe", "loop", "/dev/zero", "a" * 300, "a\0b", "x/" * 2000):
        with pytest.raises(InputError) as caught:
            read_volume(tmp_path / name)
        assert "\n" not in str(caught.value)
    for name in others:
        for file in (f"data file: {name}", f"data file: LIST\n{name}\n" + f"{name}\n" * 17):
            with pytest.raises(InputError) as caught:
                read_volume(write(tmp_path / "v.nhdr", f"{PLACED}\n{file}", b""))
            assert "\n" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "symlink") or os.name == "nt", reason="needs symbolic links")
def test_links_to_volumes_are_followed(tmp_path):
    write_volume(tmp_path / "v.nrrd", sample())
    (tmp_path / "link").symlink_to("v.nrrd")
    assert np.array_equal(read_volume(tmp_path / "link").array, sample().array)


def test_content_counts_not_the_suffix(tmp_path):
    for suffix in SUFFIXES:
        write_volume(tmp_path / f"v{suffix}", sample())
        data = (tmp_path / f"v{suffix}").read_bytes()
        for name in ("a", "a.bak", "a.NRRD", "a.MHA", "a.nii", "a.NII.GZ", "a.hdr", "a.mhd", "a.vol", "a.dcm"):
            (tmp_path / name).write_bytes(data)
            found = read_volume(tmp_path / name)
            assert np.array_equal(found.array, sample().array), (suffix, name)
            (tmp_path / name).unlink()
