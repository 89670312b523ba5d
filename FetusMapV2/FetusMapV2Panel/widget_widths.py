"""Limits the width of the panel: its dock has no horizontal scroll bar, however long a name or path is."""

from __future__ import annotations

import re

import ctk
import qt
import slicer

from FetusMapV2Panel.fitting import fitContents

#: Characters of a name, and of a path, that are always visible.
_NAME_CHARACTERS, _PATH_CHARACTERS = 12, 8
#: Longer words may be broken into pieces of the second length. Qt itself breaks paths at their slashes.
_LONG_WORD, _PIECE = 50, 20
_ZERO_WIDTH_SPACE = "\u200b"


def limitWidths(widget: qt.QWidget) -> list[qt.QObject]:
    """Make combo boxes, path edits, buttons and rows inside a widget follow its width instead of widening it.

    Returns:
        What keeps them so; to be kept as long as the widget is shown.
    """
    children = slicer.util.findChildren(widget)
    for child in children:
        if child.inherits("QComboBox"):  # a node selector contains one, too
            child.sizeAdjustPolicy = qt.QComboBox.AdjustToMinimumContentsLengthWithIcon
            child.minimumContentsLength = _NAME_CHARACTERS
        elif child.inherits("ctkPathLineEdit"):
            child.sizeAdjustPolicy = ctk.ctkPathLineEdit.AdjustToMinimumContentsLength
            child.minimumContentsLength = _PATH_CHARACTERS
    return fitContents(children)


def wrappable(text: str) -> str:
    """A text with long words, e.g. file names, that a label can wrap."""
    return re.sub(rf"[^\s/\\]{{{_LONG_WORD},}}", lambda word: _inPieces(word[0]), text)


def _inPieces(word: str) -> str:
    return _ZERO_WIDTH_SPACE.join(word[start : start + _PIECE] for start in range(0, len(word), _PIECE))
