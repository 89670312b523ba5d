"""The panel in narrow docks, with large letters and in a dark theme: nothing is cut, all can be read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

WIDTHS = (350, 450, 600)
#: Sizes of letters, and the widths at which each is tried.
SCALES = {1.0: WIDTHS, 1.5: (450,), 2.0: WIDTHS}
MODULE = Path(__file__).resolve().parents[2] / "FetusMapV2" / "FetusMapV2.py"
#: Where pictures are kept, if anywhere.
PICTURES = os.environ.get("FETUSMAPV2_PICTURES")
LONG = "Ultrasound volume of the second examination of a patient with a long name"
PATH = "/" + "/".join(8 * ["a folder of some depth"])


class Panel:
    """The panel in a dock of its own, with an engine that answers as a state needs it."""

    def __init__(self, scene: Any, load: Callable[..., Any]) -> None:
        from FetusMapV2Panel import selftest
        from PySide6 import QtWidgets

        self.scene, self.selftest = scene, selftest
        self.engine: Callable[[Any], Any] = selftest.EngineStandIn
        self.loaded = load(MODULE, lambda python: python.FetusMapV2Logic(lambda settings: self.engine(settings)))
        self.widget, self.ui, self.state = self.loaded.widget, self.loaded.widget.ui, self.loaded.widget.state
        self.dock = QtWidgets.QScrollArea()
        self.dock.setWidgetResizable(True)
        self.dock.setWidget(self.loaded.panel)
        self.dock.resize(WIDTHS[-1], 900)
        self.dock.show()
        for name in dir(self.ui):
            if name.endswith("CollapsibleButton"):
                getattr(self.ui, name).collapsed = False

    def settle(self) -> None:
        import qt
        import slicer

        for _time in range(6):  # heights follow widths level by level
            slicer.app.processEvents()
        if not self.ui.guideMapCollapsibleButton.collapsed:
            qt.QTest.qWait(50)  # it is drawn at intervals
            slicer.app.processEvents()

    def new_volume(self) -> Any:
        self.scene.Clear(0)
        self.state.logic.close()
        volume = self.selftest.addVolume(self.scene)
        volume.SetName(LONG)
        self.ui.inputSelector.setCurrentNode(volume)
        return volume

    def during(self, measure: Callable[[], None]) -> None:
        """Measure in the midst of an estimate."""
        outer = self

        class Engine(self.selftest.EngineStandIn):
            def _answer(self, volume, before, stages):
                stages.reach(0.3, "searching the whole volume")
                outer.state.remaining = 75.0
                outer.state._onProgress(0.3, "searching the whole volume")
                measure()
                return super()._answer(volume, before, stages)

        self.engine = Engine
        self.new_volume()
        self.ui.estimateButton.click()

    def close(self) -> None:
        self.loaded.unload()
        self.dock.deleteLater()


def no_volume(panel: Panel, measure: Callable[[], None], folder: Path) -> None:
    from FetusMapV2Panel import requirements

    panel.scene.Clear(0)
    (install,) = (one for one in panel.widget.sections if type(one).__name__ == "InstallSection")
    install.ui.installLabel.setText(requirements.explanation(["torch", "safetensors"]))
    install.widget.setVisible(True)
    measure()
    install.widget.setVisible(False)


def estimate(panel: Panel, measure: Callable[[], None], folder: Path) -> None:
    panel.engine = panel.selftest.EngineStandIn
    panel.new_volume()
    panel.ui.estimateButton.click()
    measure()


def progress(panel: Panel, measure: Callable[[], None], folder: Path) -> None:
    panel.during(measure)


def no_fetus(panel: Panel, measure: Callable[[], None], folder: Path) -> None:
    panel.engine = lambda settings: panel.selftest.EngineStandIn(settings, found=False)
    panel.new_volume()
    panel.ui.estimateButton.click()
    measure()


def doubtful(panel: Panel, measure: Callable[[], None], folder: Path) -> None:
    no_fetus(panel, lambda: None, folder)
    panel.ui.seenButton.click()
    measure()


def error(panel: Panel, measure: Callable[[], None], folder: Path) -> None:
    from FetusMapV2Lib.presenting.tones import Tone

    panel.new_volume()
    for edit in (panel.ui.reportFolderEdit, panel.ui.trainingFolderEdit):
        edit.currentPath = PATH
    panel.state.say(f"{PATH}/{150 * 'x'}.nrrd: the file cannot be read.", Tone.ERROR)
    measure()


def four_d(panel: Panel, measure: Callable[[], None], folder: Path) -> None:
    panel.engine = panel.selftest.MovingEngineStandIn
    panel.scene.Clear(0)
    panel.state.logic.close()
    panel.ui.sequenceSelector.setCurrentNode(panel.selftest.addSequence(panel.scene, 4))
    panel.ui.estimateFramesButton.click()
    measure()


def report(panel: Panel, measure: Callable[[], None], folder: Path) -> None:
    estimate(panel, lambda: None, folder)
    panel.ui.reportFolderEdit.currentPath = str(folder)
    for kind in ("Pdf", "Dicom", "Table"):
        getattr(panel.ui, f"report{kind}CheckBox").setChecked(False)
    panel.ui.writeReportButton.click()
    measure()


STATES = (no_volume, estimate, progress, no_fetus, doubtful, error, four_d, report)


@pytest.fixture
def appearance(application: Any) -> Iterator[Any]:
    """The application, whose letters and palette are as before after the test."""
    import qt

    app = qt.QApplication.instance()
    font, palette = qt.QFont(app.font()), qt.QPalette(app.palette())
    yield app
    app.setFont(font)
    app.setPalette(palette)


@pytest.fixture
def panel(scene: Any, appearance: Any) -> Iterator[Panel]:
    from bench.modules import load_module

    made = Panel(scene, load_module)
    yield made
    made.close()


def resized(panel: Panel, app: Any, width: int, scale: float, points: float) -> None:
    import qt

    font = qt.QFont(app.font())
    font.setPointSizeF(points * scale)
    if app.font().pointSizeF() != font.pointSizeF():
        app.setFont(font)
    panel.dock.resize(width, 900)
    panel.settle()


def lasting_cuts(panel: Panel) -> list[str]:
    """What is cut once the layout has settled, which takes some turns of the event loop."""
    from bench import panel_measuring

    for _turn in range(10):
        problems = list(panel_measuring.cut(panel.loaded.panel))
        if not problems:
            break
        panel.settle()
    return problems


def misfits(panel: Panel, app: Any, name: str) -> list[str]:
    """What does not fit at every width and size of letters, and what is pale in each theme."""
    import qt
    from bench import panel_measuring

    points, problems = app.font().pointSizeF(), []
    for scale, widths in SCALES.items():
        for width in widths:
            resized(panel, app, width, scale, points)
            at = f"{width} px, {scale:.0%}"
            if panel.dock.horizontalScrollBar().maximum:
                problems.append(f"{at}: the panel needs {panel.dock.horizontalScrollBar().maximum} px more")
            problems.extend(f"{at}: {problem}" for problem in lasting_cuts(panel))
            if scale == 1.0:
                cut = panel_measuring.buttons_that_are_cut(panel.loaded.panel)
                problems.extend(f"{at}: {one.objectName} shows {one.text!r}" for one in cut)
            keep(panel, f"{name}-{width}-{scale:.0%}")
    for theme in ("#efefef", "#353535"):
        app.setPalette(qt.QPalette(qt.QColor(theme)))
        panel.settle()
        problems.extend(f"{theme}: {problem}" for problem in panel_measuring.pale(panel.loaded.panel))
        keep(panel, f"{name}-{theme[1:]}")
    return problems


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_nothing_is_cut_and_all_can_be_read(panel, appearance, tmp_path, state):
    measured = []  # a failure within a job would only be a message of the panel
    state(panel, lambda: measured.append(misfits(panel, appearance, state.__name__)), tmp_path)
    assert measured == [[]]


def keep(panel: Panel, name: str) -> None:
    if PICTURES:
        Path(PICTURES).mkdir(parents=True, exist_ok=True)
        assert panel.loaded.panel.grab().save(str(Path(PICTURES) / f"widths-{name}.png"))


def test_a_text_that_is_cut_is_whole_in_its_tool_tip(application, scene):
    import qt
    from FetusMapV2Panel.fitting import ElidedText, fullText

    button = qt.QPushButton("Mark as &missing in this volume")
    fitting = ElidedText(button)
    button.show()
    button.resize(400, 30)
    assert button.text == "Mark as &missing in this volume" and fitting.wholeText() == ""
    button.resize(100, 30)
    assert "…" in button.text and fitting.wholeText() == "Mark as missing in this volume"
    button.resize(400, 30)
    assert button.text == fullText(button) == "Mark as &missing in this volume"
    button.resize(100, 30)
    button.setText("Short")
    button.resize(101, 30)
    assert button.text == "Short"


@pytest.fixture
def german_panel(scene: Any, appearance: Any) -> Iterator[Panel]:
    from bench.language import language
    from bench.modules import load_module

    with language(MODULE.parent / "Resources" / "Translations" / "FetusMapV2_de.ts"):
        made = Panel(scene, load_module)
        yield made
        made.close()


@pytest.mark.parametrize("state", (estimate, four_d), ids=lambda state: state.__name__)
def test_nothing_is_cut_in_german(german_panel, appearance, tmp_path, state):
    assert german_panel.ui.cancelButton.text == "Abbrechen"
    measured = []
    state(german_panel, lambda: measured.append(misfits(german_panel, appearance, f"de-{state.__name__}")), tmp_path)
    assert measured == [[]]
