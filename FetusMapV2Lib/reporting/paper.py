"""The sheets that a report is printed on."""

from __future__ import annotations

from typing import Literal

Paper = Literal["a4", "letter"]
#: Width and height, CSS pixels at 96 an inch, and the name in CSS.
PAPERS: dict[Paper, tuple[float, float, str]] = {"a4": (793.7, 1122.5, "A4"), "letter": (816.0, 1056.0, "letter")}
#: Margin of a sheet: 12 mm.
MARGIN = 45
