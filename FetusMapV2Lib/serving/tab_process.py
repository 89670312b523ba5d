"""`TabProcess`: the process behind one tab of a browser, as the front door sees it."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import subprocess
import sys
import threading
import time
from dataclasses import replace

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.core.process_messages import messages_from
from FetusMapV2Lib.core.python_process import kill_tree, start_python
from FetusMapV2Lib.core.safe_text import printable
from FetusMapV2Lib.serving.session_options import SECRET_HEADER, SessionOptions

#: Seconds in which a process has to answer after its start; a cold disk takes long to import everything.
_START_S = 120.0
_END_S = 2.0


class TabProcess:
    """A running process with its port, and how many connections the front door holds to it.

    Attributes:
        connections: requests and web sockets that are open now.
        left_at: when the last of them ended, by `time.monotonic`.
        has_unsaved: whether it holds work that is in no file.

    Args:
        options: what the tab may do; the secret is replaced by a new one.

    Raises:
        UserError: it cannot be started.
    """

    def __init__(self, options: SessionOptions) -> None:
        self._options = replace(options, secret=secrets.token_urlsafe(24))
        self.connections = 0
        self.left_at = time.monotonic()
        self.has_unsaved = False
        self._port: int | None = None
        self._heard = threading.Event()
        try:
            self._popen = start_python("FetusMapV2Lib.serving.session_process")
        except (OSError, ValueError) as error:
            raise UserError(f"no further tab can be opened ({error})") from error
        assert self._popen.stdin is not None
        with contextlib.suppress(OSError):
            self._popen.stdin.write(self._options.line())
            self._popen.stdin.flush()
        for read in (self._read_messages, self._read_log):
            threading.Thread(target=read, daemon=True).start()

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._popen.poll() is None

    @property
    def headers(self) -> dict[str, str]:
        """What every request to it has to carry."""
        return {SECRET_HEADER: self._options.secret}

    @property
    def idle_s(self) -> float:
        """Seconds since a browser was there; 0 while one is connected."""
        return 0.0 if self.connections else time.monotonic() - self.left_at

    def leave(self) -> None:
        """Note the end of a request or web socket."""
        self.connections -= 1
        self.left_at = time.monotonic()

    async def port(self) -> int:
        """The port where it listens, once it does.

        Raises:
            UserError: it has ended, or does not start.
        """
        await asyncio.get_running_loop().run_in_executor(None, self._heard.wait, _START_S)
        if self._port is None or not self.is_running:
            raise UserError("the process of this tab has ended", remedy="Open a new tab")
        return self._port

    def end(self) -> None:
        """End the process and its engine, and wait for it: without input it saves its work and ends by itself."""
        assert self._popen.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            self._popen.stdin.close()
        try:
            self._popen.wait(_END_S)
        except subprocess.TimeoutExpired:
            kill_tree(self._popen)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._popen.wait(_END_S)
        self._heard.set()

    def _read_messages(self) -> None:
        """Read its port and what it tells of its work."""
        for message in messages_from(self._popen.stdout):
            with contextlib.suppress(ValueError, TypeError, AttributeError):
                self._port = message.get("port", self._port)
                self.has_unsaved = bool(message.get("unsaved", self.has_unsaved))
            if self._port is not None:
                self._heard.set()
        self._heard.set()

    def _read_log(self) -> None:
        assert self._popen.stderr is not None
        for line in self._popen.stderr:
            sys.stderr.write(f"{printable(line.decode('utf-8', 'replace').rstrip())}\n")
