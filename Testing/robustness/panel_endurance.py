"""Estimates and clicks through the panel by the hundred: nodes, observers, references and jobs stay as many.

    python Testing/robustness/panel_endurance.py --estimates 100 --clicks 1000

runs without a screen, on the mini-Slicer with a stand-in engine, prints what was counted, and ends with 1 if it grew.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: Slicer itself keeps some copies of a plane's display node, and through them colour tables, when an undo is redone
#: with the plane in a view; that happens with a bare vtkMRMLMarkupsPlaneNode, too.
_KEPT_BY_SLICER = ("references to vtkMRMLMarkupsPlaneDisplayNode", "references to vtkMRMLColorTableNode")

_TESTING = Path(__file__).resolve().parents[1]


def census(scene: Any) -> Counter[str]:
    """What may not grow, counted once nothing is kept for undo."""
    import slicer
    import vtk
    from FetusMapV2Panel.jobs import BackgroundJob

    from FetusMapV2Lib.scene import undo_history

    undo_history.clear(scene)
    slicer.app.processEvents()
    gc.collect()
    nodes = [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())]
    counted = Counter({"nodes": len(nodes), "observers of the scene": _observers(scene)})
    for node in nodes:
        counted[f"observers of {node.GetClassName()}"] += _observers(node)
        counted[f"references to {node.GetClassName()}"] += node.GetReferenceCount()
    alive = gc.get_objects()
    counted["jobs"] = sum(type(one) is BackgroundJob for one in alive)
    counted["VTK objects that Python holds"] = sum(issubclass(type(one), vtk.vtkObject) for one in alive)
    for key in _KEPT_BY_SLICER:
        del counted[key]
    return counted


def _observers(subject: Any) -> int:
    return str(subject).count("vtkObserver (")


def clicks(window: Any, volumes: list[Any]) -> list[Callable[[], None]]:
    """What a user does to a pose, one click each; together they leave it as it was."""
    ui = window.module_widget.ui

    def choose(volume: Any) -> Callable[[], None]:
        return lambda: ui.inputSelector.setCurrentNode(volume)

    def press(*buttons: Any) -> list[Callable[[], None]]:
        return [button.click for button in buttons]

    return [
        *press(ui.nextDoubtfulButton, ui.confirmButton, ui.confirmButton, ui.lockButton, ui.lockButton),
        *press(ui.missingButton, ui.undoButton, ui.redoButton, ui.resetButton, ui.swapAllButton, ui.undoButton),
        *press(ui.placeButton, ui.placeButton, ui.resetAllButton, ui.allPlanesButton, ui.ownAxesButton),
        *(choose(volume) for volume in (*volumes, volumes[0])),
    ]


def endure(window: Any, volumes: list[Any], estimates: int, clicked: int) -> None:
    """Estimate in the volumes in turn, then click."""
    import slicer

    ui = window.module_widget.ui
    for number in range(estimates):
        ui.inputSelector.setCurrentNode(volumes[number % len(volumes)])
        ui.estimateButton.click()
        slicer.app.processEvents()
    ui.inputSelector.setCurrentNode(volumes[0])
    ways = clicks(window, volumes)
    for number in range(clicked + -clicked % len(ways)):
        ways[number % len(ways)]()
        slicer.app.processEvents()


def grown(before: Counter[str], after: Counter[str]) -> dict[str, tuple[int, int]]:
    """What is more, or less, than it was."""
    return {key: (before[key], after[key]) for key in before.keys() | after.keys() if before[key] != after[key]}


def doubting_engine(settings: Any) -> Any:
    """An engine stand-in that is not sure of some landmarks."""
    from FetusMapV2Panel import selftest

    class Engine(selftest.EngineStandIn):
        def estimate(self, volume: Any, **arguments: Any) -> Any:
            found = super().estimate(volume, **arguments)
            found.pose.confidence.flags.writeable = True
            found.pose.confidence[:3] = 0.3
            return found

    return Engine(settings)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--estimates", type=int, default=100)
    parser.add_argument("--clicks", type=int, default=1000)
    arguments = parser.parse_args()
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    module = _TESTING.parent / "FetusMapV2" / "FetusMapV2.py"
    sys.path[:0] = [str(_TESTING), str(_TESTING.parent), str(module.parent)]
    import resource  # not on Windows

    from bench import application
    from bench.window import MainWindow

    scene = application.start()
    from FetusMapV2Panel import selftest

    window = MainWindow()
    volumes = [selftest.addVolume(scene) for _ in range(2)]
    window.load(module, lambda python: python.FetusMapV2Logic(doubting_engine))
    endure(window, volumes, 2, 20)
    before, started = census(scene), time.monotonic()
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    endure(window, volumes, arguments.estimates, arguments.clicks)
    found = grown(before, census(scene))
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - size) / 1024
    seconds = time.monotonic() - started
    print(f"{arguments.estimates} estimates, {arguments.clicks} clicks, {seconds:.0f} s, {more:.0f} MiB more at most")
    print(f"{before['nodes']} nodes, {before['VTK objects that Python holds']} VTK objects in Python")
    print(f"changed: {found or 'nothing'}")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
