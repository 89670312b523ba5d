"""The nuchal translucency in one line: its value, or why there is none."""

from __future__ import annotations

import math
from dataclasses import dataclass

from FetusMapV2Lib.anatomy.nuchal import CRITERIA_SOURCE, CRL_RANGE_MM, CUT_OFF_MM, CUT_OFF_SOURCE, Nuchal, refusal
from FetusMapV2Lib.presenting.tones import Tone
from FetusMapV2Lib.presenting.translation import translator

_ = translator(__name__)


@dataclass(frozen=True)
class NuchalLine:
    """What is shown.

    Attributes:
        text: one or two sentences.
        tone: what it is.
        tip: sources of the criteria and of the cut-off.
        allowed: whether it may be measured at this crown-rump length.
    """

    text: str
    tone: Tone
    tip: str
    allowed: bool


def nuchal_line(nuchal: Nuchal | None, crl_mm: float, *, is_open: bool) -> NuchalLine:
    """The line.

    Args:
        nuchal: the tries that count; None without one.
        crl_mm: crown-rump length; NaN if it is unknown.
        is_open: whether callipers wait to be dragged.
    """
    tip = f"{CRITERIA_SOURCE}.\n{CUT_OFF_MM:g} mm: {CUT_OFF_SOURCE}."
    if refusal(crl_mm):
        low, high = CRL_RANGE_MM
        if not math.isfinite(crl_mm):
            text = _("No crown-rump length yet; it must be {0:g} to {1:g} mm.").format(low, high)
            return NuchalLine(text, Tone.NOTE, tip, False)
        text = _("Refused: the crown-rump length is {0:.1f} mm; it must be {1:g} to {2:g} mm.")
        return NuchalLine(text.format(crl_mm, low, high), Tone.WARNING, tip, False)
    waiting = _("Drag both callipers onto the edges of the fluid; then the try counts.") if is_open else ""
    if nuchal is None:
        return NuchalLine(waiting or _("Not measured. Nothing sets these callipers but you."), Tone.NOTE, tip, True)
    tries = ", ".join(f"{one:.1f}" for one in nuchal.tries_mm)
    if len(nuchal.tries_mm) == 1:
        value = _("{0:.1f} mm, one try").format(nuchal.value_mm)
    else:
        value = _("{0:.1f} mm, the largest of {1} tries ({2})").format(nuchal.value_mm, len(nuchal.tries_mm), tries)
    place = (_("at or above {0:g} mm") if nuchal.is_above else _("below {0:g} mm")).format(CUT_OFF_MM)
    text = " ".join(filter(None, (f"{value}; {place}.", waiting)))
    return NuchalLine(text, Tone.WARNING if nuchal.is_above else Tone.NOTE, tip, True)
