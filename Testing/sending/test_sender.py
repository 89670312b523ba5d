"""Files sent to real archives on this computer: stored whole, or each named with the reason in one line."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest
from reporting.samples import STUDY, report
from sending.archives import COMPREHENSIVE, accepted, dicomweb, refused, storage_scp

from FetusMapV2Lib.core.errors import Cancelled, InputError, OutputError, UserError
from FetusMapV2Lib.reporting.dicom_sr import write_sr
from FetusMapV2Lib.reporting.measurement_report import write_measurement_report
from FetusMapV2Lib.sending import c_store, stow
from FetusMapV2Lib.sending.destinations import (
    Security,
    destination_document,
    destination_from,
    parse_destination,
    parse_pacs,
)
from FetusMapV2Lib.sending.objects import Belonging
from FetusMapV2Lib.sending.process import sending_job
from FetusMapV2Lib.sending.sender import send

OWN = Belonging("P-17", "Klinik", STUDY.study_uid)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Both structured reports of one patient."""
    folder = tmp_path_factory.mktemp("reports")
    write_sr(folder / "a.sr.dcm", report())
    write_measurement_report(folder / "a.sr3d.dcm", report())
    return folder / "a.sr.dcm", folder / "a.sr3d.dcm"


def same(stored: Any, path: Path) -> bool:
    """Whether an archive has all of a file."""
    return list(stored.iterall()) == list(pydicom.dcmread(path).iterall())


def failure(files: Any, text: str, **options: Any) -> str:
    """The line about files that could not be sent."""
    with pytest.raises(UserError) as caught:
        send(files, parse_destination(text, **options))
    line = str(caught.value)
    assert "\n" not in line and line.startswith(text)
    return line


def test_a_pacs_has_every_file_whole(files: tuple[Path, Path]) -> None:
    before = [path.read_bytes() for path in files]
    told: list[str] = []
    with storage_scp(require_called_aet=True, require_calling_aet=["ROOM1"]) as (port, stored):
        destination = parse_pacs(f"ARCHIVE@127.0.0.1:{port}", "ROOM1")
        sent = send(files, destination, belonging=OWN, on_progress=lambda _fraction, stage: told.append(stage))
    assert sent.stored == files and sent.left == ()
    assert all(same(one, path) for one, path in zip(stored, files, strict=True))
    assert [path.read_bytes() for path in files] == before
    assert told == [f"connecting to {destination}", "sending 1 of 2", "sending 2 of 2"]


def test_a_dicomweb_service_has_every_file_whole(files: tuple[Path, Path]) -> None:
    with dicomweb() as (url, stored):
        assert send(files, parse_destination(f"{url}/studies/")).stored == files
    assert all(same(one, path) for one, path in zip(stored, files, strict=True))


def test_titles_that_an_archive_does_not_know_are_named(files: tuple[Path, Path]) -> None:
    with storage_scp(require_called_aet=True) as (port, stored):
        assert "nothing was stored: it does not know the AE title OTHER" in failure(files, f"OTHER@127.0.0.1:{port}")
    with storage_scp(require_calling_aet=["ROOM1"]) as (port, stored):
        line = failure(files, f"ARCHIVE@127.0.0.1:{port}")
        assert "the AE title FETUSMAP of this sender" in line and "administrator" in line
    assert stored == []


def test_a_file_that_is_refused_does_not_stop_the_others(files: tuple[Path, Path]) -> None:
    def answer(event: Any) -> int:
        return 0xA700 if event.dataset.SOPClassUID == COMPREHENSIVE else 0xB000

    with storage_scp(answer) as (port, stored):
        line = failure(files, f"ARCHIVE@127.0.0.1:{port}")
    assert "1 of 2 files was stored: a.sr.dcm: it is out of resources (status A700)" in line and "Send again" in line
    assert same(stored[0], files[1]) and len(stored) == 1


def test_kinds_of_files_that_an_archive_does_not_take_are_named(files: tuple[Path, Path]) -> None:
    with storage_scp(kinds=(COMPREHENSIVE,)) as (port, stored):
        line = failure(files, f"ARCHIVE@127.0.0.1:{port}")
        assert "a.sr3d.dcm: it does not take this kind of file (Comprehensive 3D SR Storage)" in line
    assert len(stored) == 1
    with storage_scp(kinds=("1.2.840.10008.5.1.4.1.1.2",)) as (port, stored):
        assert "it takes none of these kinds of files" in failure(files, f"ARCHIVE@127.0.0.1:{port}")


def test_an_archive_that_ends_in_the_middle_loses_nothing_here(files: tuple[Path, Path]) -> None:
    calls: list[int] = []

    def answer(event: Any) -> int:
        calls.append(1)
        if len(calls) == 2:
            event.assoc.abort()
        return 0

    with storage_scp(answer) as (port, stored):
        text = f"ARCHIVE@127.0.0.1:{port}"
        line = failure(files, text)
        assert "1 of 2 files was stored: the connection ended" in line and "not sent: a.sr3d.dcm" in line
        assert send(files, parse_destination(text)).stored == files  # all of it again
    assert len(stored) == 3 and all(path.is_file() for path in files)


def test_where_no_archive_listens_the_line_says_so(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert "nothing listens there" in failure(files, f"ARCHIVE@127.0.0.1:{port}")
    assert "it cannot be reached" in failure(files, f"http://127.0.0.1:{port}/dicom-web")
    assert "the host is unknown" in failure(files, "ARCHIVE@archive.invalid:104")
    monkeypatch.setattr(c_store, "ANSWER_S", 0.3)
    monkeypatch.setattr(stow, "ANSWER_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert "no answer came within" in failure(files, f"ARCHIVE@127.0.0.1:{port}")
        assert "no answer came within" in failure(files, f"http://127.0.0.1:{port}/dicom-web")


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (409, 0xA900, "a.sr.dcm: it refuses the file (status A900)"),
        (202, 0x0110, "a.sr.dcm: it refuses the file (status 0110)"),
        (400, None, "a.sr.dcm: it refuses the file (HTTP 400)"),
        (401, None, "it does not let you in (HTTP 401)"),
        (404, None, "there is no DICOMweb service that stores (HTTP 404)"),
        (503, None, "it is out of order (HTTP 503)"),
    ],
)
def test_what_a_service_refuses_is_told_by_its_answer(
    files: tuple[Path, Path], status: int, code: int | None, expected: str
) -> None:
    def answer(number: int, sent: Any) -> tuple[int, Any]:
        if sent.SOPClassUID != COMPREHENSIVE and status in (409, 202, 400):
            return accepted(number, sent)
        return status, None if code is None else refused(code, sent)

    with dicomweb(answer) as (url, _stored):
        line = failure(files, url)
    assert expected in line and ("1 of 2 files" in line) is (status in (409, 202, 400))


def test_a_service_that_ends_in_the_middle_or_confirms_another_file(files: tuple[Path, Path]) -> None:
    with dicomweb(lambda number, sent: accepted(number, sent) if number == 0 else None) as (url, stored):
        line = failure(files, url)
    assert "1 of 2 files was stored" in line and "not sent: a.sr3d.dcm" in line and len(stored) == 1
    other = pydicom.dcmread(files[0])
    other.SOPInstanceUID = "1.2.3"
    with dicomweb(lambda number, sent: accepted(number, other)) as (url, _stored):
        assert "it confirms another file" in failure(files[1:], url)


def test_it_stops_before_the_next_file_when_cancelled(files: tuple[Path, Path]) -> None:
    with storage_scp() as (port, stored):
        destination = parse_pacs(f"ARCHIVE@127.0.0.1:{port}")
        sent = send(files, destination, should_cancel=lambda: len(stored) == 1)
        assert (sent.stored, sent.left) == (files[:1], files[1:])
        with pytest.raises(Cancelled):
            send(files, destination, should_cancel=lambda: True)


def test_nothing_of_another_patient_or_of_nobody_is_sent(files: tuple[Path, Path], tmp_path: Path) -> None:
    other = replace(STUDY, patient_id="P-18")
    write_sr(tmp_path / "b.sr.dcm", report(study=other))
    write_sr(tmp_path / "c.sr.dcm", report().without_identifiers())
    (tmp_path / "d.txt").write_text("no DICOM", encoding="utf-8")
    (tmp_path / "e.dcm").write_bytes(files[0].read_bytes()[:400])
    with storage_scp() as (port, stored):
        destination = parse_pacs(f"ARCHIVE@127.0.0.1:{port}")
        for paths, expected in (
            ([*files, tmp_path / "b.sr.dcm"], "belong to different patients"),
            ([tmp_path / "c.sr.dcm"], "names no patient"),
            ([tmp_path / "d.txt"], "not a DICOM file"),
            ([tmp_path / "e.dcm"], "damaged"),
            ([tmp_path / "f.dcm"], "cannot be read"),
            ([], "no file to send"),
        ):
            with pytest.raises(InputError, match=expected):
                send(paths, destination)
        with pytest.raises(InputError, match=r"a\.sr\.dcm: it belongs to another patient or study"):
            send(files, destination, belonging=Belonging("P-18", "Klinik", STUDY.study_uid))
        assert stored == []
        assert send([tmp_path / "c.sr.dcm"], destination, nameless=True).stored and len(stored) == 1


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl, which makes a certificate, is not installed")
def test_tls_needs_an_authority_that_is_trusted(files: tuple[Path, Path], tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    made += ["-keyout", str(key), "-out", str(certificate), "-subj", "/CN=archive"]
    subprocess.run([*made, "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    with storage_scp(tls=server) as (port, stored):
        text = f"ARCHIVE@127.0.0.1:{port}"
        assert "its certificate is not trusted" in failure(files, text, security=Security(tls=True))
        assert stored == []
        trusted = Security(tls=True, authorities=certificate)
        assert send(files, parse_destination(text, security=trusted)).stored == files
    with storage_scp() as (port, _stored):
        assert "TLS failed" in failure(files, f"ARCHIVE@127.0.0.1:{port}", security=trusted)
    with pytest.raises(OutputError, match="file of certificates cannot be used"):
        send(files, parse_destination(text, security=Security(tls=True, authorities=files[0])))


def test_a_process_of_its_own_sends_and_tells_what_came_of_it(files: tuple[Path, Path]) -> None:
    with storage_scp() as (port, stored):
        address = parse_destination(f"ARCHIVE@127.0.0.1:{port}", "ROOM1")
        assert sending_job(files, address, OWN).result().stored == files and len(stored) == 2
        with pytest.raises(OutputError, match=r"a\.sr\.dcm: it belongs to another patient.*Write the report again"):
            sending_job(files, address, replace(OWN, study_uid="1.2")).result()
    secure = parse_destination("ARCHIVE@127.0.0.1:104", "ROOM1", Security(True, files[0], files[1]))
    assert destination_from(json.loads(json.dumps(destination_document(secure)))) == secure
