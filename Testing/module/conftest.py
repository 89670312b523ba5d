"""Fixtures of the module tests: the mini-Slicer, a synthetic volume, and the module window with a stand-in engine."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "FetusMapV2" / "FetusMapV2.py"

#: Known after the first test; emptying a scene takes time, and most tests find it as the one before has left it.
_NODES_OF_AN_EMPTY_SCENE: dict[str, int] = {}


@pytest.fixture(scope="session")
def application() -> Any:
    """The mini-Slicer, started once."""
    from bench import application as bench_application

    if str(MODULE.parent) not in sys.path:
        sys.path.insert(0, str(MODULE.parent))
    return bench_application.start()


@pytest.fixture
def scene(application: Any) -> Iterator[Any]:
    """The application's scene, empty before and after the test, and a user without settings."""
    import slicer

    slicer.app.userSettings().clear()
    if application.GetNumberOfNodes() != _NODES_OF_AN_EMPTY_SCENE.get("count"):
        application.Clear(0)
    application.ClearUndoStack()
    application.ClearRedoStack()
    yield application
    application.Clear(0)
    _NODES_OF_AN_EMPTY_SCENE["count"] = application.GetNumberOfNodes()


@pytest.fixture
def volume(scene: Any) -> Any:
    from FetusMapV2Panel import selftest

    return selftest.addVolume(scene)


@pytest.fixture(scope="session")
def main_window(application: Any) -> Any:
    """The window with the four views, opened once; as small as the tests allow, since views are rendered by the CPU.

    Unless a test uses `four_views`, the red view alone shows markups, and others from when the mouse is in them.
    """
    from bench.window import MainWindow

    window = MainWindow() if os.environ.get("FETUSMAPV2_PICTURES") else MainWindow((900, 640))
    window.draw_markups("Red")
    return window


@pytest.fixture
def four_views(main_window: Any) -> Iterator[None]:
    """All views show markups, as in Slicer."""
    main_window.draw_markups(*main_window.views)
    yield
    main_window.draw_markups("Red")


@pytest.fixture
def panel(open_window: Callable[..., Any], volume: Any) -> Any:
    """A panel with an estimate that is doubtful in two landmarks (`landmarks_panel.DOUBTFUL`)."""
    from module.landmarks_panel import Panel, doubting_engine

    return Panel(open_window(doubting_engine)).estimate()


@pytest.fixture
def open_window(scene: Any, main_window: Any) -> Iterator[Callable[..., Any]]:
    """Loads the module into the window with an engine loader of the test's choice."""
    from FetusMapV2Panel import selftest

    def opened(engine_loader: Any = selftest.EngineStandIn) -> Any:
        main_window.load(MODULE, lambda python: python.FetusMapV2Logic(engine_loader))
        return main_window

    yield opened
    main_window.unload()
    main_window.draw_markups("Red")
