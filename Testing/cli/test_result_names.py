"""Numbered names tell nothing of a patient; which is which stands in a key that lies elsewhere."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from FetusMapV2Lib.cli.result_names import NeutralNames
from FetusMapV2Lib.core.errors import OutputError


def test_a_file_has_the_same_number_in_every_run(tmp_path: Path) -> None:
    output = tmp_path / "out"
    names = NeutralNames(output)
    files = [tmp_path / "Doe, Jane.nrrd", tmp_path / "Ä\n1990.dcm", tmp_path / "x" / "Doe, Jane.nrrd"]
    assert [names.name_of(file) for file in files] == ["case-0001", "case-0002", "case-0003"]
    again = NeutralNames(output)
    assert [again.name_of(file) for file in reversed(files)] == ["case-0003", "case-0002", "case-0001"]
    assert again.key == tmp_path / "out.key.csv" and not output.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.key.csv"]
    assert os.name == "nt" or stat.S_IMODE(again.key.stat().st_mode) == 0o600


def test_numbers_of_results_that_are_there_are_not_given_again(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "case-0041.measurements.json").write_text("{}", encoding="utf-8")
    assert NeutralNames(tmp_path / "out").name_of(tmp_path / "a.nrrd") == "case-0042"


def test_a_key_among_the_results_is_refused(tmp_path: Path) -> None:
    for key in (tmp_path / "out" / "key.csv", tmp_path / "out" / "deeper" / "key.csv", tmp_path / "out"):
        with pytest.raises(OutputError, match="among the results"):
            NeutralNames(tmp_path / "out", key)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"a;b\n",
        b"name,file\ncase-0001\n",
        b"name,file\n../x,/a\n",
        b"name,file\ncase-0001,/a\ncase-0001,/b\n",
        b"name,file\ncase-0001,/a\ncase-0002,/a\n",
        b"\x00\xff\xfe",
        b'name,file\ncase-0001,"' + b"x" * 200_000,
    ],
)
def test_a_damaged_key_is_one_line_and_stays_as_it_is(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "out.key.csv").write_bytes(content)
    with pytest.raises(OutputError, match=r"out\.key\.csv.*--key") as caught:
        NeutralNames(tmp_path / "out")
    assert len(str(caught.value).splitlines()) == 1
    assert (tmp_path / "out.key.csv").read_bytes() == content


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
def test_a_name_that_is_no_text_is_a_name_too(tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.nrrd"))
    assert NeutralNames(tmp_path / "out").name_of(odd) == "case-0001"
    assert NeutralNames(tmp_path / "out").name_of(odd) == "case-0001"
