"""The decimal point of C and C++ libraries, whatever the language of the computer."""

from __future__ import annotations

import contextlib
import locale
from collections.abc import Iterator


def use_decimal_point() -> None:
    """Make libraries of this process read and write "1.4", not "1,4".

    NRRD, MetaImage and VTK follow the process's locale: with a decimal comma they read 1.4 as 1, and say nothing.
    Python itself leaves the "C" locale alone, but Qt sets the user's as soon as an application object is made. Call
    this after that; 3D Slicer does the same at its start.
    """
    locale.setlocale(locale.LC_NUMERIC, "C")


@contextlib.contextmanager
def decimal_point_locale() -> Iterator[None]:
    """The same for a block; afterwards the locale is what it was. The locale is one for all threads of a process."""
    before = locale.setlocale(locale.LC_NUMERIC)
    use_decimal_point()
    try:
        yield
    finally:
        locale.setlocale(locale.LC_NUMERIC, before)
