"""Lines of JSON that a process sends to the one that started it, and how it tells why it failed."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from typing import IO, Any, TextIO

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.core.faults import as_user_error


def own_output() -> TextIO:
    """Standard output for messages alone: whatever a library prints goes to standard error."""
    own = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return os.fdopen(own, "w", encoding="utf-8", newline="\n")


def send_message(out: TextIO, message: Mapping[str, Any]) -> None:
    """Send a message; ends the process if nobody reads it any more."""
    try:
        print(json.dumps(message, separators=(",", ":")), file=out, flush=True)
    except (OSError, ValueError):
        os._exit(1)


def messages_from(stream: IO[bytes] | None) -> Iterator[Any]:
    """The JSON values that a process writes, one per line, until it ends; other lines are of libraries."""
    assert stream is not None
    for line in stream:
        with contextlib.suppress(ValueError):
            yield json.loads(line)


def failure_message(error: BaseException) -> dict[str, str]:
    """Why a process or a task failed, as plain values; `failure_in` reads them."""
    shown = as_user_error(error)
    return {"failed": shown.problem, "where": shown.where, "remedy": shown.remedy}


def failure_in(message: Mapping[str, Any], who: str = "", kind: type[UserError] = UserError) -> UserError | None:
    """The failure that a message tells of, as an error of a kind, and by whom; None if it tells of none."""
    if "failed" not in message:
        return None
    problem = ": ".join(filter(None, (who, message["failed"])))
    return kind(problem, where=message["where"] or None, remedy=message["remedy"])
