"""The name of the person who reads the volumes, as entered in the report section or in Slicer's settings."""

from __future__ import annotations

import slicer

_SETTING = "FetusMapV2/Reader"


def reader() -> str:
    """The last reader, or else the user as named in Slicer's settings; empty if neither was entered."""
    kept = slicer.app.userSettings().value(_SETTING)
    return kept or slicer.app.applicationLogic().GetUserInformation().GetName() or ""


def keepReader(name: str) -> None:
    """Keep the name for later."""
    slicer.app.userSettings().setValue(_SETTING, name)
