"""Brings the translations (.ts) of the panel up to date: new texts are added as unfinished, unused ones are removed.

python Testing/packaging/update_translations.py [--check]
"""

from __future__ import annotations

import argparse
import ast
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

from FetusMapV2Lib.presenting.translation import finished_translations

ROOT = Path(__file__).resolve().parents[2]
TRANSLATIONS = ROOT / "FetusMapV2" / "Resources" / "Translations"
_LIBRARY = ROOT / "FetusMapV2Lib"
_PYTHON = (ROOT / "FetusMapV2", *(_LIBRARY / name for name in ("presenting", "serving", "anatomy/result_line.py")))
#: Properties of widgets that users read.
_SHOWN = (
    *("text", "toolTip", "title", "accessibleName", "placeholderText"),
    *("noneDisplay", "specialValueText", "suffix"),
)

#: Context -> texts in the order of the code, each once.
Texts = dict[str, list[str]]


def texts() -> Texts:
    """All texts that the panel and the page show, from calls of `_` and `translate` and from .ui files."""
    found: dict[str, dict[str, None]] = {}
    for folder in _PYTHON:
        for path in sorted(folder.rglob("*.py")) or [folder]:
            for text in _python_texts(path):
                found.setdefault(_context(path), {})[text] = None
    for path in sorted((ROOT / "FetusMapV2" / "Resources" / "UI").glob("*.ui")):
        root = ET.parse(path).getroot()
        for entry in root.iter("property"):
            element, text = entry.find("string"), entry.findtext("string", "")
            if (
                element is not None
                and entry.get("name") in _SHOWN
                and element.get("notr") != "true"
                and any(map(str.isalnum, text))
            ):
                found.setdefault(root.findtext("class", ""), {})[text] = None
    return {context: list(found[context]) for context in sorted(found)}


def _context(path: Path) -> str:
    """As `FetusMapV2Lib.presenting.translation.translator` names it; the module's own file has Slicer's `tr`."""
    return path.stem if path.parent.name == "FetusMapV2" else f"{path.parent.name}.{path.stem}"


def _python_texts(path: Path) -> Iterator[str]:
    calls = (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))
    for call in sorted(calls, key=lambda call: (call.lineno, call.col_offset)):
        if getattr(call.func, "id", "") == "_" and call.args and isinstance(call.args[0], ast.Constant):
            yield call.args[0].value


def written(language: str, wanted: Texts, known: dict[tuple[str, str], str]) -> str:
    """A .ts file with these texts."""
    lines = ['<?xml version="1.0" encoding="utf-8"?>', "<!DOCTYPE TS>", f'<TS version="2.1" language="{language}">']
    for context, sources in wanted.items():
        lines += ["<context>", f"    <name>{escape(context)}</name>"]
        for source in sources:
            translation = known.get((context, source))
            state = "" if translation else ' type="unfinished"'
            lines += [
                "    <message>",
                f"        <source>{escape(source)}</source>",
                f"        <translation{state}>{escape(translation or '')}</translation>",
                "    </message>",
            ]
        lines.append("</context>")
    return "\n".join([*lines, "</TS>", ""])


def main() -> int:
    """Update all languages; with --check only tell whether they are up to date."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 if something is out of date")
    check, outdated = parser.parse_args().check, []
    wanted = texts()
    for path in sorted(TRANSLATIONS.glob("FetusMapV2_*.ts")):
        known = finished_translations(path)
        by_text = {source: translation for (_context, source), translation in known.items()}
        pairs = {(context, text): by_text.get(text, "") for context, sources in wanted.items() for text in sources}
        new = written(path.stem.split("_", 1)[1], wanted, {key: one for key, one in {**pairs, **known}.items() if one})
        if path.read_text(encoding="utf-8") != new:
            outdated.append(path)
            if not check:
                path.write_text(new, encoding="utf-8")
    for path in outdated:
        print(("out of date: " if check else "updated ") + str(path.relative_to(ROOT)))
    return 1 if check and outdated else 0


if __name__ == "__main__":
    sys.exit(main())
