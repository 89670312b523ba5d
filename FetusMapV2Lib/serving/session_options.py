"""What the process of a tab is told when it starts, as one line of JSON on its standard input."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from FetusMapV2Lib.sending.destinations import Destination, destination_document, destination_from


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
        language: of all texts, see `languages`; empty = as the browser of the tab asks for.
        archive: where reports may be sent; None = nowhere.
    """

    secret: str
    cases: str = ""
    file: str = ""
    results: str = ""
    model: str | None = None
    device: str = "auto"
    memory_budget: int | None = None
    language: str = ""
    archive: Destination | None = None

    def line(self) -> bytes:
        """The line that the process reads."""
        archive = None if self.archive is None else destination_document(self.archive)
        return json.dumps({**asdict(self), "archive": archive}).encode() + b"\n"

    @classmethod
    def read(cls, line: bytes) -> SessionOptions:
        """The options of a line."""
        values = json.loads(line)
        archive = None if values["archive"] is None else destination_from(values["archive"])
        return cls(**{**values, "archive": archive})


SECRET_HEADER = "X-Fetusmap-Secret"
