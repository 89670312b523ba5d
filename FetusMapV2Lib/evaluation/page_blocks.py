"""Results inside a page: the text between ``<!-- NAME -->`` and ``<!-- /NAME -->`` is replaced, the rest stays."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from FetusMapV2Lib.core.atomic_files import write_text
from FetusMapV2Lib.core.errors import InputError


def fill_page(path: Path, blocks: Mapping[str, str]) -> list[str]:
    """Insert blocks into a page between their markers; a block without markers is skipped.

    Args:
        path: Markdown file with markers, each on its own line.
        blocks: name -> Markdown.

    Returns:
        The names that the page has.

    Raises:
        InputError: the page cannot be read, or has no marker of any block.
        OutputError: it cannot be written.
    """
    text = page_text(path)
    filled = []
    for name, block in blocks.items():
        text, count = _marked(name).subn(lambda found, block=block: f"{found[1]}\n{block.strip()}\n{found[2]}", text)  # type: ignore[misc]
        if count:
            filled.append(name)
    if not filled:
        remedy = f"Mark a place with <!-- {next(iter(blocks), 'NAME')} --> and <!-- /{next(iter(blocks), 'NAME')} -->"
        raise InputError("the page has no place for these results", where=path, remedy=remedy)
    write_text(path, text)
    return filled


def page_text(path: Path) -> str:
    """The text of a page.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the page cannot be read ({error})", where=path, remedy="Give a Markdown file") from error


def _marked(name: str) -> re.Pattern[str]:
    safe = re.escape(name)
    return re.compile(rf"(<!-- {safe} -->)\n.*?(?<=\n)(<!-- /{safe} -->)", flags=re.DOTALL)
