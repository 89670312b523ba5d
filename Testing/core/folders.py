"""What a user sees of a folder of results."""

from __future__ import annotations

from pathlib import Path


def visible(folder: Path) -> list[Path]:
    """The entries of a folder that are not hidden, sorted."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
