"""A tiny model of an old world, and cases of a site that it has not seen; simulated cases are balls as well."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

from training.tiny_run import PRESET, fit_on_cpu
from training.toy_cases import write_toy_cases

from FetusMapV2Lib.adaptation.options import AdaptationOptions
from FetusMapV2Lib.models.calibration import Calibration, uncalibrated
from FetusMapV2Lib.models.model_file import load_model, save_model

#: A network that has learned little, and learns much from a few steps.
LEARNING = {"optimiser.learning_rate": 2e-2, "network.widths": [6, 8], "optimiser.betas": [0.9, 0.99]}
THRESHOLD = 0.02
#: Simulated cases that the folder of an adaptation is given, so that nothing is simulated: 7 to train on, 6 held out.
REHEARSED = 13


def calibration(threshold: float = THRESHOLD) -> Calibration:
    return replace(uncalibrated(), cases=40, detection_threshold=threshold)


def write_start(folder: Path, *, rate: float = 2e-2, steps: int = 60, threshold: float = THRESHOLD) -> Path:
    """A calibrated model of the old world."""
    write_toy_cases(folder / "old", 8)
    overrides = {**LEARNING, "optimiser.learning_rate": rate, "run.steps": steps}
    file = fit_on_cpu(PRESET, folder / "old", folder / "start", overrides=overrides)
    save_model(file, replace(load_model(file), calibration=calibration(threshold)))
    return file


def write_simulated(output: Path, count: int = REHEARSED) -> Path:
    """Put at least `count` balls into the folder of an adaptation where its simulated cases would be; that folder."""
    folder = output / "work" / "simulated"
    for part in range(math.ceil(count / 5)):
        write_toy_cases(folder / "part", 5, seed=50 + part)
        for path in sorted((folder / "part").iterdir()):
            stem, _, suffix = path.name.partition(".")
            path.rename(folder / f"case-{5 * part + int(stem[-2:]):04d}.{suffix}")
    (folder / "part").rmdir()
    return folder


def options(model: Path, **changes: object) -> AdaptationOptions:
    given = {"steps": 12, "folds": 2, "rehearsal": REHEARSED, "device": "cpu", "threads": 1, **changes}
    return AdaptationOptions(model=model, **given)  # type: ignore[arg-type]
