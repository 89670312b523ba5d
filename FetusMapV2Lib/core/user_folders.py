"""Where a user's own files lie: outside the installation, so that an update leaves them alone."""

from __future__ import annotations

import os
from pathlib import Path

#: The environment variable that names another folder, for a site or a test.
DATA_VARIABLE = "FETUSMAPV2_DATA"


def user_data_folder() -> Path:
    """The folder of a user's models: the system's place for data of applications, or what FETUSMAPV2_DATA names.

    It need not exist.
    """
    chosen = os.environ.get(DATA_VARIABLE, "").strip()
    if chosen:
        return Path(chosen).absolute()
    return Path(_system_folder())


def user_settings_folder() -> Path:
    """The folder of a user's settings: the system's place for them, or what FETUSMAPV2_DATA names."""
    chosen = os.environ.get(DATA_VARIABLE, "").strip()
    if chosen:
        return Path(chosen).absolute()
    from platformdirs import user_config_dir

    return Path(user_config_dir("FetusMapV2", appauthor=False))


def user_cache_folder() -> Path:
    """The folder of what can be made again: the system's place for caches, or what FETUSMAPV2_DATA names."""
    chosen = os.environ.get(DATA_VARIABLE, "").strip()
    if chosen:
        return Path(chosen).absolute()
    try:
        from platformdirs import user_cache_dir
    except ModuleNotFoundError:
        from pip._vendor.platformdirs import user_cache_dir
    return Path(user_cache_dir("FetusMapV2", appauthor=False))


def _system_folder() -> str:
    """By platformdirs or, in Slicer, where nothing is installed unasked, by the copy of it inside pip."""
    try:
        from platformdirs import user_data_dir
    except ModuleNotFoundError:
        from pip._vendor.platformdirs import user_data_dir
    return user_data_dir("FetusMapV2", appauthor=False)
