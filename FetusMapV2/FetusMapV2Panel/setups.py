"""Settings that outlive a scene, in the user's settings of Slicer: the last ones used, and setups under names."""

from __future__ import annotations

import enum
import json

import slicer

from FetusMapV2Panel.parameters import DatingFormula, Settings

_PREFERENCES = "FetusMapV2/Preferences"
#: Parameters that a user chooses once and for all, with what reads them from JSON.
_PREFERRED = {
    "datingFormula": DatingFormula,
    "reportPage": bool,
    "reportPdf": bool,
    "reportTable": bool,
    "reportDicom": bool,
    "reportFhir": bool,
    "reportWithoutIdentifiers": bool,
}
_LAST = "FetusMapV2/LastSettings"
_NAMED = "FetusMapV2/Setups"


def remember(settings: Settings) -> None:
    """Keep the settings of an estimate for the next scene."""
    slicer.app.userSettings().setValue(_LAST, json.dumps(settings.toPlain()))


def remembered() -> Settings:
    """The settings last used; the defaults if there are none, or none that this version can read."""
    return _read(slicer.app.userSettings().value(_LAST)) or Settings()


def names() -> list[str]:
    """Of all saved setups, in order."""
    return sorted(_named(), key=str.casefold)


def save(name: str, settings: Settings) -> None:
    """Keep settings under a name, in place of those that had it."""
    _write({**_named(), name: settings.toPlain()})


def load(name: str) -> Settings | None:
    """The settings of a name, None if there are none that this version can read."""
    return _read(json.dumps(_named().get(name)))


def remove(name: str) -> None:
    """Forget a setup."""
    _write({other: values for other, values in _named().items() if other != name})


def rememberPreferences(parameterNode) -> None:
    """Keep the dating formula and what a report consists of for the next scene."""
    values = {name: getattr(parameterNode, name) for name in _PREFERRED}
    plain = {name: value.value if isinstance(value, enum.Enum) else value for name, value in values.items()}
    slicer.app.userSettings().setValue(_PREFERENCES, json.dumps(plain))


def applyPreferences(parameterNode) -> None:
    """Write what was kept into a new parameter node; what this version cannot read is left as it is."""
    try:
        kept = json.loads(slicer.app.userSettings().value(_PREFERENCES) or "{}")
        values = {name: read(kept[name]) for name, read in _PREFERRED.items() if name in kept}
    except (ValueError, TypeError):
        return
    for name, value in values.items():
        setattr(parameterNode, name, value)


def _named() -> dict:
    # One JSON value: names of any kind stay what they are, which the keys of a settings file do not promise.
    try:
        found = json.loads(slicer.app.userSettings().value(_NAMED) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _write(setups: dict) -> None:
    slicer.app.userSettings().setValue(_NAMED, json.dumps(setups))


def _read(text: str | None) -> Settings | None:
    try:
        return Settings.fromPlain(json.loads(text or "null"))
    except (ValueError, TypeError, AttributeError):
        return None
