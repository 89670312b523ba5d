"""Texts are looked up once, under the context of their file, and only if the translation can be formatted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from FetusMapV2Lib.presenting import measurement_rows
from FetusMapV2Lib.presenting.translation import translator, use_translations


@pytest.fixture(autouse=True)
def english_afterwards() -> Iterator[None]:
    from FetusMapV2Lib.presenting import translation

    before = translation._translate
    yield
    use_translations(before)


def test_a_text_is_looked_up_once_under_folder_and_file() -> None:
    asked: list[tuple[str, str]] = []
    translate = translator("FetusMapV2Panel.sections.report")
    use_translations(lambda context, text: asked.append((context, text)) or f"<{text}>")
    assert translate("{0} mm") == translate("{0} mm") == "<{0} mm>"
    assert asked == [("sections.report", "{0} mm")]


def test_each_file_has_texts_of_its_own() -> None:
    use_translations(lambda context, text: f"{context}: {text}")
    assert translator("a.b")("mm") == "a.b: mm"
    assert translator("a.c")("mm") == "a.c: mm"
    assert measurement_rows.formula_name("hadlock") == "presenting.measurement_rows: Hadlock"


def test_another_language_replaces_what_was_looked_up() -> None:
    translate = translator("a.b")
    use_translations(lambda context, text: "Länge")
    assert translate("Length") == "Länge"
    use_translations()
    assert translate("Length") == "Length"


@pytest.mark.parametrize("wrong", ["{1} mm", "mm", "{0 mm"])
def test_a_translation_that_cannot_be_formatted_is_not_used(wrong: str) -> None:
    use_translations(lambda context, text: wrong)
    assert translator("a.b")("{0} mm") == "{0} mm"
