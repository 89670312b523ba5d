"""What the process of a tab is told when it starts, as one line of JSON on its standard input."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from FetusMapV2Lib.sending.destinations import CALLING_TITLE, Destination, Security, parse_destination


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
        archive: where reports may be sent, as `parse_destination` reads it; empty = nowhere.
        calling: AE title of the sender.
        archive_security: `Security.document` of that connection.
    """

    secret: str
    cases: str = ""
    file: str = ""
    results: str = ""
    model: str | None = None
    device: str = "auto"
    memory_budget: int | None = None
    language: str = ""
    archive: str = ""
    calling: str = CALLING_TITLE
    archive_security: dict[str, Any] = field(default_factory=lambda: Security().document())

    @property
    def destination(self) -> Destination | None:
        """Where reports may be sent; None = nowhere."""
        if not self.archive:
            return None
        return parse_destination(self.archive, self.calling, Security.from_document(self.archive_security))

    def line(self) -> bytes:
        """The line that the process reads."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def read(cls, line: bytes) -> SessionOptions:
        """The options of a line."""
        return cls(**json.loads(line))


SECRET_HEADER = "X-Fetusmap-Secret"
