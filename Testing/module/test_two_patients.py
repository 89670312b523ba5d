"""Two patients in one scene: whatever is done in the panel, nothing of one is to be seen with the other."""

from __future__ import annotations

from typing import Any

import pytest


class Hands:
    """A mouse over the mini-Slicer's window."""

    def __init__(self, window: Any) -> None:
        self._window = window

    def click(self, button: Any) -> None:
        assert button.enabled and button.visible, button.objectName
        self._window.click(button)


@pytest.fixture
def told(open_window: Any, scene: Any, tmp_path: Any) -> Any:
    """The panel with two patients' volumes, and the one who tells their story."""
    from FetusMapV2Panel import onlookers
    from FetusMapV2Panel.two_patients import TwoPatients

    a, b = onlookers.addPatient(scene, 1, "right", 1.0), onlookers.addPatient(scene, 2, "left", 1.15)
    engine = onlookers.PatientsEngine(a, b)
    window = open_window(engine)
    return TwoPatients(window.module_widget, Hands(window), engine, a, b, tmp_path / "reports")


def test_nothing_of_the_other_patient_is_to_be_seen_after_any_step(told: Any) -> None:
    told.tell()
