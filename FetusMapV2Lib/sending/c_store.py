"""Files to an application entity by C-STORE (PS3.4 annex B), with pynetdicom."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from FetusMapV2Lib.sending.destinations import ANSWER_S, CONNECT_S, Pacs, Security
from FetusMapV2Lib.sending.objects import DicomObject, Store
from FetusMapV2Lib.sending.outcome import LostError, RefusedError

#: (source, reason) of a rejection (PS3.8 9.3.4).
_CALLING_UNKNOWN, _CALLED_UNKNOWN = (1, 3), (1, 7)
#: Failures by the first digits of their status (PS3.4 B.2.3); the first that fits counts.
_FAILURES = {
    "A7": "it is out of resources",
    "A9": "the file does not fit its kind",
    "C": "it does not understand the file",
    "0122": "it does not take this kind of file",
    "0124": "it does not allow it",
    "0110": "processing failed",
}


@contextlib.contextmanager
def c_store(pacs: Pacs, objects: Sequence[DicomObject]) -> Iterator[Store]:
    """A connection through which the objects are stored one by one.

    Raises:
        LostError: there is no connection, or the archive refuses it.
    """
    from pynetdicom import AE, evt

    entity = AE(ae_title=pacs.calling)
    entity.connection_timeout = CONNECT_S
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = ANSWER_S
    for sop_class in dict.fromkeys(one.sop_class for one in objects):
        encodings = {one.transfer_syntax for one in objects if one.sop_class == sop_class}
        syntaxes = list(dict.fromkeys([*encodings, ExplicitVRLittleEndian, ImplicitVRLittleEndian]))
        entity.add_requested_context(sop_class, syntaxes)
    opened: list[bool] = []
    tls = None if not pacs.security.tls else (_tls(pacs.security), pacs.host)
    began = time.monotonic()
    try:
        association = entity.associate(
            pacs.host, pacs.port, ae_title=pacs.title, tls_args=tls,
            evt_handlers=[(evt.EVT_CONN_OPEN, lambda event: opened.append(True))],
        )  # fmt: skip
    except OSError as error:
        raise _unreachable(error) from error
    try:
        if not association.is_established:
            raise _not_established(association, pacs, bool(opened), time.monotonic() - began)
        yield lambda one: _store(association, one)
    finally:
        if association.is_established:
            association.release()


def _store(association: Any, one: DicomObject) -> None:
    if not association.is_established:
        raise LostError("the archive ended the connection")
    try:
        status: Dataset = association.send_c_store(one.dataset)
    except ValueError as error:  # no presentation context was accepted for its kind
        raise RefusedError(f"it does not take this kind of file ({UID(one.sop_class).name})") from error
    except RuntimeError as error:
        raise LostError("the archive ended the connection") from error
    if "Status" not in status:
        raise LostError("the connection ended, or no answer came in time")
    code = int(status.Status)
    if code == 0 or code >> 12 == 0xB:  # with a warning it is stored too
        return
    text = f"{code:04X}"
    reason = next((reason for digits, reason in _FAILURES.items() if text.startswith(digits)), "storing failed")
    comment = str(status.get("ErrorComment") or "").strip()
    raise RefusedError(f"{reason} (status {text}{', ' + comment if comment else ''})")


def _not_established(association: Any, pacs: Pacs, opened: bool, seconds: float) -> LostError:
    """Why there is no association."""
    if association.is_rejected:
        answer = association.acceptor.primitive
        kind = (answer.result_source, answer.diagnostic)
        if kind == _CALLED_UNKNOWN:
            return LostError(f"it does not know the AE title {pacs.title}", "Ask for the AE title of the archive")
        if kind == _CALLING_UNKNOWN:
            return LostError(
                f"it does not know the AE title {pacs.calling} of this sender",
                "Let the archive's administrator enter it, or use the one that is entered there",
            )
        return LostError(f"it rejects the connection ({answer.reason_str.lower()})", "Ask the archive's administrator")
    if not opened:
        return _reason_of(pacs)
    if association.rejected_contexts and not association.accepted_contexts:
        return LostError("it takes none of these kinds of files", "Ask the archive's administrator to allow SR storage")
    if seconds >= ANSWER_S:
        return LostError(f"no answer came within {ANSWER_S:.0f} s", "Check that host and port are those of a PACS")
    return LostError("it ended the connection at once", "Check that host and port are those of a PACS, and TLS")


def _reason_of(pacs: Pacs) -> LostError:
    """Why no connection opens, as another attempt tells it."""
    try:
        with socket.create_connection((pacs.host, pacs.port), CONNECT_S) as connection:
            if pacs.security.tls:
                with _tls(pacs.security).wrap_socket(connection, server_hostname=pacs.host):
                    pass
    except OSError as error:
        return _unreachable(error)
    return LostError("the connection failed", "Try again")


def _unreachable(error: OSError) -> LostError:
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = f"its certificate is not trusted ({error.verify_message})"
        return LostError(reason, "Name the file with the authority of its certificate")
    if isinstance(error, ssl.SSLError):
        return LostError("TLS failed", "Check whether the archive uses TLS on this port")
    if isinstance(error, socket.gaierror):
        return LostError("the host is unknown", "Check its name")
    if isinstance(error, TimeoutError):
        return LostError(f"it did not answer within {CONNECT_S:.0f} s", "Check host, port and network")
    if isinstance(error, ConnectionRefusedError):
        return LostError("nothing listens there", "Check host and port, and that the archive runs")
    return LostError(f"it cannot be reached ({error.strerror or error})", "Check host, port and network")


def _tls(security: Security) -> ssl.SSLContext:
    """A client's context.

    Raises:
        LostError: a file of certificates cannot be used.
    """
    try:
        context = ssl.create_default_context(cafile=security.authorities)
        if security.certificate is not None:
            context.load_cert_chain(security.certificate)
    except (ssl.SSLError, OSError) as error:
        raise LostError("a file of certificates cannot be used", "Use PEM files, the own one with its key") from error
    return context
