"""Simulated cases that are trained on along with a site's own, so that the world the model knows is not forgotten."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from FetusMapV2Lib.models.model_file import Model
from FetusMapV2Lib.phantom.scene_options import ANATOMIES, SceneOptions
from FetusMapV2Lib.phantom.simulated_case import simulate_case, write_case
from FetusMapV2Lib.phantom.style import STYLES
from FetusMapV2Lib.training.case_folder import Case, CaseFolder

#: A simulated volume has this many voxels for one of the network's input along its longest side, so that close views
#: are sharp, within limits; its size in mm is that of the volumes that the bundled model was trained on.
_FINER, _FEWEST_VOXELS, _MOST_VOXELS = 1.8, 29, 172
_EXTENT_MM = (138.0, 94.0, 94.0)
#: What a case is used for, by its number: of six, four show a fetus and two show none. Of the first ones, half of each
#: are held out: eight fetuses, as fewer do not tell whether a millimetre was forgotten. All that follow are trained on.
_PERIOD, _FETUSES = 6, 4
_HELD_OUT = (2, 3, 5)
#: Number of cases if the time does not decide; that of the first ones is the fewest.
FEWEST, MOST = 24, 48
_SEED = 618


@dataclass(frozen=True)
class Rehearsal:
    """Simulated cases, with and without a fetus.

    Attributes:
        training: to train on.
        held_out: to see what the adapted model still knows.
    """

    training: tuple[Case, ...]
    held_out: tuple[Case, ...]


def make_rehearsal(folder: Path, count: int, model: Model, *, say: Callable[[str, float], None]) -> Rehearsal:
    """Simulate cases, or take those that are in the folder already.

    Args:
        folder: of the cases.
        count: of cases.
        model: they are made by the renderer that it was trained on.
        say: called with what is done and the fraction.

    Raises:
        OutputError: a case cannot be written.
    """
    for index in range(count):
        say(f"simulated case {index + 1} of {count}", index / count)
        make_case(folder, index, model)
    cases = [_known(case, model) for case in CaseFolder(folder).cases[:count]]
    held_out = tuple(case for index, case in enumerate(cases) if _is_held_out(index))
    return Rehearsal(tuple(case for case in cases if case not in held_out), held_out)


def _known(case: Case, model: Model) -> Case:
    """The case with its landmarks where the model has them, whatever its calibration shifts them by since."""
    positions = case.positions
    if model.calibration is not None:
        positions = positions + model.calibration.shift_of(positions, model.template)
    return replace(case, name=f"simulated {case.name}", positions=positions)


def make_case(folder: Path, index: int, model: Model) -> float:
    """Simulate one case unless it is there; the seconds that it took."""
    started = time.monotonic()
    if not (folder / f"case-{index:04d}.nrrd").is_file():
        fetus = index % _PERIOD < _FETUSES
        longest = min(max(round(_FINER * max(model.input_size)), _FEWEST_VOXELS), _MOST_VOXELS)
        spacing = _EXTENT_MM[0] / longest
        depth, rows, columns = (round(extent / spacing) for extent in _EXTENT_MM)
        case = simulate_case(
            _SEED, index, (depth, rows, columns), spacing, "training",
            scene=SceneOptions("fetus" if fetus else "empty", _anatomy_of(model)), renderer=_renderer_of(model),
        )  # fmt: skip
        write_case(folder, case, index)
    return time.monotonic() - started


def _anatomy_of(model: Model) -> str:
    """The newest bodies that a model knows, as its landmarks lie where those have them."""
    recorded = model.info.training.get("anatomies")
    known = [anatomy for anatomy in ANATOMIES if isinstance(recorded, list) and anatomy in recorded]
    if known:
        return known[-1]
    # Earlier trainings did not record them; models of one renderer learned from the first ones.
    return "2026-1" if _renderer_of(model) == "physics" else "2026-2"


def _renderer_of(model: Model) -> str:
    """The one renderer of a model that knows its styles alone, otherwise all of them."""
    styles = model.info.training.get("styles", [])
    known = isinstance(styles, list) and set(styles) <= set(STYLES)
    return "physics" if known else "mixed"


def _is_held_out(index: int) -> bool:
    return index < FEWEST and index % _PERIOD in _HELD_OUT
