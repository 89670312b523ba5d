"""Translations of the panel's texts, each looked up once: Slicer's own `tr` searches files with every call."""

from __future__ import annotations

import functools
import string
from collections.abc import Callable

from slicer.i18n import translate


def translator(module: str) -> Callable[[str], str]:
    """What a module calls `_`: gives a text in Slicer's language, which does not change before a restart.

    Args:
        module: its `__name__`. Slicer's translations know it by its folder and its file.
    """
    context = ".".join(module.split(".")[-2:])

    @functools.cache
    def translated(text: str) -> str:
        found = translate(context, text)
        return found if _fields(found) == _fields(text) else text

    return translated


def _fields(text: str) -> set[str]:
    """The places to fill in; a translation that has others could not be filled in."""
    try:
        return {field for _, field, _, _ in string.Formatter().parse(text) if field is not None}
    except ValueError:
        return {"a broken translation"}
