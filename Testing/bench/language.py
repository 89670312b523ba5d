"""A language of the panel from its .ts file, without Qt's compiler: for the texts of Python and of .ui files alike."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from PySide6 import QtCore
from slicer import i18n

from bench import qt_shim
from FetusMapV2Lib.presenting.translation import finished_translations, use_translations


class Translations(QtCore.QTranslator):
    """Translates what a .ts file has finished translations of, and notes what it was asked in vain."""

    def __init__(self, path: Path):
        super().__init__()
        self.missing = set()
        self._texts = finished_translations(path)

    def translate(self, context, text, disambiguation=None, n=-1):
        return self._texts.get((context, text), "")

    def isEmpty(self):
        return False

    def lookup(self, context, text):
        """As slicer.i18n.translate: the text itself without a translation."""
        found = self._texts.get((context, text))
        if found is None:
            self.missing.add((context, text))
        return found if found is not None else text


@contextlib.contextmanager
def language(path: Path) -> Iterator[Translations]:
    """Slicer in another language, for a while; panels loaded meanwhile are in it."""
    translations, application = Translations(path), qt_shim.application()
    before = i18n.translate
    application.installTranslator(translations)
    i18n.translate = translations.lookup
    use_translations(translations.lookup)
    try:
        yield translations
    finally:
        application.removeTranslator(translations)
        i18n.translate = before
        use_translations(before)
