"""Tones of messages and values: what each means, its sign, and a colour that can be read on any background."""

from __future__ import annotations

import enum

from FetusMapV2Lib.core.colours import hex_colour

#: Contrast that normal text needs (WCAG 2.1, success criterion 1.4.3).
READABLE_CONTRAST = 4.5
_STEPS = 32


class Tone(enum.Enum):
    """What a text is; the value is its sign, so that nothing is said by colour alone."""

    NOTE = "ℹ"  # what goes on, or what to do next
    SUCCESS = "✓"  # what was asked for is done
    FINDING = "◆"  # a result that the user may not have hoped for, such as no fetus
    WARNING = "⚠"  # something to look at
    ERROR = "✕"  # what was asked for is not done

    def colour(self, background: str) -> str:
        """The colour of a text, both as ``#rrggbb``; that of black or white text if the tone has none."""
        wanted = _COLOURS.get(self)
        return readable(wanted if wanted is not None else _opposite(background), background)


_COLOURS = {
    Tone.SUCCESS: "#146c2e",
    Tone.FINDING: "#0b57b0",
    Tone.WARNING: "#8a5a00",
    Tone.ERROR: "#b3261e",
}


def contrast(first: str, second: str) -> float:
    """The contrast ratio of two colours ``#rrggbb``, 1 to 21 (WCAG 2.1, relative luminance)."""
    low, high = sorted((_luminance(first), _luminance(second)))
    return (high + 0.05) / (low + 0.05)


def readable(colour: str, background: str, least: float = READABLE_CONTRAST) -> str:
    """The colour nearest to a wanted one, towards black or white, whose contrast with a background suffices.

    Args:
        colour: the wanted colour, ``#rrggbb``.
        background: the colour behind the text.
        least: contrast ratio; where none reaches it, the result is black or white.
    """
    end = _opposite(background)
    steps = (_mixed(colour, end, step / _STEPS) for step in range(_STEPS + 1))
    return next((one for one in steps if contrast(one, background) >= least), end)


def _opposite(background: str) -> str:
    return max(("#000000", "#ffffff"), key=lambda one: contrast(one, background))


def _mixed(colour: str, end: str, share: float) -> str:
    channels = zip(_channels(colour), _channels(end), strict=True)
    return hex_colour(one + share * (other - one) for one, other in channels)


def _channels(colour: str) -> list[float]:
    return [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]


def _luminance(colour: str) -> float:
    red, green, blue = (
        channel / 12.92 if channel <= 0.03928 else ((channel + 0.055) / 1.055) ** 2.4 for channel in _channels(colour)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
