"""Addresses of archives as a user writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.sending.destinations import DicomWeb, Pacs, Security, parse_destination


def test_addresses_are_read_as_they_are_written() -> None:
    assert parse_destination(" PACS 1@archive.example:104 ", "ROOM") == Pacs("PACS 1", "archive.example", 104, "ROOM")
    assert parse_destination("A@[::1]:11112") == Pacs("A", "::1", 11112)
    assert str(parse_destination("A@[::1]:11112")) == "A@[::1]:11112"
    assert parse_destination("HTTPS://h/dicom-web/studies/") == DicomWeb("HTTPS://h/dicom-web")
    assert str(parse_destination("http://h:8042/dicom-web/")) == "http://h:8042/dicom-web"


@pytest.mark.parametrize(
    ("text", "calling", "expected"),
    [
        ("", "A", "no address of a PACS"),
        ("archive.example:104", "A", "no address of a PACS"),
        ("PACS@archive.example", "A", "no address of a PACS"),
        ("PACS@archive.example:0", "A", "port is not between"),
        ("PACS@archive.example:65536", "A", "port is not between"),
        ("A-TITLE-THAT-IS-LONG@h:104", "A", "no AE title"),
        ("PACS@h:104", "", "no AE title"),
        ("PACS@h:104", "Ä", "no AE title"),
        ("PA\\CS@h:104", "A", "no AE title"),
        ("http://", "A", "no address of a DICOMweb"),
        ("https://h:x/dicom-web", "A", "no address of a DICOMweb"),
        ("https://h/dicom-web?a=1", "A", "no address of a DICOMweb"),
        ("https://me:secret@h/dicom-web", "A", "does not belong into an address"),
    ],
)
def test_what_is_no_address_is_refused_in_one_line(text: str, calling: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected) as caught:
        parse_destination(text, calling)
    assert "secret" not in str(caught.value)


def test_a_file_of_certificates_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        Security(authorities=tmp_path / "ca.pem")
