"""The front door: the one address that browsers open. It knows no patient, only which process serves which tab.

A browser gets in with the token alone; requests of other web pages, and addresses that point here by a foreign name,
are refused. The browser itself is told to send nothing elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import html
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.core.notices import RESEARCH_USE
from FetusMapV2Lib.serving.languages import language_for
from FetusMapV2Lib.serving.session_options import SessionOptions
from FetusMapV2Lib.serving.tab_process import TabProcess

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

#: Of this computer; they are bound to, and cannot be opened.
_EVERY_ADDRESS = ("0.0.0.0", "::")
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_COOKIE_S = 30 * 24 * 3600
#: Headers that concern one connection and are not passed on.
_OF_A_HOP = frozenset(
    ("connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailers", "transfer-encoding",
     "upgrade", "host", "content-length", "cookie", "content-encoding", "accept-encoding")
)  # fmt: skip
#: A page may load, and send to, nothing but its own address. Templates of trame are compiled in the browser.
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
        "frame-ancestors 'none'; form-action 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
#: Seconds between two looks for tabs that nobody needs any more; a tab whose work is in files is kept this long.
_SWEEP_S, _SAVED_S = 5.0, 60.0


@dataclass(frozen=True)
class DoorOptions:
    """Where the front door listens, and whom it lets in.

    Attributes:
        host: address to bind to.
        port: 0 = any free one.
        token: that a browser has to bring.
        most_tabs: processes at once.
        keep_s: seconds for which work in a closed tab is kept that is in no file.
    """

    host: str = "127.0.0.1"
    port: int = 8600
    token: str = ""
    most_tabs: int = 8
    keep_s: float = 3600.0

    @property
    def is_local(self) -> bool:
        """Whether this computer alone reaches it."""
        return self.host in LOOPBACK


class FrontDoor:
    """Serves pages until it is closed.

    Args:
        door: where and for whom.
        tab: what each tab may do.
    """

    def __init__(self, door: DoorOptions, tab: SessionOptions) -> None:
        self._door, self._tab = door, tab
        self._token = door.token or secrets.token_urlsafe(18)
        self._tabs: dict[str, TabProcess] = {}
        self._client: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None
        self._sweeping: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Future[None]] = set()
        self.port = door.port

    @property
    def address(self) -> str:
        """The address to open, with the token."""
        host = socket.gethostname() if self._door.host in _EVERY_ADDRESS else self._door.host
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self.port}/?token={self._token}"

    @property
    def _cookie(self) -> str:
        """Cookies are those of all ports of a host."""
        return f"fetusmap-token-{self.port}"

    async def start(self) -> None:
        """Listen.

        Raises:
            UserError: the port or the address cannot be used.
        """
        app = web.Application(middlewares=[self._checked])
        app.router.add_get("/", self._new_tab)
        app.router.add_get("/tab/{tab}", self._to_folder)
        app.router.add_route("*", "/tab/{tab}/{path:.*}", self._pass_on)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        try:
            site = web.TCPSite(self._runner, self._door.host, self._door.port)
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise UserError(
                f"the page cannot be served there ({error.strerror or error})",
                where=f"{self._door.host}:{self._door.port}",
                remedy="Choose another port",
                option="--port",
            ) from error
        self.port = self._runner.addresses[0][1]
        self._client = aiohttp.ClientSession(auto_decompress=False)
        self._sweeping = asyncio.get_running_loop().create_task(self._sweep())

    async def close(self) -> None:
        """End all tabs and stop to listen."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        for name in list(self._tabs):
            self._end(name)
        if self._ending:
            await asyncio.wait(self._ending)
        if self._client is not None:
            await self._client.close()
        if self._runner is not None:
            await self._runner.cleanup()

    # --- who may come in

    @web.middleware
    async def _checked(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        problem = self._problem_of(request)
        if problem:
            return _page(403, problem)
        if not self._is_known(request):
            return _page(403, "Open the address that `fetusmap serve` has printed; it contains the token.")
        response = await handler(request)
        if not response.prepared:
            response.headers.update(_HEADERS)
        return response

    def _problem_of(self, request: web.Request) -> str:
        """Why a request comes from a foreign page or by a foreign name; empty if it does not."""
        host = urlsplit(f"//{request.host}").hostname or ""
        if self._door.is_local and host not in LOOPBACK:
            return "This page is for this computer alone."
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            return "Another page asked for this one."
        return ""

    def _is_known(self, request: web.Request) -> bool:
        given = request.query.get("token") or request.cookies.get(self._cookie, "")
        return hmac.compare_digest(given.encode(), self._token.encode())

    # --- tabs

    async def _new_tab(self, request: web.Request) -> web.StreamResponse:
        """Give a browser a tab of its own; the token goes from the address into a cookie."""
        self._forget_ended()
        if len(self._tabs) >= self._door.most_tabs:
            return _page(503, f"{self._door.most_tabs} tabs are open already. Close one, or go back to it.")
        name = secrets.token_urlsafe(12)
        try:
            language = self._tab.language or language_for(request.headers.get("Accept-Language", ""))
            self._tabs[name] = TabProcess(replace(self._tab, language=language))
        except UserError as error:
            return _page(503, error.line(with_option=False))
        response = web.Response(status=303, headers={"Location": f"/tab/{name}/"})
        response.set_cookie(self._cookie, self._token, max_age=_COOKIE_S, httponly=True, samesite="Lax", path="/")
        return response

    async def _to_folder(self, request: web.Request) -> web.StreamResponse:
        raise web.HTTPSeeOther(f"/tab/{request.match_info['tab']}/")

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        tab = self._tabs.get(request.match_info["tab"])
        if tab is None:
            return _page(410, "This tab was closed for a long time, and its process has ended.", link=True)
        async with _counted(tab):
            return await self._answer(request, tab)

    async def _answer(self, request: web.Request, tab: TabProcess) -> web.StreamResponse:
        """The answer of the process of a tab; a page that says so if it gives none."""
        try:
            target = f"127.0.0.1:{await tab.port()}/{request.match_info['path'] or 'index.html'}"
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return await self._connect(request, tab, f"http://{target}")
            return await self._ask(request, tab, f"http://{target}")
        except UserError as error:
            return _page(410, error.line(with_option=False), link=True)
        except aiohttp.ClientError:
            return _page(502, "The process of this tab does not answer.", link=True)

    async def _ask(self, request: web.Request, tab: TabProcess, url: str) -> web.StreamResponse:
        assert self._client is not None
        headers = {**_passed(request.headers), **tab.headers}
        body = request.content if request.body_exists else None
        asked = self._client.request(
            request.method,
            url,
            params=request.query,
            headers=headers,
            data=body,
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None),
        )
        async with asked as answer:
            response = web.StreamResponse(status=answer.status, headers={**_passed(answer.headers), **_HEADERS})
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response

    async def _connect(self, request: web.Request, tab: TabProcess, url: str) -> web.StreamResponse:
        """Pass messages between a browser and its process, both ways, until either ends."""
        assert self._client is not None
        browser = web.WebSocketResponse(max_msg_size=0, compress=False, heartbeat=30.0)
        await browser.prepare(request)
        async with self._client.ws_connect(url, headers=tab.headers, max_msg_size=0) as process:
            pumps = [asyncio.ensure_future(_pump(*ends)) for ends in ((browser, process), (process, browser))]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
        await browser.close()
        return browser

    # --- tabs that nobody needs any more

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            self._forget_ended()

    def _forget_ended(self) -> None:
        for name, tab in list(self._tabs.items()):
            kept_s = self._door.keep_s if tab.has_unsaved else min(_SAVED_S, self._door.keep_s)
            if tab.idle_s > kept_s or not tab.is_running:
                self._end(name)

    def _end(self, name: str) -> None:
        """End the process of a tab, in a thread: it may have work to save."""
        ending = asyncio.get_running_loop().run_in_executor(None, self._tabs.pop(name).end)
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)


@contextlib.asynccontextmanager
async def _counted(tab: TabProcess) -> AsyncIterator[None]:
    tab.connections += 1
    try:
        yield
    finally:
        tab.leave()


async def _pump(
    source: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
    target: web.WebSocketResponse | aiohttp.ClientWebSocketResponse,
) -> None:
    async for message in source:
        if message.type is aiohttp.WSMsgType.TEXT:
            await target.send_str(message.data)
        elif message.type is aiohttp.WSMsgType.BINARY:
            await target.send_bytes(message.data)


def _passed(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _OF_A_HOP}


def _page(status: int, text: str, *, link: bool = False) -> web.Response:
    """A page of one sentence."""
    more = '<p><a href="/">Open a new tab</a></p>' if link else ""
    body = (
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>FetusMapV2</title>"
        "<body style='font:18px sans-serif;max-width:40em;margin:4em auto;color-scheme:light dark'>"
        f"<p>{html.escape(text)}</p>{more}<p><small>{html.escape(RESEARCH_USE)}</small></p>"
    )
    return web.Response(status=status, text=body, content_type="text/html", headers=_HEADERS)
