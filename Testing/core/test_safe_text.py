"""Names and texts from elsewhere are shown on one line and steer no terminal."""

import pytest

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.core.safe_text import printable, printable_lines, printable_sentence


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain name.nrrd", "plain name.nrrd"),
        ("Фетус [bold] é 胎児 👶.nrrd", "Фетус [bold] é 胎児 👶.nrrd"),
        ("two  blanks", "two  blanks"),
        ("\x1b[2Jgone\x07", r"\x1b[2Jgone\x07"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x9b31m", r"\x9b31m"),
        ("gpj.\u202eexe", r"gpj.\u202eexe"),
        ("\u2066\u2028\u200b\ufeff", r"\u2066\u2028\u200b\ufeff"),
        ("\U000e0041", r"\U000e0041"),
        ("Vol\udce9.nrrd", r"Vol\xe9.nrrd"),
        ("\ud800", r"\ud800"),
        ("\x00\x7f", r"\x00\x7f"),
    ],
)
def test_what_steers_a_terminal_is_escaped(text, expected):
    assert printable(text) == expected


def test_joiners_of_written_languages_stay():
    assert printable("می\u200cخواهم") == "می\u200cخواهم"


def test_a_message_becomes_one_line():
    assert printable_sentence("first\n  second\x1b]0;title\x07 ") == r"first second\x1b]0;title\x07"


def test_a_traceback_keeps_its_lines():
    assert printable_lines("one\r\n  two\x1b[0m") == "one\n" + r"  two\x1b[0m"


def test_an_error_names_a_file_as_it_is_and_on_one_line():
    error = InputError("the header says\n'\x1b[31mred'", where="a\n  b\u202e.nrrd", remedy="Export\nit again.")
    assert error.line() == str(error)
    assert error.line() == r"a\n  b\u202e.nrrd: the header says '\x1b[31mred'. Export it again."
