"""Files sent to a real Orthanc, where it is installed with its DICOMweb plugin (Debian: orthanc, orthanc-dicomweb)."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from reporting.samples import report

from FetusMapV2Lib.core.errors import OutputError
from FetusMapV2Lib.reporting.dicom_sr import write_sr
from FetusMapV2Lib.reporting.measurement_report import write_measurement_report
from FetusMapV2Lib.sending.destinations import parse_destination
from FetusMapV2Lib.sending.sender import send

ORTHANC = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
PLUGINS = [*Path("/usr/share/orthanc/plugins").glob("*Web.so*"), *Path("/usr/lib/orthanc").glob("*Web.so*")]
pytestmark = pytest.mark.skipif(not ORTHANC or not PLUGINS, reason="Orthanc and its DICOMweb plugin are not installed")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def asked(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10) as answer:
        return bytes(answer.read())


@pytest.fixture
def orthanc(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """Its ports for DICOM and HTTP."""
    dicom, http = free_port(), free_port()
    settings = {
        "StorageDirectory": str(tmp_path / "storage"),
        "IndexDirectory": str(tmp_path / "storage"),
        "DicomAet": "ORTHANC",
        "DicomCheckCalledAet": True,
        "DicomPort": dicom,
        "HttpPort": http,
        "AuthenticationEnabled": False,
        "Locale": "C.UTF-8",
        "Plugins": [str(PLUGINS[0])],
    }
    (tmp_path / "orthanc.json").write_text(json.dumps(settings), encoding="utf-8")
    process = subprocess.Popen([str(ORTHANC), str(tmp_path / "orthanc.json")], stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < until:
            try:
                asked(http, "system")
                break
            except urllib.error.URLError:
                time.sleep(0.1)
        yield dicom, http
    finally:
        process.terminate()
        process.wait(60)


def test_orthanc_has_every_file_whole_by_both_ways(orthanc: tuple[int, int], tmp_path: Path) -> None:
    dicom, http = orthanc
    files = tmp_path / "a.sr.dcm", tmp_path / "a.sr3d.dcm"
    write_sr(files[0], report())
    write_measurement_report(files[1], report())
    for address in (f"ORTHANC@127.0.0.1:{dicom}", f"http://127.0.0.1:{http}/dicom-web"):
        assert send(files, parse_destination(address)).stored == files
        known = json.loads(asked(http, "instances"))
        found = [pydicom.dcmread(BytesIO(asked(http, f"instances/{one}/file"))) for one in known]
        kept = {one.SOPInstanceUID: list(one.iterall()) for one in found}
        assert kept == {one.SOPInstanceUID: list(one.iterall()) for one in map(pydicom.dcmread, files)}
        for one in known:
            request = urllib.request.Request(f"http://127.0.0.1:{http}/instances/{one}", method="DELETE")
            urllib.request.urlopen(request, timeout=10).close()
    with pytest.raises(OutputError, match="does not know the AE title OTHER"):
        send(files, parse_destination(f"OTHER@127.0.0.1:{dicom}"))
    with pytest.raises(OutputError, match="no DICOMweb service that stores"):
        send(files, parse_destination(f"http://127.0.0.1:{http}/nothing"))
