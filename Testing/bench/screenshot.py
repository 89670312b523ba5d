"""Makes docs/images/panel.png: the module in the mini-Slicer after an estimate of a simulated volume.

Usage: python Testing/bench/screenshot.py [OUTPUT.png]
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "Testing"), str(ROOT / "FetusMapV2"), str(ROOT)]

_SEED, _SHAPE, _SPACING_MM = 20261, (276, 188, 187), 0.5


def main(output: Path) -> None:
    """Simulate, estimate with the bundled model, and write the picture."""
    from bench import application

    scene = application.start()
    from FetusMapV2Panel.estimation import loadEngine

    from bench.window import MainWindow
    from FetusMapV2Lib.phantom.case import simulate_case
    from FetusMapV2Lib.scene.volumes import add_volume_node

    case = simulate_case(_SEED, 0, shape_kji=_SHAPE, spacing_mm=_SPACING_MM)
    add_volume_node(scene, case.volume, name="Simulated case")
    window = MainWindow(size=(1440, 860), panel_width=470)
    window.load(ROOT / "FetusMapV2" / "FetusMapV2.py", lambda python: python.FetusMapV2Logic(loadEngine))
    ui = window.module_widget.ui
    ui.detailsCollapsibleButton.collapsed = False
    window.click(ui.estimateButton)
    if not window.wait_until(lambda: not window.module_widget.state.running, 600.0):
        raise TimeoutError("the estimate takes too long")
    print(ui.messageLabel.text or "no warnings")
    window.picture(output)
    print(output)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images" / "panel.png")
    sys.stdout.flush()
    os._exit(0)  # VTK and Qt disagree about who goes first at a normal exit
