"""What the process of a tab answers besides trame's own traffic: volumes that are sent to it, and files to download.

Requests without the secret of the front door are refused: whoever finds the port gets nothing.
"""

from __future__ import annotations

import asyncio
import hmac
import re
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

from aiohttp import BodyPartReader, web

from FetusMapV2Lib.core.errors import InputError, UserError
from FetusMapV2Lib.core.staging import owned_folder
from FetusMapV2Lib.presenting.tones import Tone
from FetusMapV2Lib.serving.downloads import DOWNLOADS, write_download
from FetusMapV2Lib.serving.session_options import SECRET_HEADER

if TYPE_CHECKING:
    from FetusMapV2Lib.serving.open_case import OpenCase

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

#: Headers of volumes whose voxels lie in a file beside them.
_HEADERS = (".nhdr", ".mhd", ".hdr")
_MOST_FILES = 5000
#: Characters that a name of a file cannot have on some system.
_UNUSABLE = re.compile(r'[\x00-\x1f\x7f<>:"|?*]')
_LONGEST_NAME = 200
_CHUNK = 1 << 20
#: Free bytes that an upload leaves on the disk.
_KEPT_FREE = 1 << 30


class Session(Protocol):
    """What the routes need of the session of a tab."""

    case: OpenCase | None
    secret: str

    @property
    def formula(self) -> str:
        """Key of the dating formula that comes first."""

    async def open(self, path: Path) -> None:
        """Read a volume and show it."""

    def say(self, text: str, tone: Tone = Tone.NOTE) -> None:
        """Show a message."""


def add_routes(app: web.Application, session: Session) -> None:
    """Add the routes of a session to the web application of its trame server, before that listens."""

    @web.middleware
    async def check_secret(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get(SECRET_HEADER, "")
        if not hmac.compare_digest(given.encode(), session.secret.encode()):
            raise web.HTTPForbidden(text="This address is not for browsers.")
        return await handler(request)

    async def upload(request: web.Request) -> web.Response:
        await _receive(request, session)
        return web.Response(status=204)

    async def download(request: web.Request) -> web.StreamResponse:
        return await _send(request.match_info["kind"], session)

    app.middlewares.insert(0, check_secret)
    app.router.add_post("/upload", upload)
    app.router.add_get("/files/{kind}", download)


async def _receive(request: web.Request, session: Session) -> None:
    """Save the files of a request among the temporary ones of this computer, and open them as one volume."""
    try:
        with owned_folder() as folder:
            paths = await _saved(request, folder)
            headers = [path for path in paths if path.suffix.lower() in _HEADERS]
            if not paths:
                raise InputError("no file arrived", remedy="Drop a volume on the page")
            await session.open(headers[0] if headers else paths[0] if len(paths) == 1 else folder)
    except UserError as error:
        session.say(error.line(with_option=False), Tone.ERROR)
    except OSError as error:
        session.say(f"The file cannot be stored ({error.strerror or error}).", Tone.ERROR)


async def _saved(request: web.Request, folder: Path) -> list[Path]:
    paths: list[Path] = []
    reader = await request.multipart()
    async for part in reader:
        if not isinstance(part, BodyPartReader) or not part.filename:
            continue
        if len(paths) == _MOST_FILES:
            raise InputError(f"more than {_MOST_FILES} files", remedy="Choose the files of one volume")
        path = folder / plain_name(part.filename, len(paths))
        if path in paths:
            raise InputError("two files have this name", where=path.name, remedy="Choose the files of one volume")
        with path.open("wb") as file:
            while chunk := await part.read_chunk(_CHUNK):
                if shutil.disk_usage(folder).free < _KEPT_FREE:
                    raise InputError("the disk for temporary files is full", where=folder.parent, remedy="Make room")
                await asyncio.get_running_loop().run_in_executor(None, file.write, chunk)
        paths.append(path)
    return paths


def plain_name(name: str, number: int) -> str:
    """A name without folders that is otherwise kept, since a header names the file of its voxels."""
    last = _UNUSABLE.sub("_", name.replace("\\", "/").rpartition("/")[2])
    return last if last.strip(". ") and len(last.encode()) <= _LONGEST_NAME else f"file-{number}"


async def _send(kind: str, session: Session) -> web.StreamResponse:
    """A file of the open case, written for this request."""
    if kind not in DOWNLOADS or session.case is None:
        raise web.HTTPNotFound(text="There is no such file.")
    try:
        with owned_folder() as folder:
            path = write_download(kind, session.case, session.formula, folder)
            content = path.read_bytes()
    except UserError as error:
        session.say(error.line(with_option=False), Tone.ERROR)
        raise web.HTTPConflict(text=error.line(with_option=False)) from error
    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(path.name)}",
        "Cache-Control": "no-store",
    }
    return web.Response(body=content, content_type=DOWNLOADS[kind].media_type, headers=headers)
