"""Where the bundled resources lie: beside the library or, in a wheel, inside it."""

from __future__ import annotations

from pathlib import Path

from FetusMapV2Lib.core.errors import UserError

_LIBRARY = Path(__file__).resolve().parents[1]
_FOLDER = "Resources"


def translations_folder() -> Path | None:
    """The folder of translated texts: inside of a wheel, or that of the panel; None if the installation has none."""
    places = (_LIBRARY / _FOLDER / "Translations", _LIBRARY.parent / "FetusMapV2" / _FOLDER / "Translations")
    return next((place for place in places if place.is_dir()), None)


def resource_path(*parts: str) -> Path:
    """Path of a bundled resource, e.g. ``resource_path("Landmarks", "fetusmapv2.json")``.

    A wheel holds the folder inside the library; the repository and an installed Slicer extension hold it beside.

    Raises:
        UserError: the installation lacks it.
    """
    inside = _LIBRARY / _FOLDER
    folder = inside if inside.is_dir() else _LIBRARY.parent / _FOLDER
    path = folder.joinpath(*parts)
    if not path.exists():
        raise UserError("a file of the installation is missing", where=path, remedy="Install FetusMapV2 again")
    return path
