"""Writes the file lists of the extension's CMakeLists.txt from the tree, or checks them with --check.

Usage: python Testing/packaging/update_cmake_lists.py [--check]
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_NOT_SHIPPED = {"__pycache__"}
_NOT_SHIPPED_FILES = {"CMakeLists.txt"}


def shipped_files(folder: Path, base: Path) -> list[str]:
    """Files below `folder` that belong into the package, relative to `base`, with forward slashes."""
    found = []
    for path in folder.rglob("*"):
        parts = path.relative_to(base).parts
        hidden = any(part in _NOT_SHIPPED or part.startswith(".") for part in parts)
        if path.is_file() and not hidden and path.name not in _NOT_SHIPPED_FILES and path.suffix != ".pyc":
            found.append("/".join(parts))
    return sorted(found)


def wanted_lists(root: Path = ROOT) -> dict[Path, dict[str, list[str]]]:
    """CMake file -> variable -> files, as they should be."""
    library = shipped_files(root / "FetusMapV2Lib", root)
    resources = shipped_files(root / "Resources", root)
    module = shipped_files(root / "FetusMapV2", root / "FetusMapV2")
    return {
        root / "CMakeLists.txt": {
            "LIBRARY_PYTHON_SCRIPTS": _scripts(library),
            "LIBRARY_RESOURCES": _others(library) + resources,
        },
        root / "FetusMapV2" / "CMakeLists.txt": {
            "MODULE_PYTHON_SCRIPTS": _scripts(module),
            "MODULE_PYTHON_RESOURCES": _others(module),
        },
    }


def _scripts(names: Iterable[str]) -> list[str]:
    return [name for name in names if name.endswith(".py")]


def _others(names: Iterable[str]) -> list[str]:
    return [name for name in names if not name.endswith(".py")]


def with_lists(text: str, lists: dict[str, list[str]]) -> str:
    """The CMake text with the bodies of ``set(NAME ...)`` replaced."""
    for name, files in lists.items():
        body = "".join(f"  {file}\n" for file in files)
        text, count = re.subn(rf"set\({name}\n.*?  \)", lambda _match: f"set({name}\n{body}  )", text, flags=re.DOTALL)  # noqa: B023
        if count != 1:
            raise SystemExit(f"set({name} ...) must stand exactly once in the CMake file, found {count}")
    return text


def outdated(root: Path = ROOT) -> dict[Path, str]:
    """CMake file -> its text as it should be, for the files that differ."""
    result = {}
    for path, lists in wanted_lists(root).items():
        text = path.read_text(encoding="utf-8")
        updated = with_lists(text, lists)
        if updated != text:
            result[path] = updated
    return result


def main(arguments: list[str]) -> int:
    changes = outdated()
    if "--check" in arguments:
        for path in changes:
            print(f"{path.relative_to(ROOT)}: file lists are not those of the tree; run {Path(__file__).name}")
        return 1 if changes else 0
    for path, text in changes.items():
        path.write_text(text, encoding="utf-8", newline="\n")
        print(f"updated {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
