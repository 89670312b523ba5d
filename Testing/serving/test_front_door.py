"""The front door: who is let in, what is refused, and that tabs end with it. With a real process behind a tab."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import pytest

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.serving.front_door import DoorOptions, FrontDoor
from FetusMapV2Lib.serving.session_options import SECRET_HEADER, SessionOptions

TOKEN = "a token of a test"
Visit = Callable[[aiohttp.ClientSession, FrontDoor, str], Awaitable[Any]]


def visited(visit: Visit, **options: Any) -> Any:
    """What a visitor of a front door finds."""

    async def run() -> Any:
        door = FrontDoor(DoorOptions(port=0, token=TOKEN, **options), SessionOptions(secret=""))
        await door.start()
        try:
            jar = aiohttp.CookieJar(unsafe=True)  # cookies of 127.0.0.1 too
            async with aiohttp.ClientSession(cookie_jar=jar) as client:
                return await visit(client, door, f"http://127.0.0.1:{door.port}")
        finally:
            await door.close()

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/", {}, 403),
        ("/?token=wrong", {}, 403),
        ("/tab/anything/", {}, 403),
        (f"/?token={TOKEN}", {"Host": "evil.example"}, 403),
        (f"/?token={TOKEN}", {"Origin": "http://evil.example"}, 403),
        (f"/tab/anything/?token={TOKEN}", {}, 410),
        (f"/tab/anything/ws?token={TOKEN}", {"Origin": "http://evil.example"}, 403),
    ],
)
def test_strangers_are_refused(path: str, headers: dict[str, str], status: int) -> None:
    async def visit(client: aiohttp.ClientSession, door: FrontDoor, address: str) -> tuple[int, str, str]:
        async with client.get(address + path, headers=headers) as answer:
            return answer.status, await answer.text(), answer.headers["Content-Security-Policy"]

    found, text, policy = visited(visit)
    assert found == status and "Research use only" in text
    assert "default-src 'self'" in policy and "connect-src 'self'" in policy


def test_a_generated_token_is_part_of_the_address() -> None:
    one, other = (FrontDoor(DoorOptions(), SessionOptions(secret="")) for _ in range(2))
    assert one.address.startswith("http://127.0.0.1:8600/?token=") and one.address != other.address


def test_a_port_in_use_is_one_line() -> None:
    async def visit(client: aiohttp.ClientSession, door: FrontDoor, address: str) -> str:
        second = FrontDoor(DoorOptions(port=door.port, token=TOKEN), SessionOptions(secret=""))
        with pytest.raises(UserError) as caught:
            await second.start()
        await second.close()
        return caught.value.line()

    line = visited(visit)
    assert line.startswith("127.0.0.1:") and "Choose another port (--port)." in line and "\n" not in line


def test_a_tab_has_a_process_that_answers_the_front_door_alone() -> None:
    async def visit(client: aiohttp.ClientSession, door: FrontDoor, address: str) -> list[Any]:
        async with client.get(f"{address}/?token={TOKEN}") as answer:
            page, place = await answer.text(), answer.url
        (tab,) = door._tabs.values()
        direct = f"http://127.0.0.1:{await tab.port()}/index.html"
        async with client.get(direct) as stranger, client.get(direct, headers={SECRET_HEADER: "guessed"}) as guesser:
            refused = stranger.status, guesser.status
        async with client.get(f"{place}fetusmap/page.js") as script, client.get(f"{place}files/pdf") as nothing:
            parts = script.status, nothing.status
        async with client.get(f"{address}/") as full:  # the cookie is enough; but there is no room
            crowded = full.status
        tab._popen.kill()  # a crash
        tab._popen.wait()
        async with client.get(place) as answer:
            crashed = answer.status, await answer.text()
        return [page, place.path, refused, parts, crowded, crashed]

    page, path, refused, parts, crowded, crashed = visited(visit, most_tabs=1)
    assert 'id="app"' in page and path.startswith("/tab/") and path.endswith("/")
    assert refused == (403, 403) and parts == (200, 404) and crowded == 503
    assert crashed[0] == 410 and "the process of this tab has ended" in crashed[1]


def test_a_tab_that_starts_slowly_is_not_taken_for_one_that_was_left() -> None:
    async def visit(client: aiohttp.ClientSession, door: FrontDoor, address: str) -> int:
        async with client.get(f"{address}/?token={TOKEN}", allow_redirects=False) as answer:
            place = answer.headers["Location"]
        asked = asyncio.ensure_future(client.get(address + place))
        while not next(iter(door._tabs.values())).connections:
            await asyncio.sleep(0.01)
        door._forget_ended()
        async with await asked as answer:
            return answer.status

    assert visited(visit, keep_s=0.0) == 200


def test_the_address_of_a_computer_that_others_reach_has_its_name() -> None:
    door = FrontDoor(DoorOptions(host="0.0.0.0", token=TOKEN), SessionOptions(secret=""))
    assert socket.gethostname() in door.address and "0.0.0.0" not in door.address


def test_an_empty_tab_that_was_left_ends() -> None:
    async def visit(client: aiohttp.ClientSession, door: FrontDoor, address: str) -> tuple[int, bool]:
        async with client.get(f"{address}/?token={TOKEN}", allow_redirects=False) as answer:
            place = answer.headers["Location"]
        (tab,) = door._tabs.values()
        door._forget_ended()
        await asyncio.wait(door._ending)
        async with client.get(address + place) as answer:
            return answer.status, tab.is_running

    assert visited(visit, keep_s=0.0) == (410, False)
