"""A decimal point for C and C++ libraries, whatever the locale of the computer."""

from __future__ import annotations

import contextlib
import locale
from collections.abc import Iterator


def use_decimal_point() -> None:
    """Make the libraries of this process read and write "1.4", not "1,4".

    NRRD, MetaImage and VTK follow the locale of the process: with a decimal comma they silently read 1.4 as 1. Python
    keeps the "C" locale, but Qt sets the user's as soon as an application object is created. Call this after that, as
    3D Slicer does at its start.
    """
    locale.setlocale(locale.LC_NUMERIC, "C")


@contextlib.contextmanager
def decimal_point_locale() -> Iterator[None]:
    """Use a decimal point during a block, then restore the locale, which all threads of the process share."""
    before = locale.setlocale(locale.LC_NUMERIC)
    use_decimal_point()
    try:
        yield
    finally:
        locale.setlocale(locale.LC_NUMERIC, before)
