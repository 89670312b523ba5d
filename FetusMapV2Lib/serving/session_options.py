"""What the process of a tab is told when it starts, as one line of JSON on its standard input."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class SessionOptions:
    """What a tab may do.

    Attributes:
        secret: that requests must carry in the header `SECRET_HEADER`; the front door alone knows it.
        cases: folder whose volumes are listed; empty without one.
        file: volume that is opened at once; empty without one.
        results: folder for results and training cases; empty if nothing is written on this computer.
        model: name or path of a model; None = the default one.
        device: "auto", "cpu", "cuda" or "cuda:N".
        memory_budget: bytes for the network, None = no limit.
    """

    secret: str
    cases: str = ""
    file: str = ""
    results: str = ""
    model: str | None = None
    device: str = "auto"
    memory_budget: int | None = None

    def line(self) -> bytes:
        """The line that the process reads."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def read(cls, line: bytes) -> SessionOptions:
        """The options of a line."""
        return cls(**json.loads(line))


SECRET_HEADER = "X-Fetusmap-Secret"
