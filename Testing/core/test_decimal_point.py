"""Decimals have a point, whatever language Qt or anyone else sets for the process."""

from __future__ import annotations

import locale
import os
import subprocess
import sys

import pytest
from core.locales import comma_locale

from FetusMapV2Lib.core.decimal_point import decimal_point_locale

READS = """
import locale, sys
from FetusMapV2Lib.core.decimal_point import decimal_point_locale, use_decimal_point
point = lambda: locale.localeconv()["decimal_point"]
locale.setlocale(locale.LC_ALL, "")
seen = [point()]
with decimal_point_locale():
    seen.append(point())
seen.append(point())
use_decimal_point()
seen.append(point())
if len(sys.argv) > 1:
    from FetusMapV2Lib.exporting.pdf_printing import pyside_printing
    pyside_printing()
    seen.append(point())
print(*seen)
"""


@pytest.fixture(scope="session")
def comma(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment whose locale has a decimal comma, made for this test."""
    return {**os.environ, **comma_locale(tmp_path_factory.mktemp("locale"))}


def test_a_decimal_comma_is_put_away_after_qt_too(comma) -> None:
    pytest.importorskip("PySide6")
    done = subprocess.run([sys.executable, "-c", READS, "qt"], env=comma, capture_output=True, text=True)
    assert done.stdout.split() == [",", ".", ",", ".", "."], done.stderr


def test_the_locale_comes_back() -> None:
    before = locale.setlocale(locale.LC_NUMERIC)
    with pytest.raises(ValueError), decimal_point_locale():
        raise ValueError
    assert locale.setlocale(locale.LC_NUMERIC) == before
