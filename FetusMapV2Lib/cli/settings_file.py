"""`fetusmap.toml`: options that a user or a site does not want to repeat in every command.

A table for each command, such as ``[estimate]``, holds its options: ``device = "cpu"``, ``skip-existing = true``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.core.user_folders import user_settings_folder

NAME = "fetusmap.toml"
#: Options of each command: name in the file -> name of the parameter.
Options = Mapping[str, Mapping[str, str]]


def find_settings() -> Path | None:
    """The settings file that counts without ``--config``: the current folder's, else the user's."""
    for folder in (Path(), user_settings_folder()):
        if (folder / NAME).is_file():
            return (folder / NAME).absolute()
    return None


def read_settings(path: Path, known: Options) -> dict[str, dict[str, Any]]:
    """Values of parameters by command.

    Args:
        path: of the file.
        known: the options that exist.

    Raises:
        InputError: it cannot be read, is no TOML, or names a command or an option that does not exist.
    """
    found: dict[str, dict[str, Any]] = {}
    for command, options in _tables(path).items():
        if command not in known:
            raise InputError(f"there is no command '{command}'", where=path, remedy=_choice(known))
        if not isinstance(options, Mapping):
            problem = f"the setting '{command}' belongs to no command"
            raise InputError(problem, where=path, remedy=f"Write it below a line such as [{next(iter(known))}]")
        names = known[command]
        for option in options:
            if option not in names:
                problem = f"the command '{command}' has no option '{option}'"
                raise InputError(problem, where=path, remedy=_choice(names))
        found[command] = {names[option]: _value(value) for option, value in options.items()}
    return found


def _tables(path: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"the settings cannot be read ({error.strerror or error})",
            where=path,
            remedy="Check the path of the file, and that you may read it",
        ) from error
    except ValueError as error:  # no TOML, or no UTF-8
        raise InputError(
            f"this is no settings file ({error})", where=path, remedy='Write TOML: [estimate], then device = "cpu"'
        ) from error


def _value(value: Any) -> Any:
    """As the option would be written in a command."""
    if isinstance(value, (bool, list)):
        return value
    return os.fspath(value) if isinstance(value, os.PathLike) else str(value)


def _choice(names: Iterable[str]) -> str:
    return f"Known: {', '.join(names)}"
