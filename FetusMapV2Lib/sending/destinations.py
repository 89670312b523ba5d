"""Where files are sent: an application entity (C-STORE) or a DICOMweb service, as a user writes it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from FetusMapV2Lib.core.errors import InputError

#: Title of this software as the caller, if none is given.
CALLING_TITLE = "FETUSMAP"
#: Seconds to wait for a connection, and for an answer.
CONNECT_S, ANSWER_S = 10.0, 60.0

_PACS_REMEDY = "Write it as TITLE@HOST:PORT, e.g. PACS@archive.example:104"
_PACS = re.compile(r"(?P<title>[^@]+)@(?P<host>\[[0-9A-Fa-f:.]+\]|[^@:\[\]\s/]+):(?P<port>\d{1,5})")
#: Characters of a title: printable ASCII without a backslash (PS3.5 6.2, AE).
_TITLE = re.compile(r"[\x20-\x5b\x5d-\x7e]{1,16}")


@dataclass(frozen=True)
class Security:
    """TLS of a connection.

    Attributes:
        tls: whether a C-STORE connection uses it; DICOMweb says so by https.
        authorities: PEM file of the authorities that are trusted; None = those of the system.
        certificate: PEM file with own certificate and key; None = without.
    """

    tls: bool = False
    authorities: Path | None = None
    certificate: Path | None = None

    def __post_init__(self) -> None:
        for path in (self.authorities, self.certificate):
            if path is not None and not path.is_file():
                raise InputError("no such file", where=path, remedy="Check the path")


@dataclass(frozen=True)
class Pacs:
    """An application entity that files are sent to by C-STORE.

    Attributes:
        title: its AE title.
        host, port: its address.
        calling: the AE title of the sender.
        security: of the connection.
    """

    title: str
    host: str
    port: int
    calling: str = CALLING_TITLE
    security: Security = Security()

    def __str__(self) -> str:
        return f"{self.title}@{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


@dataclass(frozen=True)
class DicomWeb:
    """A DICOMweb service that files are sent to by STOW-RS.

    Attributes:
        url: the address below which it has ``/studies``.
        security: of the connection.
    """

    url: str
    security: Security = Security()

    def __str__(self) -> str:
        return self.url


Destination = Pacs | DicomWeb


def parse_destination(text: str, calling: str = CALLING_TITLE, security: Security | None = None) -> Destination:
    """The destination that a user wrote: TITLE@HOST:PORT, or an address that begins with http.

    Raises:
        InputError: it cannot be one.
    """
    written = text.strip()
    if re.match(r"https?://", written, re.IGNORECASE):
        return parse_dicomweb(written, security)
    return parse_pacs(written, calling, security)


def destination_document(destination: Destination) -> dict[str, Any]:
    """A destination as JSON values, for another process; `destination_from` reads them."""
    security = destination.security
    return {
        "address": str(destination),
        "calling": destination.calling if isinstance(destination, Pacs) else CALLING_TITLE,
        "tls": security.tls,
        "authorities": security.authorities and str(security.authorities.absolute()),
        "certificate": security.certificate and str(security.certificate.absolute()),
    }


def destination_from(document: Mapping[str, Any]) -> Destination:
    """What `destination_document` gave.

    Raises:
        InputError: a file of it is gone.
    """
    authorities, certificate = (document[key] and Path(document[key]) for key in ("authorities", "certificate"))
    security = Security(document["tls"], authorities, certificate)
    return parse_destination(document["address"], document["calling"], security)


def named_destination(pacs: str | None, dicomweb: str | None, calling: str, security: Security) -> Destination:
    """The destination of two options, of which one is given.

    Raises:
        InputError: none or both are given, or it cannot be one.
    """
    if (pacs is None) == (dicomweb is None):
        raise InputError("where to send is not clear", remedy="Give one of the two: a PACS, or a DICOMweb address")
    return parse_dicomweb(dicomweb, security) if dicomweb is not None else parse_pacs(pacs or "", calling, security)


def parse_pacs(text: str, calling: str = CALLING_TITLE, security: Security | None = None) -> Pacs:
    """The application entity that a user wrote as TITLE@HOST:PORT.

    Raises:
        InputError: it is not written so, or a title is none.
    """
    found = _PACS.fullmatch(text.strip())
    if found is None:
        raise InputError("it is no address of a PACS", where=text or "PACS", remedy=_PACS_REMEDY)
    title, port = found["title"].strip(), int(found["port"])
    if not 0 < port < 2**16:
        raise InputError("the port is not between 1 and 65535", where=text, remedy=_PACS_REMEDY)
    for one in (title, calling.strip()):
        if not _TITLE.fullmatch(one):
            remedy = "Use the title that the archive knows, 1 to 16 letters, digits or signs of ASCII"
            raise InputError("it is no AE title", where=one or "AE title", remedy=remedy)
    return Pacs(title, found["host"].strip("[]"), port, calling.strip(), security or Security())


def parse_dicomweb(text: str, security: Security | None = None) -> DicomWeb:
    """The DICOMweb service that a user wrote as its address.

    Raises:
        InputError: it is no address, or it has a password in it.
    """
    url = text.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        remedy = "Write it as http://HOST/PATH or https://HOST/PATH, without what follows /studies"
        raise InputError("it is no address of a DICOMweb service", where=text or "DICOMweb", remedy=remedy)
    if parts.username is not None or parts.password is not None:
        remedy = f"Write user and password for {parts.hostname} into the file .netrc of your home folder"
        raise InputError("a password does not belong into an address", where=parts.hostname, remedy=remedy)
    return DicomWeb(url.removesuffix("/studies"), security or Security())
