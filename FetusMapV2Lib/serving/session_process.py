"""The process behind one tab: it serves a `Session` on this computer alone, and ends with the front door."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from typing import TYPE_CHECKING

from FetusMapV2Lib.scene.live_views import without_log
from FetusMapV2Lib.serving.languages import use_language
from FetusMapV2Lib.serving.session_options import SessionOptions

if TYPE_CHECKING:
    from FetusMapV2Lib.serving.session import Session

#: Seconds for saving the work at the end.
_END_S = 1.5


def _end_with_input(loop: asyncio.AbstractEventLoop, session: Session) -> None:
    """End this process, with its engine, when the front door has ended or closed the input."""
    while os.read(0, 1 << 12):  # not sys.stdin, whose lock would outlive this thread
        pass

    def end() -> None:
        try:
            session.close()
        finally:
            os._exit(0)

    loop.call_soon_threadsafe(end)
    time.sleep(_END_S)  # a loop that is stuck is not waited for
    os._exit(1)


def main() -> None:
    """Serve one tab; the options come as a line on standard input."""
    options = SessionOptions.read(sys.stdin.buffer.readline())
    use_language(options.language)
    from FetusMapV2Lib.serving.session import Session  # its modules look texts up

    os.environ["WSLINK_READY_MSG"] = ""
    os.environ["WSLINK_WS_COMPRESS"] = "0"  # pictures are compressed already
    sys.argv = sys.argv[:1]  # trame reads its own options there
    without_log()

    async def serve() -> None:
        session = Session(options)
        watch = threading.Thread(target=_end_with_input, args=(asyncio.get_running_loop(), session), daemon=True)
        watch.start()
        await session.run()

    asyncio.run(serve())
