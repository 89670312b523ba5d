"""Colours of texts: contrast as WCAG computes it, and enough of it on every background."""

from __future__ import annotations

import pytest

from FetusMapV2Lib.presenting.tones import Tone, contrast, readable


def test_contrast_is_that_of_the_standard():
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # the known grey that just fails
    assert contrast("#123456", "#123456") == 1.0


@pytest.mark.parametrize("background", ["#ffffff", "#efefef", "#353535", "#000000", "#808080", "#fff4d6", "#2a82da"])
@pytest.mark.parametrize("tone", Tone)
def test_every_tone_can_be_read_on_every_background(tone, background):
    assert contrast(tone.colour(background), background) >= 4.5


def test_a_colour_that_can_be_read_stays_as_it_is():
    assert readable("#b3261e", "#ffffff") == "#b3261e"
    assert readable("#b3261e", "#353535") != "#b3261e"


def test_signs_are_all_different():
    assert len({tone.value for tone in Tone}) == len(Tone) == 5
