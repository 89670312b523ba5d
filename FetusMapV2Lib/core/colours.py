"""Colours as web pages, SVG and Qt write them."""

from __future__ import annotations

from collections.abc import Iterable


def hex_colour(channels: Iterable[float]) -> str:
    """``#rrggbb`` of red, green and blue, 0 to 1."""
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in channels)
