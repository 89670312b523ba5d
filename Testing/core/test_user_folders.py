"""The folder of a user's own files, also where platformdirs is not installed."""

from __future__ import annotations

import sys
from pathlib import Path

import platformdirs
import pytest

from FetusMapV2Lib.core.user_folders import user_cache_folder, user_data_folder


def test_it_is_the_systems_place_for_data_of_applications(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FETUSMAPV2_DATA")
    assert user_data_folder() == Path(platformdirs.user_data_dir("FetusMapV2", appauthor=False))
    monkeypatch.setenv("FETUSMAPV2_DATA", " ")
    assert user_data_folder().name == "FetusMapV2"


def test_it_is_the_same_in_slicer_which_lacks_platformdirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FETUSMAPV2_DATA")
    usual = user_data_folder()
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    assert user_data_folder() == usual


def test_a_site_may_choose_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FETUSMAPV2_DATA", "our data")
    assert user_data_folder() == tmp_path / "our data"


def test_what_can_be_made_again_lies_in_the_systems_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("FETUSMAPV2_DATA")
    usual = user_cache_folder()
    assert usual == Path(platformdirs.user_cache_dir("FetusMapV2", appauthor=False))
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    assert user_cache_folder() == usual
    monkeypatch.setenv("FETUSMAPV2_DATA", str(tmp_path))
    assert user_cache_folder() == tmp_path
