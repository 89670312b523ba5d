"""Keeps the panel as narrow as its dock, which has no horizontal scroll bar, whatever names and paths are on show."""

from __future__ import annotations

import re

import ctk
import qt
import slicer

#: Characters of a name or path that are always in sight.
_LEAST_CHARACTERS = 12
#: A word that is longer may be broken, in pieces of the second length. Qt itself breaks paths at their slashes.
_LONG_WORD, _PIECE = 50, 20
_BREAK_HERE = "\u200b"


def keepNarrow(widget) -> None:
    """Combo boxes and path edits inside a widget cut long entries instead of growing with them."""
    for child in slicer.util.findChildren(widget):
        if child.inherits("QComboBox"):  # a node selector holds one, too
            child.sizeAdjustPolicy = qt.QComboBox.AdjustToMinimumContentsLengthWithIcon
            child.minimumContentsLength = _LEAST_CHARACTERS
        elif child.inherits("ctkPathLineEdit"):
            child.sizeAdjustPolicy = ctk.ctkPathLineEdit.AdjustToMinimumContentsLength
            child.minimumContentsLength = _LEAST_CHARACTERS


def breakable(text: str) -> str:
    """A text whose long words, e.g. names of files, a label can break."""
    return re.sub(rf"[^\s/\\]{{{_LONG_WORD},}}", lambda word: _inPieces(word[0]), text)


def _inPieces(word: str) -> str:
    return _BREAK_HERE.join(word[start : start + _PIECE] for start in range(0, len(word), _PIECE))
