"""Results are written whole or not at all, and errors say what to do."""

import errno

import pytest

from FetusMapV2Lib.foundation.errors import OutputError, UserError
from FetusMapV2Lib.foundation.files import safe_stem, write_json, write_text, written_whole
from FetusMapV2Lib.foundation.resources import resource_path


def test_a_failed_write_leaves_the_old_file_and_no_scrap(tmp_path):
    target = tmp_path / "größe 1.json"
    write_text(target, "old")
    with pytest.raises(RuntimeError), written_whole(target) as temporary:
        temporary.write_text("half", encoding="utf-8")
        raise RuntimeError
    assert target.read_text(encoding="utf-8") == "old"
    assert [path.name for path in tmp_path.iterdir()] == [target.name]


def test_a_full_disk_is_one_clear_line(tmp_path):
    with pytest.raises(OutputError, match="the disk is full") as caught, written_whole(tmp_path / "case.csv"):
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
    ],
)
def test_a_stem_is_a_file_name_everywhere(tmp_path, name, stem):
    assert safe_stem(name) == stem
    (tmp_path / f"{safe_stem(name)}.txt").write_text("", encoding="utf-8")
