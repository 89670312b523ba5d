"""Cases are found whatever the reader takes, and nothing is left out without a word."""

from __future__ import annotations

import logging
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from imaging.samples import enhanced_us, sample, save

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.case_search import CaseFiles, find_cases, volumes_named
from FetusMapV2Lib.imaging.markups import write_markups
from FetusMapV2Lib.imaging.writing import to_simpleitk, write_sequence, write_volume

POSE = Pose(np.random.default_rng(0).uniform(5, 60, (22, 3)))
IMAGE = to_simpleitk(sample())


def volume(path: Path) -> None:
    """A volume of the format that the suffix names, in whatever case."""
    plain = path.with_name(path.name.lower())
    sitk.WriteImage(IMAGE, str(plain))
    plain.rename(path)


def search(folder: Path) -> tuple[dict[str, CaseFiles], dict[str, str]]:
    """Cases by name, and the reasons of what is left out."""
    skipped = {}
    cases = find_cases(folder, on_skipped=lambda found: skipped.update({one.path.name: one.reason for one in found}))
    return {case.name: case for case in cases}, skipped


def annotated(folder: Path, *names: str) -> None:
    for name in names:
        write_markups(folder / f"{name}.mrk.json", POSE)


@pytest.mark.parametrize("suffix", [".nrrd", ".NRRD", ".Nhdr", ".mha", ".MHD", ".nii", ".NII.GZ", ".hdr"])
def test_what_the_reader_takes_is_a_volume_of_a_case(tmp_path, suffix):
    volume(tmp_path / f"c{suffix}")
    annotated(tmp_path, "c")
    cases, skipped = search(tmp_path)
    assert list(cases) == ["c"] and not skipped
    np.testing.assert_array_equal(cases["c"].volume().array, sample().array)


def test_sequences_dicom_folders_and_files_without_a_suffix_are_volumes_too(tmp_path):
    write_sequence(tmp_path / "moving.SEQ.nrrd", [sample()] * 2)
    (tmp_path / "slices").mkdir()
    save(enhanced_us([sample()]), tmp_path / "slices" / "0001")
    save(enhanced_us([sample()]), tmp_path / "image")
    write_volume(tmp_path / "v.nrrd", sample())
    (tmp_path / "v.nrrd").rename(tmp_path / "plain.ultrasound")
    annotated(tmp_path, "moving", "slices", "image", "plain")
    cases, skipped = search(tmp_path)
    assert sorted(cases) == ["image", "moving", "plain", "slices"] and not skipped
    assert all(case.volume().shape == sample().shape for case in cases.values())


def test_everything_that_is_left_out_is_named_with_the_reason(tmp_path, caplog):
    for name in ("good", "twice", "bare", "A"):
        volume(tmp_path / f"{name}.nrrd")
    volume(tmp_path / "twice.NII.GZ")
    write_sequence(tmp_path / "moving.seq.nrrd", [sample()] * 2)
    annotated(tmp_path, "good", "twice", "lonely", "a", "moving_0001", "._good", ".hidden")
    (tmp_path / "._good.nrrd").write_bytes(b"\0\5\x16\7")
    (tmp_path / "good.MRK.json").write_text("{}", encoding="utf-8")
    (tmp_path / "folder.mrk.json").mkdir()
    for harmless in (".DS_Store", "Thumbs.db", "notes.txt", "good.json", "good.png"):
        (tmp_path / harmless).write_text("{}", encoding="utf-8")
    cases, skipped = search(tmp_path)
    assert list(cases) == ["good"]
    expected = {
        "twice.mrk.json": "which of its volumes was annotated, twice.NII.GZ and twice.nrrd",
        "lonely.mrk.json": "no volume of this name",
        "a.mrk.json": "no volume of this name is there, only A.nrrd",
        "moving_0001.mrk.json": "a frame of a sequence",
        "._good.mrk.json": "macOS",
        "._good.nrrd": "macOS",
        ".hidden.mrk.json": "hidden",
        "folder.mrk.json": "a folder",
        "bare.nrrd": "no landmarks",
        "A.nrrd": "no landmarks",
        "moving.seq.nrrd": "no landmarks",
        "good.mrk.json": "the same name as good.MRK.json",
    }
    assert set(skipped) == set(expected)
    assert all(expected[name] in reason for name, reason in skipped.items())
    with caplog.at_level(logging.WARNING):
        find_cases(tmp_path)
    assert all(name in caplog.text for name in expected)


def test_links_to_nothing_are_no_cases(tmp_path):
    volume(tmp_path / "good.nrrd")
    annotated(tmp_path, "good", "b")
    try:
        (tmp_path / "a.mrk.json").symlink_to(tmp_path / "gone.mrk.json")
        (tmp_path / "b.nrrd").symlink_to(tmp_path / "gone.nrrd")
    except OSError:
        pytest.skip("links are not allowed here")
    cases, skipped = search(tmp_path)
    assert list(cases) == ["good"]
    assert "nothing" in skipped["a.mrk.json"] and "its volume is a link to nothing" in skipped["b.mrk.json"]


def test_accents_of_a_mac_are_the_same_letters(tmp_path):
    volume(tmp_path / "x.nrrd")
    (tmp_path / "x.nrrd").rename(tmp_path / unicodedata.normalize("NFD", "Müller é.nrrd"))
    annotated(tmp_path, unicodedata.normalize("NFC", "Müller é"))
    assert len(search(tmp_path)[0]) == 1


def test_a_folder_without_a_case_says_what_is_there(tmp_path):
    annotated(tmp_path, "lonely")
    with pytest.raises(InputError, match=r"no annotated case.*1 left out, such as lonely\.mrk\.json: no volume"):
        find_cases(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        find_cases(tmp_path / "none")


@pytest.mark.parametrize(
    "text", ["", "[]", '{"fetus_present": "false"}', '{"fetus_present": 0}', '{"fetus_present": null}', "[" * 10**5]
)
def test_what_is_known_of_a_case_is_known_or_refused(tmp_path, text):
    volume(tmp_path / "c.nrrd")
    annotated(tmp_path, "c")
    (tmp_path / "c.json").write_text(text, encoding="utf-8")
    (case,) = find_cases(tmp_path)
    with pytest.raises(InputError, match=r"c\.json") as caught:
        _ = case.fetus_present
    assert len(str(caught.value).splitlines()) == 1


def test_a_case_whose_writing_was_cut_off_is_no_case_yet(tmp_path):
    for name in ("good", "cut"):
        volume(tmp_path / f"{name}.nrrd")
        annotated(tmp_path, name)
    (tmp_path / ".fetusmap").mkdir()
    moving = '{"files": {"cut.nrrd": {"size": 1, "sha256": ""}}, "staging": ".writing-1"}'
    (tmp_path / ".fetusmap" / "cut.json").write_text(moving, encoding="utf-8")
    cases, skipped = search(tmp_path)
    assert list(cases) == ["good"] and "cut off" in skipped["cut.mrk.json"]


def test_volumes_of_a_name_in_a_folder_that_is_not_there(tmp_path):
    assert volumes_named(tmp_path / "none", "a") == []
