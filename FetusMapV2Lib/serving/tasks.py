"""`Tasks`: what goes on while the page does; what goes wrong becomes a message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.presenting.tones import Tone


class Tasks:
    """Runs coroutines beside each other, and keeps them until they have ended.

    Args:
        say: shows a message.
    """

    def __init__(self, say: Callable[[str, Tone], None]) -> None:
        self._say = say
        self._running: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Start one; this returns at once."""
        task = asyncio.get_running_loop().create_task(self._said(work))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _said(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except UserError as error:
            self._say(error.line(with_option=False), Tone.ERROR)
