"""Looks up translations of the texts that a user interface shows; English until the interface sets a language.

Texts are literals in calls of `_`, where tools such as Qt's lupdate find them.
"""

from __future__ import annotations

import string
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

Translate = Callable[[str, str], str]


def _english(context: str, text: str) -> str:
    return text


_translate: Translate = _english
_found: dict[tuple[str, str], str] = {}


def use_translations(translate: Translate = _english) -> None:
    """Set where translations are looked up; English without an argument.

    Args:
        translate: gets a context, see `translator`, and an English text, and returns the translation or that text.
    """
    global _translate
    _translate = translate
    _found.clear()


def finished_translations(path: Path) -> dict[tuple[str, str], str]:
    """Context and text -> translation, of those in a .ts file of Qt that are finished.

    Raises:
        OSError: the file cannot be read.
    """
    texts = {}
    for context in ET.parse(path).iter("context"):
        for message in context.iter("message"):
            translation = message.find("translation")
            if translation is not None and translation.get("type") is None and translation.text:
                texts[context.findtext("name", ""), message.findtext("source", "")] = translation.text
    return texts


def translator(module: str) -> Callable[[str], str]:
    """The function that a module calls `_`: returns a text in the user's language, looked up once.

    Args:
        module: its `__name__`; the context of its texts is the name of its folder and its file, as in Slicer.
    """
    context = ".".join(module.split(".")[-2:])

    def translated(text: str) -> str:
        key = context, text
        if key not in _found:
            translation = _translate(context, text)
            _found[key] = translation if _fields(translation) == _fields(text) else text
        return _found[key]

    return translated


def _fields(text: str) -> set[str]:
    """The names of the replacement fields; a translation with other fields could not be formatted."""
    try:
        return {field for _, field, _, _ in string.Formatter().parse(text) if field is not None}
    except ValueError:
        return {"not a format string"}
