"""Draw the rooms of the library and what each imports, from the code and the linter's floors, into docs/development.md.

.venv/bin/python Testing/packaging/draw_rooms.py
"""

from __future__ import annotations

import ast
import re
import sys
from html import escape
from pathlib import Path

import grimp

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "FetusMapV2Lib"
PAGE, DRAWING = ROOT / "docs" / "development.md", ROOT / "docs" / "images" / "rooms.svg"
_BLOCK = re.compile(r"(?<=<!-- rooms -->\n).*?(?=<!-- /rooms -->)", re.DOTALL)
#: Sizes of the drawing in pixels.
_WIDTH, _HEIGHT, _GAP = 760, 40, 8


def floors() -> list[list[str]]:
    """The rooms on each floor, from the top, as pyproject.toml has them for the import linter."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract = settings["tool"]["importlinter"]["contracts"][0]
    return [[room.strip().removeprefix(f"{PACKAGE}.") for room in floor.split("|")] for floor in contract["layers"]]


def imports() -> dict[str, list[str]]:
    """The rooms that each room imports, without those that only type checkers see."""
    graph = grimp.build_graph(PACKAGE, exclude_type_checking_imports=True, cache_dir=None)
    found: dict[str, set[str]] = {}
    for module in graph.modules - {PACKAGE}:
        room = found.setdefault(module.split(".")[1], set())
        room |= {name.split(".")[1] for name in graph.find_modules_directly_imported_by(module) if "." in name}
    order = [room for floor in floors() for room in floor]
    return {room: [other for other in order if other in found[room] - {room}] for room in found}


def purpose(room: str) -> str:
    """The first sentence of a room's docstring."""
    tree = ast.parse((ROOT / PACKAGE / room / "__init__.py").read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or "").split("\n")[0]


def table() -> str:
    """The rooms from the top, as a Markdown table."""
    known = imports()
    lines = ["", "| room | what lives in it | imports |", "|---|---|---|"]
    for room in (room for floor in floors() for room in floor):
        others = ", ".join(known[room]) or "no other room"
        lines.append(f"| `{room}` | {purpose(room)} | {others} |")
    return "\n".join([*lines, "", ""])


def drawing() -> str:
    """The floors as an SVG, the highest first; an import only ever points down."""
    boxes = []
    for level, floor in enumerate([["FetusMapV2 (the Slicer module)"], *floors()]):
        width = (_WIDTH - (len(floor) - 1) * _GAP) / len(floor)
        for place, room in enumerate(floor):
            x, y = place * (width + _GAP), level * (_HEIGHT + _GAP)
            fill = "#00695c" if level == 0 else "#b2dfdb"
            colour = "#ffffff" if level == 0 else "#004d40"
            boxes.append(f'<rect x="{x:.0f}" y="{y}" width="{width:.0f}" height="{_HEIGHT}" rx="4" fill="{fill}"/>')
            boxes.append(f'<text x="{x + width / 2:.0f}" y="{y + 25}" fill="{colour}">{escape(room)}</text>')
    height = (len(floors()) + 1) * (_HEIGHT + _GAP) - _GAP
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    return "\n".join([f'{head} font-family="sans-serif" font-size="15" text-anchor="middle">', *boxes, "</svg>", ""])


def with_table(page: str) -> str:
    """The page with the table between its marks."""
    return _BLOCK.sub(lambda _: table(), page)


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    DRAWING.write_text(drawing(), encoding="utf-8")
