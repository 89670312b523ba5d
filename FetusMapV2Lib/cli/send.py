"""`fetusmap send`: DICOM files to an archive, by C-STORE or DICOMweb."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from FetusMapV2Lib.cli.archive_options import AuthoritiesOption, CallingOption, CertificateOption, TlsOption
from FetusMapV2Lib.cli.console import print_message, progress_bar, reporter
from FetusMapV2Lib.cli.patterns import expanded


def send(
    files: Annotated[list[str], typer.Argument(metavar="FILES...", help="DICOM files of one patient.")],
    pacs: Annotated[
        Optional[str], typer.Option("--pacs", metavar="TITLE@HOST:PORT", help="AE title and address, for C-STORE.")
    ] = None,
    dicomweb: Annotated[
        Optional[str], typer.Option("--dicomweb", metavar="URL", help="Address of a DICOMweb service, for STOW-RS.")
    ] = None,
    calling_aet: CallingOption = "FETUSMAP",
    tls: TlsOption = False,
    authorities: AuthoritiesOption = None,
    certificate: CertificateOption = None,
    nameless: Annotated[
        bool, typer.Option("--nameless", help="Send files that name no patient, such as those without identifiers.")
    ] = False,
) -> None:
    """Send DICOM files to an archive (PACS). Each is stored, or named with the reason; the files stay as they are.

    All files have to be of one patient. For a DICOMweb service that wants a password, the file .netrc has it.
    """
    from FetusMapV2Lib.sending.destinations import Security, named_destination
    from FetusMapV2Lib.sending.sender import send as send_files

    destination = named_destination(pacs, dicomweb, calling_aet, Security(tls, authorities, certificate))
    with progress_bar() as bar:
        task = bar.add_task("sending", total=1.0)
        paths = [Path(file) for file in expanded(files)]
        sent = send_files(paths, destination, nameless=nameless, on_progress=reporter(bar, task))
    count = len(sent.stored)
    print_message(f"{count} file{'' if count == 1 else 's'} sent to {destination}.")
