"""Settings that outlive a scene, in the user's settings of Slicer: the last ones used, and setups under names."""

from __future__ import annotations

import json

import slicer

from FetusMapV2Panel.parameters import Settings

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
