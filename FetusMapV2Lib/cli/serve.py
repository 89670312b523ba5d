"""`fetusmap serve`: the page in a browser.

Heavy libraries are imported where they are needed, as in `cli`.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from FetusMapV2Lib.cli.archive_options import AuthoritiesOption, CallingOption, CertificateOption, TlsOption
from FetusMapV2Lib.cli.console import DeviceOption, ModelOption, out, print_message
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.core.packages import require_package

if TYPE_CHECKING:
    from FetusMapV2Lib.sending.destinations import Destination, Security
    from FetusMapV2Lib.serving.front_door import DoorOptions
    from FetusMapV2Lib.serving.session_options import SessionOptions

_SHORTEST_TOKEN = 12


def serve(
    cases: Annotated[
        Optional[Path], typer.Argument(metavar="[CASES|FILE]", help="A folder of volumes for a work list, or a volume.")
    ] = None,
    output: Annotated[
        Optional[Path],
        typer.Option("--output", "-o", metavar="FOLDER", help="Work on CASES; default: fetusmap-results in it."),
    ] = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port of the page; 0 = any free one.")] = 8600,
    host: Annotated[
        str, typer.Option("--host", help="Address to bind to; other than this computer's own, it needs --token.")
    ] = "127.0.0.1",
    token: Annotated[
        Optional[str], typer.Option("--token", help="What browsers have to bring; by default a new one each time.")
    ] = None,
    pacs: Annotated[
        Optional[str], typer.Option("--pacs", metavar="TITLE@HOST:PORT", help="Reports may be sent here, by C-STORE.")
    ] = None,
    dicomweb: Annotated[
        Optional[str], typer.Option("--dicomweb", metavar="URL", help="Reports may be sent here, by STOW-RS.")
    ] = None,
    calling_aet: CallingOption = "FETUSMAP",
    tls: TlsOption = False,
    authorities: AuthoritiesOption = None,
    certificate: CertificateOption = None,
    model: ModelOption = None,
    device: DeviceOption = "auto",
    memory_budget: Annotated[
        Optional[str], typer.Option("--memory-budget", help="Most memory the network may take, e.g. 2GiB.")
    ] = None,
    language: Annotated[
        Optional[str], typer.Option("--language", metavar="CODE", help="en or de; by default that of each browser.")
    ] = None,
    tabs: Annotated[int, typer.Option("--tabs", min=1, help="Tabs at once; each has a process of its own.")] = 8,
    keep: Annotated[
        float, typer.Option("--keep", min=0, metavar="MINUTES", help="How long the work of a closed tab is kept.")
    ] = 60.0,
) -> None:
    """See and correct poses in a browser: open the address that is printed.

    Nothing leaves this computer but reports that are sent to --pacs or --dicomweb, if you name one.
    """
    _require_packages()
    from FetusMapV2Lib.memory.plan import parse_bytes
    from FetusMapV2Lib.models.model_index import absolute_model
    from FetusMapV2Lib.sending.destinations import Security
    from FetusMapV2Lib.serving.front_door import LOOPBACK, DoorOptions
    from FetusMapV2Lib.serving.languages import languages
    from FetusMapV2Lib.serving.session_options import SessionOptions

    if host not in LOOPBACK and (token is None or len(token) < _SHORTEST_TOKEN):
        remedy = f"Give --token with at least {_SHORTEST_TOKEN} characters that nobody guesses"
        raise InputError("other computers could open the page without a token", where=f"--host {host}", remedy=remedy)
    if cases is not None and not cases.exists():
        raise InputError("no such file or folder", where=cases, remedy="Check the path")
    if language is not None and language not in languages():
        raise InputError(f"no language {language}", where="--language", remedy=f"Use {' or '.join(languages())}")
    is_list = cases is not None and cases.is_dir()
    results = _results(cases, output) if is_list else ""
    session = SessionOptions(
        secret="",
        cases=str(cases.absolute()) if cases is not None and is_list else "",
        results=results,
        file="" if cases is None or is_list else str(cases.absolute()),
        model=None if model is None else absolute_model(model),
        device=device,
        memory_budget=None if memory_budget is None else parse_bytes(memory_budget),
        language=language or "",
        archive=_archive(pacs, dicomweb, calling_aet, Security(tls, authorities, certificate)),
    )
    door = DoorOptions(host, port, token or "", tabs, 60 * keep)
    asyncio.run(_serve(door, session))


def _archive(pacs: str | None, dicomweb: str | None, calling: str, security: Security) -> Destination | None:
    """Where reports may be sent; None if nowhere.

    Raises:
        UserError: it is none, there are two, or a package is missing.
    """
    from FetusMapV2Lib.sending.destinations import named_destination
    from FetusMapV2Lib.sending.sender import require_sender

    if pacs is None and dicomweb is None:
        return None
    destination = named_destination(pacs, dicomweb, calling, security)
    require_sender(destination)
    return destination


def _results(cases: Path | None, output: Path | None) -> str:
    """The folder for the work on a folder of volumes, which has at least one.

    Raises:
        UserError: there is no volume, or the folder for results cannot be used.
    """
    from FetusMapV2Lib.core.atomic_files import usable_folder
    from FetusMapV2Lib.serving.work_list import WorkList

    assert cases is not None
    results = (output or cases / "fetusmap-results").absolute()
    WorkList(cases, results)
    usable_folder(results, private=True)
    return str(results)


def _require_packages() -> None:
    for module in ("trame", "trame_rca", "trame_vuetify", "slicer"):
        require_package(module, "The page in a browser", "serve")


async def _serve(door: DoorOptions, session: SessionOptions) -> None:
    from FetusMapV2Lib.serving.front_door import FrontDoor

    front = FrontDoor(door, session)
    try:
        await front.start()
        out.print(f"Open {front.address}", soft_wrap=True)
        print_message("Ctrl-C ends the page and all of its tabs.")
        await asyncio.Event().wait()
    finally:
        await front.close()
