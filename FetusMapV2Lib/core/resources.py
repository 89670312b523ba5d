"""Where the bundled resources lie: beside the library, in the repository as in an installed extension."""

from __future__ import annotations

from pathlib import Path

from FetusMapV2Lib.core.errors import UserError


def resource_path(*parts: str) -> Path:
    """Path of a bundled resource, e.g. ``resource_path("Landmarks", "fetusmapv2.json")``.

    Raises:
        UserError: the installation lacks it.
    """
    path = Path(__file__).resolve().parents[2].joinpath("Resources", *parts)
    if not path.exists():
        raise UserError(
            "a file of the installation is missing",
            where=path,
            remedy="Install the FetusMapV2 extension again",
        )
    return path
