"""The line of the nuchal translucency: a value, what to do, or why it is refused."""

from __future__ import annotations

import math

from FetusMapV2Lib.anatomy.nuchal import Nuchal
from FetusMapV2Lib.presenting.nuchal_line import nuchal_line
from FetusMapV2Lib.presenting.tones import Tone


def test_it_says_what_was_measured_and_what_to_do():
    one = nuchal_line(Nuchal((1.24,)), 60.0, is_open=False)
    assert one.text == "1.2 mm, one try; below 3.5 mm." and one.allowed and one.tone is Tone.NOTE
    several = nuchal_line(Nuchal((1.24, 3.61)), 60.0, is_open=True)
    assert several.text.startswith("3.6 mm, the largest of 2 tries (1.2, 3.6); at or above 3.5 mm. Drag both")
    assert several.tone is Tone.WARNING and "Snijders" in several.tip and "ISUOG" in several.tip
    assert "but you" in nuchal_line(None, 60.0, is_open=False).text


def test_it_refuses_with_the_reason():
    refused = nuchal_line(None, 90.04, is_open=False)
    assert refused.text == "Refused: the crown-rump length is 90.0 mm; it must be 45 to 84 mm."
    assert not refused.allowed and refused.tone is Tone.WARNING
    unknown = nuchal_line(None, math.nan, is_open=False)
    assert not unknown.allowed and "No crown-rump length" in unknown.text
