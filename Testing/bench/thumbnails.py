"""Draws the thumbnails of the sample data in FetusMapV2/Resources/Icons: the midsagittal plane and the skeleton.

Usage: python Testing/bench/thumbnails.py
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "Testing"), str(ROOT / "FetusMapV2"), str(ROOT)]

_SIZE = (260, 280)


def main() -> None:
    from bench import application

    application.start()
    from FetusMapV2Panel import sample_data
    from PySide6.QtCore import Qt
    from PySide6.QtGui import QPixmap

    from FetusMapV2Lib.phantom.simulated_case import simulate_case
    from FetusMapV2Lib.scene.picture import view_pictures

    age = sample_data._AGE_DAYS
    for name, (seed, shape, spacing), view in (
        ("FetusMapV2Case", sample_data._CASE, 1),
        ("FetusMapV2MovingCase", sample_data._MOVING_CASE, 0),
    ):
        case = simulate_case(seed, 0, shape, spacing, gestational_age_days=age)
        picture = QPixmap()
        picture.loadFromData(view_pictures(case.volume, case.pose)[view][1], "PNG")
        picture = picture.scaled(*_SIZE, Qt.KeepAspectRatio, Qt.SmoothTransformation)
        target = ROOT / "FetusMapV2" / "Resources" / "Icons" / f"{name}.png"
        if not picture.save(str(target)):
            raise OSError(f"cannot write {target}")
        print(target)


if __name__ == "__main__":
    main()
    sys.stdout.flush()
    os._exit(0)  # VTK and Qt crash in each other's clean-up at a normal exit
