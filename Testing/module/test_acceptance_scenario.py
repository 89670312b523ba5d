"""A clinic's case from sample data to report and 4D, with the bundled model, real clicks and drags; and the self-test.

With FETUSMAPV2_PICTURES=DIR the case is a finer one, the sequence that of the sample data, and pictures of the window
are written to DIR/tutorial-*.png (README).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("four_views")

_PICTURES = os.environ.get("FETUSMAPV2_PICTURES", "")
_FINE_CASE = (20261, (276, 188, 187), 0.5)


class BenchActions:
    """Real clicks and drags in the mini-Slicer's window, and screenshots of it."""

    def __init__(self, window: Any, folder: Path) -> None:
        self._window, self._folder = window, folder
        self.pictures: list[Path] = []
        self.estimated: Any = None

    def click(self, button: Any) -> None:
        assert button.enabled and button.visible, button.objectName
        self._window.click(button)

    def clickLink(self, label: Any, word: str) -> None:  # noqa: N802 - as in Slicer
        from FetusMapV2Panel.user_actions import linkTarget

        self._window.click_link(label, linkTarget(label, word))

    def select(self, tree: Any, item: Any) -> None:
        self._window.click_item(tree, tree.indexFromItem(item))

    def drag(self, viewName: str, ras: Any, byPixels: tuple[int, int]) -> None:  # noqa: N803 - as in Slicer
        self._window.drag(viewName, ras, byPixels)

    def screenshot(self, name: str, widget: Any) -> None:
        self._window.bring_into_sight(widget)
        path = self._folder / f"tutorial-{name}.png"
        self._window.picture(path)
        self.pictures.append(path)
        if name == "estimate":
            self.estimated = self._window.module_widget.state.pose().positions


def sample(name: str) -> Any:
    """What a click on an entry of Slicer's sample data loads."""
    from bench.sample_data import SampleDataLogic
    from FetusMapV2Panel import sample_data

    sample_data.register()
    (source,) = (
        one for one in SampleDataLogic.sampleDataSourcesByCategory(sample_data.CATEGORY) if one.sampleName == name
    )
    return source.click()


def fine_volume() -> Any:
    import slicer

    from FetusMapV2Lib.phantom.simulated_case import simulate_case
    from FetusMapV2Lib.scene.volume_nodes import add_volume_node

    seed, shape, spacing = _FINE_CASE
    case = simulate_case(seed, 0, shape, spacing)
    return add_volume_node(slicer.mrmlScene, case.volume, name="Simulated case")


def kept_cases(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The cases that will be simulated, e.g. by the sample data, whose file holds no pose."""
    from FetusMapV2Lib.phantom import simulated_case

    simulate, made = simulated_case.simulate_case, []

    def simulate_and_keep(*arguments: Any, **named: Any) -> Any:
        made.append(simulate(*arguments, **named))
        return made[-1]

    monkeypatch.setattr(simulated_case, "simulate_case", simulate_and_keep)
    return made


def moving_sample() -> Any:
    import slicer

    sample("FetusMapV2MovingCase")
    return slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLSequenceBrowserNode")


def shifted_sample() -> Any:
    """A sequence of two frames: the sample volume, which is in the cache already, and the same shifted by a voxel."""
    import slicer

    from FetusMapV2Lib.scene.volume_nodes import volume_from_node
    from FetusMapV2Lib.scene.volume_sequences import add_volume_sequence

    volume = volume_from_node(sample("FetusMapV2Case"))
    frames = [volume, volume.with_(array=np.roll(volume.array, 1, axis=1))]
    return add_volume_sequence(slicer.mrmlScene, frames, [0.0, 0.25], "moving case")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_case_from_sample_data_to_report_and_movement(
    open_window: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from FetusMapV2Panel.acceptance_scenario import AcceptanceScenario
    from FetusMapV2Panel.estimation import loadEngine
    from PySide6.QtCore import QSettings

    QSettings.setPath(QSettings.NativeFormat, QSettings.UserScope, str(tmp_path / "settings"))
    window, cases = open_window(loadEngine), kept_cases(monkeypatch)
    actions = BenchActions(window, Path(_PICTURES) if _PICTURES else tmp_path / "pictures")
    volume = fine_volume if _PICTURES else lambda: sample("FetusMapV2Case")
    sequence = moving_sample if _PICTURES else shifted_sample
    AcceptanceScenario(window.module_widget, actions, tmp_path / "Fall ü", volume, sequence).run()
    names = [path.stem.removeprefix("tutorial-") for path in actions.pictures]
    steps = ["progress", "estimate", "correct", "refine", "axes", "planes", "head", "nuchal", "report", "movement"]
    assert names == steps
    assert all(path.stat().st_size > 50_000 for path in actions.pictures)
    assert np.linalg.norm(actions.estimated - cases[0].pose.positions, axis=1).mean() < 6.0


def test_the_self_test_passes_in_the_window(open_window: Any, scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from FetusMapV2Panel.estimation import loadEngine

    window = open_window(loadEngine)
    python = sys.modules["FetusMapV2"]
    # run with real clicks by test_two_patients_scenario.py
    monkeypatch.setattr(python.FetusMapV2Test, "test_nothing_of_another_patient_is_visible", lambda test: None)
    python.FetusMapV2Test().runTest()
    assert window.module_widget.logic.useEngines(loadEngine) is loadEngine, "the engines are the panel's own again"
