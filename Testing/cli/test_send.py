"""`fetusmap send` to a real archive on this computer."""

from __future__ import annotations

from pathlib import Path

import pytest
from reporting.samples import report
from sending.archives import dicomweb, storage_scp

from FetusMapV2Lib.reporting.dicom_sr import write_sr


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_sr(tmp_path / "a.sr.dcm", report())
    return tmp_path / "a.sr.dcm"


def test_files_are_sent_by_c_store_and_by_dicomweb(fetusmap, file: Path) -> None:
    with storage_scp(require_calling_aet=["ROOM1"]) as (port, stored):
        address = f"ARCHIVE@127.0.0.1:{port}"
        answer = fetusmap("send", file.parent / "*.dcm", "--pacs", address, "--calling-aet", "ROOM1")
        assert (answer.code, len(stored)) == (0, 1) and f"1 file sent to {address}" in answer.err
        answer = fetusmap("send", file, "--pacs", address)
        assert answer.code == 2 and "FETUSMAP of this sender" in answer.err and len(stored) == 1
    with dicomweb() as (url, stored):
        answer = fetusmap("send", file, "--dicomweb", url)
        assert (answer.code, len(stored)) == (0, 1) and f"1 file sent to {url}" in answer.err


@pytest.mark.parametrize("where", [(), ("--pacs", "A@h:1", "--dicomweb", "http://h")])
def test_it_has_to_be_clear_where_to(fetusmap, file: Path, where: tuple[str, ...]) -> None:
    answer = fetusmap("send", file, *where)
    assert answer.code == 2 and "one of the two: a PACS, or a DICOMweb address" in answer.err


def test_a_missing_package_is_one_line(fetusmap, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("FetusMapV2Lib.core.packages.find_spec", lambda module: None)
    for where, module in ((("--pacs", "A@h:1"), "pynetdicom"), (("--dicomweb", "http://h"), "dicomweb_client")):
        answer = fetusmap("send", file, *where)
        assert answer.code == 2 and f"needs the package {module}" in answer.err and '".[pacs]"' in answer.err
