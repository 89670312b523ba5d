"""Tests of the module's own self-test that need no main window, one by one."""

from __future__ import annotations


def test_an_estimate_is_undone_and_redone_with_its_display_nodes(application, scene):
    from FetusMapV2 import FetusMapV2Test

    FetusMapV2Test().test_an_estimate_is_undone_and_redone_with_its_display_nodes()


def test_sample_data_are_listed_and_loaded(application, scene):
    from FetusMapV2 import FetusMapV2Test

    FetusMapV2Test().test_sample_data_are_listed_and_loaded()
