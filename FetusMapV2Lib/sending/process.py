"""Sending in a process of its own, for a user interface: it stays responsive, and cancelling ends the process."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Generator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from FetusMapV2Lib.core.errors import OutputError
from FetusMapV2Lib.core.jobs import Job
from FetusMapV2Lib.core.process_messages import failure_in, failure_message, own_output, send_message
from FetusMapV2Lib.core.python_process import kill_tree, start_python
from FetusMapV2Lib.sending.destinations import Destination, destination_document, destination_from
from FetusMapV2Lib.sending.objects import Belonging
from FetusMapV2Lib.sending.sender import Sent, send


def sending_job(
    paths: Sequence[Path], destination: Destination, belonging: Belonging, *, python: str = ""
) -> Job[Sent]:
    """A job that sends files; cancelling it ends its process at once, and what the archive has by then stays there.

    Args:
        paths: DICOM files.
        destination: where to.
        belonging: whose the files have to be.
        python: the interpreter; this one by default.

    Raises:
        UserError: of its result, see `sender.send`.
    """
    request = {
        "paths": [os.fspath(path.absolute()) for path in paths],
        "destination": destination_document(destination),
        "belonging": asdict(belonging),
    }
    return Job(_steps(request, python or sys.executable))


def _steps(request: dict[str, Any], python: str) -> Generator[None, None, Sent]:
    popen = start_python(__name__, python)
    assert popen.stdin is not None and popen.stdout is not None and popen.stderr is not None
    try:
        popen.stdin.write(json.dumps(request).encode())
        popen.stdin.close()
        while popen.poll() is None:  # its answer is one line, which the pipe holds until it is read
            yield
        text = popen.stdout.read()
    finally:
        if popen.poll() is None:
            kill_tree(popen)
        for stream in (popen.stdin, popen.stdout, popen.stderr):
            stream.close()
    try:
        answer = json.loads(text)
    except ValueError as error:
        problem = "sending ended without an answer, so it is not known what was stored"
        raise OutputError(problem, where=request["destination"]["address"], remedy="Send again") from error
    if (failure := failure_in(answer, kind=OutputError)) is not None:
        raise failure
    return Sent(tuple(map(Path, answer["stored"])))


def main() -> None:
    """Read a request from standard input, carry it out, and send its answer."""
    out = own_output()
    request = json.load(sys.stdin)
    try:
        destination, belonging = destination_from(request["destination"]), Belonging(**request["belonging"])
        sent = send(list(map(Path, request["paths"])), destination, belonging=belonging)
        send_message(out, {"stored": list(map(os.fspath, sent.stored))})
    except Exception as error:
        send_message(out, failure_message(error))
