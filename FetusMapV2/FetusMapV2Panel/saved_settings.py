"""Settings stored across scenes in the user's settings of Slicer: the last used ones, and named ones."""

from __future__ import annotations

import enum
import json
from typing import Any

import slicer

from FetusMapV2Panel.parameters import DatingFormula, FetusMapV2ParameterNode, Settings

_PREFERENCES = "FetusMapV2/Preferences"
#: Parameters that are stored as preferences, with the function that reads them from JSON.
_PREFERRED = {
    "datingFormula": DatingFormula,
    "turnSlices": bool,
    "showNames": bool,
    "showSkeleton": bool,
    "showPlane": bool,
    "showCallipers": bool,
    "reportPage": bool,
    "reportPdf": bool,
    "reportTable": bool,
    "reportDicom": bool,
    "reportFhir": bool,
    "reportWithoutIdentifiers": bool,
}
_LAST = "FetusMapV2/LastSettings"
_NAMED = "FetusMapV2/Setups"


def saveLastUsed(settings: Settings) -> None:
    """Store the settings of an estimate for the next scene."""
    slicer.app.userSettings().setValue(_LAST, json.dumps(settings.toPlain()))


def lastUsed() -> Settings:
    """The settings of the last estimate; the defaults if there are none, or none that this version can read."""
    return _read(slicer.app.userSettings().value(_LAST)) or Settings()


def names() -> list[str]:
    """The names of all saved settings, sorted."""
    return sorted(_named(), key=str.casefold)


def save(name: str, settings: Settings) -> None:
    """Save settings under a name, replacing those that had it."""
    _write({**_named(), name: settings.toPlain()})


def load(name: str) -> Settings | None:
    """The settings of a name; None if there are none, or none that this version can read."""
    return _read(json.dumps(_named().get(name)))


def remove(name: str) -> None:
    """Delete the settings of a name."""
    _write({other: values for other, values in _named().items() if other != name})


def savePreferences(parameterNode: FetusMapV2ParameterNode) -> None:
    """Store the dating formula, what views show and the files of a report for the next scene."""
    values = {name: getattr(parameterNode, name) for name in _PREFERRED}
    plain = {name: value.value if isinstance(value, enum.Enum) else value for name, value in values.items()}
    slicer.app.userSettings().setValue(_PREFERENCES, json.dumps(plain))


def applyPreferences(parameterNode: FetusMapV2ParameterNode) -> None:
    """Write the stored preferences into a new parameter node, unless this version cannot read them."""
    try:
        stored = json.loads(slicer.app.userSettings().value(_PREFERENCES) or "{}")
        values = {name: read(stored[name]) for name, read in _PREFERRED.items() if name in stored}
    except (ValueError, TypeError):
        return
    for name, value in values.items():
        setattr(parameterNode, name, value)


def _named() -> dict[str, Any]:
    # One JSON value, because keys of a settings file cannot hold every name.
    try:
        stored = json.loads(slicer.app.userSettings().value(_NAMED) or "{}")
    except ValueError:
        return {}
    return stored if isinstance(stored, dict) else {}


def _write(named: dict[str, Any]) -> None:
    slicer.app.userSettings().setValue(_NAMED, json.dumps(named))


def _read(text: str | None) -> Settings | None:
    try:
        return Settings.fromPlain(json.loads(text or "null"))
    except (ValueError, TypeError, AttributeError):
        return None
