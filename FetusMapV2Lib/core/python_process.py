"""Another Python that runs a function of this package, in a process group of its own that can be ended as a whole."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

#: The folder that holds this package.
_HOME = Path(__file__).resolve().parents[2]
#: What the other process runs. The folder in which it was started leaves the path before anything is imported.
_BOOT = (
    "import importlib, sys; sys.path[:] = [sys.argv[1]] + [place for place in sys.path if place]; "
    "importlib.import_module(sys.argv[2]).main()"
)
#: Seconds that Windows gets to end a process.
_END_S = 0.5


def start_python(
    module: str, python: str = sys.executable, *, variables: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start the function `main` of a module of this package; all three streams are pipes.

    Args:
        module: its full name.
        python: the interpreter, or a launcher that starts it.
        variables: of its environment, beside those of this process.

    Raises:
        OSError, ValueError: it cannot be started.
    """
    return subprocess.Popen(
        [python, "-u", "-c", _BOOT, str(_HOME), module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        cwd=_HOME,  # modules in the current folder of this process must not be imported there
        env={**_environment(), **(variables or {})},
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        start_new_session=True,  # a process group of its own, which can be killed as one
    )


def kill_tree(popen: subprocess.Popen[bytes]) -> None:
    """Kill a process with its children, e.g. what a launcher started.

    With what the operating system offers, not with psutil: Slicer has none, and a process group also holds children
    whose parent has ended already.
    """
    if sys.platform == "win32":
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            subprocess.run(
                ["taskkill", "/T", "/F", "/PID", str(popen.pid)],
                capture_output=True,
                timeout=_END_S,
                creationflags=subprocess.CREATE_NO_WINDOW,
            )
    else:
        with contextlib.suppress(OSError):
            os.killpg(popen.pid, signal.SIGKILL)
    with contextlib.suppress(OSError):
        popen.kill()


def _environment() -> dict[str, str]:
    """The environment of this process, but no module can come from the current folder.

    Other entries of Python's path stay, as absolute paths; an empty one would mean the current folder.
    """
    places = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    path = os.pathsep.join([str(_HOME), *(str(Path(place).absolute()) for place in places)])
    return {**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
