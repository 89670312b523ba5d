"""Which process made a temporary file or holds a lock, and whether it still runs."""

from __future__ import annotations

import functools
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.core.serialisation import ReadingRules, from_json, to_json


@dataclass(frozen=True)
class ProcessIdentity:
    """A process of some computer.

    Attributes:
        host: name of the computer and, on Linux, the namespace of process numbers (a container has its own).
        pid: process number.
        started: when it started, as the system counts; a reused number has a later start. Empty = unknown.
    """

    host: str
    pid: int
    started: str = ""

    @classmethod
    def current(cls) -> ProcessIdentity:
        """The process that runs this code."""
        return cls(_this_host(), os.getpid(), _started(os.getpid()) or "")

    @classmethod
    def from_dict(cls, data: Any) -> ProcessIdentity | None:
        """The identity written as JSON values; None if they are not one."""
        try:
            found = from_json(cls, data, rules=ReadingRules(unknown_keys=True))
        except InputError:
            return None
        return found if 0 < found.pid < 2**32 else None  # no system numbers processes beyond 32 bits

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        values: dict[str, Any] = to_json(self)
        return values

    @property
    def is_on_this_computer(self) -> bool:
        """Whether it runs or ran on this computer; of others, `has_ended` cannot tell."""
        return self.host == _this_host()

    @property
    def has_ended(self) -> bool:
        """Whether the process has certainly ended; never true of a process on another computer."""
        if not self.is_on_this_computer:
            return False
        started = _started(self.pid)
        return started is None or bool(self.started and started and started != self.started)

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host.partition(' ')[0]}"


@functools.lru_cache(maxsize=1)
def _this_host() -> str:
    name = platform.node() or "this computer"
    try:
        return f"{name} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return name


def _started(pid: int) -> str | None:
    """When a process started; "" if it runs and the system does not say when, None if there is no such process."""
    if sys.platform == "win32":
        return _started_on_windows(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:  # another user's
        pass
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
    # a zombie has ended; only its exit code has not been collected
    return None if state[0] in "ZX" else f"{boot} {state[19]}"


def _started_on_windows(pid: int) -> str | None:
    if sys.platform != "win32":  # for the type checker
        return ""
    import ctypes
    from ctypes import wintypes

    query, still_active = 0x1000, 259
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    kernel.OpenProcess.restype = wintypes.HANDLE
    handle = kernel.OpenProcess(wintypes.DWORD(query), False, wintypes.DWORD(pid))
    if not handle:
        denied = 5
        return "" if ctypes.get_last_error() == denied else None
    process = wintypes.HANDLE(handle)
    try:
        code = wintypes.DWORD()
        if kernel.GetExitCodeProcess(process, ctypes.byref(code)) and code.value != still_active:
            return None
        times = [wintypes.FILETIME() for _ in range(4)]
        if not kernel.GetProcessTimes(process, *map(ctypes.byref, times)):
            return ""
        return str((times[0].dwHighDateTime << 32) + times[0].dwLowDateTime)
    finally:
        kernel.CloseHandle(process)
