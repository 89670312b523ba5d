"""Estimates one volume inside 3D Slicer without its main window, and saves scene and measurements.

    Slicer --no-main-window --python-script examples/estimate_in_slicer.py -- VOLUME OUTPUT_FOLDER

VOLUME is any file that Slicer loads. OUTPUT_FOLDER gets NAME.mrb (volume, landmarks, skeleton, lengths) and
NAME.csv (the table of the panel). Exit code 0: done, 1: no fetus found, 2: something the user can mend.
The FetusMapV2 extension must be installed, and PyTorch with it (open the module once and click Estimate pose).
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import slicer


def estimate(volume_file: Path, folder: Path, logic) -> int:
    """Estimate one volume with a module logic; returns the exit code."""
    from FetusMapV2Panel.results_table import rows

    from FetusMapV2Lib.foundation.errors import UserError
    from FetusMapV2Lib.scene.files import save_scene

    try:
        volume = slicer.util.loadVolume(str(volume_file))
        outcome = logic.process(volume, onProgress=lambda fraction, stage: print(f"{fraction:4.0%} {stage}"))
        for warning in outcome.estimate.warnings:
            print(f"{volume_file.name}: {warning}")
        if outcome.poseScene is None:
            print(f"{volume_file.name}: {outcome.estimate.reason}")
            return 1
        folder.mkdir(parents=True, exist_ok=True)
        save_scene(slicer.mrmlScene, folder / f"{volume_file.name.split('.')[0]}.mrb")
        with (folder / f"{volume_file.name.split('.')[0]}.csv").open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(["measurement", "value", "remark"])
            writer.writerows(row.cells() for row in rows(outcome.poseScene.pose()))
    except UserError as error:
        print(error.line(), file=sys.stderr)
        return error.exit_code
    except RuntimeError as error:  # slicer.util.loadVolume
        print(error, file=sys.stderr)
        return 2
    print(f"written to {folder}. Research use only; default weights were trained on simulated volumes.")
    return 0


def main(arguments: list[str]) -> int:
    """The command line after ``--``."""
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    from FetusMapV2 import FetusMapV2Logic

    return estimate(Path(arguments[0]), Path(arguments[1]), FetusMapV2Logic())


if __name__ == "__main__":
    slicer.util.exit(main(sys.argv[1:]))
