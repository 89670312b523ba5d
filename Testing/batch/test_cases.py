"""The cases of a batch: what inputs name them, what is left out, and how computers share them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from imaging.samples import enhanced_us, sample, save, slices_of

from FetusMapV2Lib.batch.cases import BatchCase, find_batch_cases, shard_of
from FetusMapV2Lib.core.errors import InputError


def touched(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def keys(found) -> list[str]:
    return [case.key for case in found.cases]


def test_folders_are_searched_at_all_depths(tmp_path) -> None:
    touched(tmp_path, "b.nrrd", "A/a.nii.gz", "A/B/c.MHD", "A/notes.txt", ".trash/x.nrrd", "A/._a.nrrd", "out/r.nrrd")
    found = find_batch_cases([str(tmp_path)], leave_out=tmp_path / "out")
    assert keys(found) == ["b", "A/a", "A/B/c"]
    assert found.cases[1] == BatchCase(tmp_path / "A" / "a.nii.gz", "a", "A")
    assert found.refused == []


def test_dicom_slices_are_one_case_and_whole_volumes_one_each(tmp_path) -> None:
    (tmp_path / "slices").mkdir()
    (tmp_path / "volumes").mkdir()
    for name in ("first", "second"):
        save(enhanced_us([sample()]), tmp_path / "volumes" / f"{name}.dcm")
    for number, dataset in enumerate(slices_of(sample())[:3]):
        save(dataset, tmp_path / "slices" / f"{number}.dcm")
    assert keys(find_batch_cases([str(tmp_path)])) == ["slices", "volumes/first", "volumes/second"]


def test_patterns_lists_and_standard_input(tmp_path, monkeypatch) -> None:
    touched(tmp_path, "a.nrrd", "b.nrrd", "c.nrrd", "d.nrrd")
    monkeypatch.chdir(tmp_path)
    Path("list.txt").write_text("# of today\nb.nrrd\n\n sub/e.nrrd\n", encoding="utf-8-sig")
    inputs = ["a*.nrrd", "list.txt", "-", "missing.nrrd"]
    found = find_batch_cases(inputs, standard_input=io.StringIO("c.nrrd\nd.nrrd\r\n"))
    assert [str(case.path) for case in found.cases] == [
        "a.nrrd",
        "b.nrrd",
        " sub/e.nrrd",
        "c.nrrd",
        "d.nrrd",
        "missing.nrrd",
    ]
    with pytest.raises(InputError, match="no file matches"):
        find_batch_cases(["z*.nrrd"])


def test_a_table_gives_names_spacings_and_mirrors(tmp_path) -> None:
    (tmp_path / "t.csv").write_text("path,name,spacing,mirrored\nsub/x.nrrd,p1,0.5,yes\ny.nrrd,,0.3 0.4 0.5,\n")
    found = find_batch_cases([str(tmp_path / "t.csv")])
    assert found.cases == [
        BatchCase(tmp_path / "sub/x.nrrd", "p1", "", (0.5, 0.5, 0.5), True),
        BatchCase(tmp_path / "y.nrrd", "y", "", (0.3, 0.4, 0.5)),
    ]


@pytest.mark.parametrize(
    "text, problem",
    [
        ("file,spacing\na.nrrd,1\n", "unknown column 'file'"),
        ("path,spaceing\na.nrrd,1\n", "unknown column 'spaceing'"),
        ("name\nx\n", "no column 'path'"),
        ("path,spacing\na.nrrd,wide\n", "'wide' is no spacing"),
        ("path,spacing\na.nrrd,1 2\n", "'1 2' is no spacing"),
        ("path,mirrored\na.nrrd,maybe\n", "neither yes nor no"),
        ("path,name\na.nrrd,../x\n", "cannot be the name of a file"),
        ("path,name\n,x\n", "no path"),
        ("\xff\n", "cannot be read"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path, text, problem) -> None:
    (tmp_path / "t.csv").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=problem):
        find_batch_cases([str(tmp_path / "t.csv")])


def test_two_files_of_one_name_are_not_mixed_up(tmp_path) -> None:
    touched(tmp_path, "x/a.nrrd", "y/A.nrrd")
    found = find_batch_cases([str(tmp_path / "x/a.nrrd"), str(tmp_path / "y/A.nrrd"), str(tmp_path / "x/a.nrrd")])
    assert keys(found) == ["a"]
    assert len(found.refused) == 1 and "names of those of" in found.refused[0][1]


def test_shards_hold_every_case_once_whatever_is_added() -> None:
    cases = [BatchCase(Path(f"{number}.nrrd"), f"case {number}") for number in range(500)]
    shards = [shard_of(cases, number, 7) for number in range(1, 8)]
    assert sorted(case.name for shard in shards for case in shard) == sorted(case.name for case in cases)
    assert all(45 < len(shard) < 100 for shard in shards)
    assert shard_of(cases[::-1][:100], 3, 7) == [case for case in cases[::-1][:100] if case in shards[2]]
