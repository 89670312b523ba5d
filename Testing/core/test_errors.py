"""Errors are one line for every face: only the command line is told of its options."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from FetusMapV2Lib.core.errors import UserError

LIBRARY = Path(__file__).resolve().parents[2] / "FetusMapV2Lib"
#: Rooms that the command line alone enters.
_COMMAND_LINE = re.compile(r"^(cli|serving|evaluation|reproduction|training)")


def test_an_option_is_told_on_the_command_line_only() -> None:
    error = UserError("it exists already", where="a.csv", remedy="Let it be replaced", option="--overwrite")
    assert str(error) == error.line() == "a.csv: it exists already. Let it be replaced (--overwrite)."
    assert error.line(with_option=False) == "a.csv: it exists already. Let it be replaced."


def test_no_remedy_of_the_library_is_for_the_command_line_alone() -> None:
    found = []
    for path in LIBRARY.rglob("*.py"):
        if _COMMAND_LINE.match(path.relative_to(LIBRARY).as_posix()):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" not in node.value:
                advice = re.search(r"(^|[\s(])--[a-z]|\bfetusmap [a-z]+ ?[a-z-]*\b", node.value)
                if advice and not re.fullmatch(r"--[a-z-]+( [A-Za-z0-9-]+)?|fetusmap [a-z -]+", node.value):
                    found.append(f"{path.name}: {node.value}")
    assert not found
