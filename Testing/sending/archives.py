"""Real archives on this computer: a storage SCP of pynetdicom, and a small DICOMweb server that parses STOW-RS."""

from __future__ import annotations

import contextlib
import email
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any

import pydicom
from pydicom.dataset import Dataset

Answer = Callable[[int, Dataset], "tuple[int, Any] | None"]

COMPREHENSIVE, COMPREHENSIVE_3D = "1.2.840.10008.5.1.4.1.1.88.33", "1.2.840.10008.5.1.4.1.1.88.34"


@contextlib.contextmanager
def storage_scp(
    answer: Callable[[Any], int] = lambda event: 0,
    kinds: tuple[str, ...] = (COMPREHENSIVE, COMPREHENSIVE_3D),
    tls: ssl.SSLContext | None = None,
    **settings: Any,
) -> Iterator[tuple[int, list[Dataset]]]:
    """A PACS: its port, and what it has stored.

    Args:
        answer: the status of a C-STORE, from its event.
        kinds: SOP classes that it takes.
        tls: its side of a TLS connection.
        settings: attributes of the application entity, such as `require_called_aet`.
    """
    from pynetdicom import AE, evt

    entity = AE(ae_title="ARCHIVE")
    for kind in kinds:
        entity.add_supported_context(kind)
    for name, value in settings.items():
        setattr(entity, name, value)
    stored: list[Dataset] = []

    def store(event: Any) -> int:
        status = answer(event)
        if status >> 12 in (0x0, 0xB) and event.assoc.is_established:
            stored.append(event.dataset)
        return status

    handlers = [(evt.EVT_C_STORE, store)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers, ssl_context=tls)
    try:
        yield server.server_address[1], stored
    finally:
        server.shutdown()


@contextlib.contextmanager
def dicomweb(answer: Answer | None = None) -> Iterator[tuple[str, list[Dataset]]]:
    """A DICOMweb service: its address, and what it has stored.

    Args:
        answer: status and body from the number of the request and its object; None ends the connection without one.
    """
    stored: list[Dataset] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kind = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n"
            message = email.message_from_bytes(kind.encode() + body)
            assert self.path == "/dicom-web/studies" and message.get_content_type() == "multipart/related"
            (part,) = message.get_payload()
            assert part.get_content_type() == "application/dicom"
            sent = pydicom.dcmread(BytesIO(part.get_payload(decode=True)))
            found = (answer or accepted)(len(stored), sent)
            if found is None:
                self.close_connection = True
                self.connection.close()
                return
            status, content = found
            if status < 300:
                stored.append(sent)
            text = json.dumps(content).encode() if content is not None else b""
            self.send_response(status)
            self.send_header("Content-Type", "application/dicom+json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_arguments: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/dicom-web", stored
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def accepted(_number: int, sent: Dataset) -> tuple[int, Any]:
    """That an object is stored (PS3.18 table I.2-1)."""
    return 200, {"00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": [str(sent.SOPInstanceUID)]}}]}}


def refused(code: int, sent: Dataset) -> Any:
    """That an object failed."""
    item = {
        "00081155": {"vr": "UI", "Value": [str(sent.SOPInstanceUID)]},
        "00081197": {"vr": "US", "Value": [code]},
    }
    return {"00081198": {"vr": "SQ", "Value": [item]}}
