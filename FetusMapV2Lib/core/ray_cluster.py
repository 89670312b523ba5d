"""The connection to a Ray cluster, the same for everything that runs on one; Ray is loaded when it begins."""

from __future__ import annotations

import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.core.safe_text import printable

#: Seconds between two looks at the head of a cluster, and without it until the cluster counts as lost: Ray itself ends
#: the process after 60, without a word to whoever uses it.
_LOOK_S, _SILENT_S = 5.0, 30.0


class HeadWatch:
    """Looks now and then whether the head of a cluster is there.

    Args:
        ray: the module, connected to the cluster.
    """

    def __init__(self, ray: Any) -> None:
        self._host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
        self._port = int(port)
        self._looked = self._heard = time.monotonic()

    def look(self) -> None:
        """Look, unless that was done shortly before.

        Raises:
            UserError: it has not answered for long.
        """
        now = time.monotonic()
        if now - self._looked < _LOOK_S:
            return
        self._looked = now
        if not self.answers() and now - self._heard > _SILENT_S:
            raise UserError(
                "the head of the Ray cluster does not answer any more",
                where=printable(f"{self._host}:{self._port}"),
                remedy="The same command goes on when the cluster is back",
            )

    def answers(self) -> bool:
        """Whether it answers now; to be asked before calls of Ray that wait for it."""
        try:
            socket.create_connection((self._host.strip("[]"), self._port), timeout=_LOOK_S).close()
        except OSError:
            return False
        self._heard = time.monotonic()
        return True


@contextmanager
def ray_cluster(address: str) -> Iterator[Any]:
    """Inside, this process is connected to a cluster; one that is connected already stays so.

    Ray prints to standard output when a computer is lost, whatever its log options say; as results may be read from
    there, `sys.stdout` is standard error inside.

    Args:
        address: "auto" = the cluster that runs on this computer, "local" = one is started for this block, HOST:PORT.

    Yields:
        The module `ray`.

    Raises:
        UserError: Ray is not installed, or the cluster cannot be reached.
    """
    ray = _imported_ray()
    own = not ray.is_initialized()
    with redirect_stdout(sys.stderr):
        if own:
            _connect(ray, address)
        try:
            yield ray
        finally:
            if own:
                ray.shutdown()  # whatever Ray still has to say, it says until here


def gpus_for(ray: Any, device: str) -> int:
    """GPUs of one task: one where the cluster has some and the device is not the CPU."""
    return int(ray.cluster_resources().get("GPU", 0) >= 1 and device != "cpu")


def telling_line(error: str) -> str:
    """The telling line of an error of Ray, which goes on for many."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    telling = [line for line in lines if any(word in line for word in ("Error", "OOM", "exit", "progress"))]
    if any("memory" in line.lower() and "oom" in line.lower() for line in lines):
        return "it was killed, perhaps for lack of memory: larger engines are fewer at once"
    return printable((telling or lines or ["it ended"])[-1][:160])


def _connect(ray: Any, address: str) -> None:
    _check_address(address)
    options: dict[str, Any] = {"include_dashboard": False} if address == "local" else {}
    if address == "local":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray.init(address, namespace="fetusmap", log_to_driver=False, logging_level="error", **options)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise _unreachable(address, error) from error


def _check_address(address: str) -> None:
    """Whether something answers: Ray itself tries for minutes."""
    if address in ("auto", "local"):
        return
    match = re.fullmatch(r"\[?([^/\]]+?)\]?:(\d{1,5})", address)
    if match is None:
        remedy = "Write auto, local or HOST:PORT, and start the command on a computer of the cluster"
        raise UserError("not the address of a Ray cluster", where=printable(address), remedy=remedy)
    try:
        socket.create_connection((match[1], int(match[2])), timeout=10.0).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(address, error) from error


def _unreachable(address: str, error: Exception) -> UserError:
    if isinstance(error, OSError) and error.filename:  # of its token, in the home folder
        problem = f"Ray cannot write into the home folder ({error.strerror})"
        remedy = "Set HOME to a folder that you may write into"
        return UserError(problem, where=printable(str(error.filename)), remedy=remedy)
    text = printable(" ".join(str(error).split())[:200])
    remedy = "Start Ray on this computer, or let a cluster of this computer alone be started"
    problem = f"the Ray cluster cannot be reached ({text})"
    return UserError(problem, where=printable(address), remedy=remedy, option="--ray local")


def _imported_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise UserError("Ray is not installed", remedy="Install it: pip install '.[cluster]'") from error
    return ray
