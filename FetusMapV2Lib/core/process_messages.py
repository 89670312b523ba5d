"""Lines of JSON that a process sends to the one that started it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any, TextIO


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
