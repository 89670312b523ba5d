"""Stand-in for slicer.i18n: returns the source text; `tr` and `translate` record calls, `tr` reads a file stat."""

import inspect
from pathlib import Path

#: Texts that were looked up, newest last.
calls = []


def tr(text):
    path = Path(inspect.getsourcefile(inspect.currentframe().f_back))
    path.stat()
    return translate(path.stem, text)


def translate(context, text):
    if not isinstance(context, str) or not isinstance(text, str):
        raise TypeError("translate(context, text) takes two strings")
    calls.append(text)
    return text
