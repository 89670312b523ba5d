"""Results are written whole or not at all, and errors say what to do."""

import errno
import os
import stat

import pytest

from FetusMapV2Lib.core import atomic_files
from FetusMapV2Lib.core.atomic_files import atomic_write, safe_stem, write_json, write_text
from FetusMapV2Lib.core.errors import OutputError, UserError
from FetusMapV2Lib.core.publishing import published
from FetusMapV2Lib.core.resources import resource_path


def test_a_failed_write_leaves_the_old_file_and_no_scrap(tmp_path):
    target = tmp_path / "größe 1.json"
    write_text(target, "old")
    with pytest.raises(RuntimeError), atomic_write(target) as temporary:
        temporary.write_text("half", encoding="utf-8")
        raise RuntimeError
    assert target.read_text(encoding="utf-8") == "old"
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def test_a_full_disk_is_one_clear_line(tmp_path):
    with pytest.raises(OutputError, match="the disk is full") as caught, atomic_write(tmp_path / "case.csv"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_existing_output_is_refused_unless_overwritten(tmp_path):
    target = tmp_path / "a.txt"
    write_text(target, "one", overwrite=False)
    with pytest.raises(OutputError, match="--overwrite"):
        write_text(target, "two", overwrite=False)
    assert target.read_text(encoding="utf-8") == "one"
    write_text(target, "two", overwrite=True)
    assert target.read_text(encoding="utf-8") == "two"


def test_a_file_where_a_folder_should_be(tmp_path):
    (tmp_path / "out").write_text("", encoding="utf-8")
    with pytest.raises(OutputError):
        write_text(tmp_path / "out" / "a.txt", "x")


def test_json_is_strict(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert not list(tmp_path.iterdir())


def test_the_line_names_place_and_remedy():
    error = UserError("the file is empty", where="a b.nrrd", remedy="Export it again")
    assert str(error) == "a b.nrrd: the file is empty. Export it again."


def test_missing_resource_says_so():
    with pytest.raises(UserError, match="installation"):
        resource_path("no-such-thing")


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("Fall 1", "Fall 1"),
        ("Doe, Jane: 3D / 1", "Doe, Jane_ 3D _ 1"),
        ("a\\b|c*?<d>\n", "a_b_c_d_"),
        (" .hidden. ", "hidden"),
        ("", "case"),
        ("...", "case"),
        ("CON", "_CON"),
        ("lpt1.txt", "_lpt1.txt"),
        ("Фетус é", "Фетус é"),
        ("50 % of 100", "50 % of 100"),
        ("\udcdcbung 1", "Übung 1"),
        ("a\x7fb\u202ec\u2028d\ud800e", "a_b_c_d_e"),
        (300 * "x", 160 * "x"),
        (100 * "é" + 200 * ".", 80 * "é"),
        (159 * "x" + "é", 159 * "x"),
        ("com¹", "_com¹"),
        ("NUL .nrrd", "_NUL .nrrd"),
        ("CONIN$", "_CONIN$"),
    ],
)
def test_a_stem_is_a_file_name_everywhere(tmp_path, name, stem):
    assert safe_stem(name) == stem
    write_text(tmp_path / f"{safe_stem(name)}.landmarks.mrk.json", "")


def test_a_file_is_on_the_disk_before_it_takes_its_name_and_the_name_after(tmp_path, monkeypatch):
    target, steps, replace = tmp_path / "a.txt", [], os.replace

    def noted_replace(source, place):
        steps.append("name")
        replace(source, place)

    def noted_sync(descriptor):
        steps.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")

    monkeypatch.setattr(os, "replace", noted_replace)
    monkeypatch.setattr(os, "fsync", noted_sync)
    write_text(target, "x")
    assert steps == ["file", "name"] + ["folder"] * (os.name != "nt")
    steps.clear()
    with published(tmp_path, "c") as staging:
        for name in ("c.csv", "c.json"):
            write_text(staging / name, "x")
    steps = [step for step in steps if step != "folder"]
    # two files are written and brought to the disk, then the manifest, then they move, then the manifest again
    assert steps == ["name", "name", "file", "file", "file", "name", "name", "name", "file", "name"]


def test_a_reader_of_a_file_holds_up_its_replacement_on_windows_only_for_a_while(tmp_path, monkeypatch):
    write_text(tmp_path / "a", "old")
    write_text(tmp_path / "b", "new")
    tries, replace = iter(range(100)), os.replace

    def busy(source, target):
        if next(tries) < 3:
            raise PermissionError(errno.EACCES, "in use")
        replace(source, target)

    monkeypatch.setattr(os, "replace", busy)
    monkeypatch.setattr(atomic_files, "_RENAME_TRIES", 5)
    monkeypatch.setattr(atomic_files, "_RENAME_WAIT_S", 0.0)
    monkeypatch.setattr(atomic_files, "_ON_WINDOWS", True)
    atomic_files.move(tmp_path / "b", tmp_path / "a")
    assert (tmp_path / "a").read_text(encoding="utf-8") == "new"
    tries = iter([0] * 100)
    with pytest.raises(PermissionError):
        atomic_files.move(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a").read_text(encoding="utf-8") == "new"


@pytest.mark.skipif(os.name == "nt", reason="the folder rules there")
def test_a_file_can_be_private(tmp_path):
    with atomic_write(tmp_path / "a.bin", private=True) as temporary:
        temporary.write_bytes(b"x")
    assert stat.S_IMODE((tmp_path / "a.bin").stat().st_mode) == 0o600
