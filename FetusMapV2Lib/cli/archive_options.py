"""Options about the connection to an archive, the same for every command that sends to one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

CallingOption = Annotated[
    str, typer.Option("--calling-aet", metavar="TITLE", help="AE title of this sender, as the archive knows it.")
]
TlsOption = Annotated[bool, typer.Option("--tls", help="C-STORE over TLS.")]
AuthoritiesOption = Annotated[
    Optional[Path], typer.Option("--ca", metavar="FILE", help="PEM file with the authorities that are trusted.")
]
CertificateOption = Annotated[
    Optional[Path], typer.Option("--certificate", metavar="FILE", help="PEM file with own certificate and key.")
]
