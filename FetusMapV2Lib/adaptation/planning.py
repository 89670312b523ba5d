"""How the time of an adaptation is spent: simulated cases, folds, steps, from measured times; kept for resumption."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from FetusMapV2Lib.adaptation import rehearsal
from FetusMapV2Lib.adaptation.options import AdaptationOptions
from FetusMapV2Lib.core.atomic_files import write_json
from FetusMapV2Lib.core.errors import OutputError, UserError
from FetusMapV2Lib.core.json_files import field, read_json_object
from FetusMapV2Lib.core.serialisation import from_json
from FetusMapV2Lib.models.model_file import Model
from FetusMapV2Lib.training.case_folder import Case

#: Shares of the fine-tuned weights that are tried, besides none of them: then landmarks are moved and nothing else.
SHARES = (0.4, 0.7, 1.0)
#: Steps of one training: fewer teach nothing, more do not help; and those that are worth one fold more.
FEWEST_STEPS, MOST_STEPS, _STEPS_PER_FOLD = 20, 400, 120
_FEWEST_FOLDS, _MOST_FOLDS = 2, 5
#: Shares of the time: for simulated cases, and for all that is planned; the rest is reserve.
_REHEARSAL_TIME, _PLANNED_TIME = 0.1, 0.85
#: How often simulated cases are looked at: before, after, and with another share if one is passed over.
_LOOKS_AT_SIMULATED = 3
#: Of what is kept in between; a folder of another one is another adaptation.
_FORMAT = 2
_RECORD, _PLAN = "adaptation.json", "plan.json"
_OTHER = "Choose another folder, or give the same cases and options"


@dataclass(frozen=True)
class Plan:
    """How an adaptation is carried out.

    Attributes:
        rehearsal: number of simulated cases.
        folds: of the cross-validation.
        steps: of each training.
        step_seconds, estimate_seconds: as measured; 0 where that was not needed.
    """

    rehearsal: int
    folds: int
    steps: int
    step_seconds: float
    estimate_seconds: float


def parts_of(cases: list[Case], folds: int, seed: int) -> list[list[Case]]:
    """The cases of each fold, those with and without a fetus spread evenly.

    Args:
        cases: of the site.
        folds: number of parts.
        seed: of the order.
    """
    generator = np.random.default_rng(seed)
    parts: list[list[Case]] = [[] for _ in range(folds)]
    for present in (True, False):
        group = [case for case in cases if case.fetus_present == present]
        for place, number in enumerate(generator.permutation(len(group))):
            parts[place % folds].append(group[number])
    return parts


def rehearsal_count(options: AdaptationOptions, case_seconds: float) -> int:
    """How many simulated cases a tenth of the time is good for, and never too few to see what was forgotten."""
    if options.rehearsal is not None:
        return options.rehearsal
    fit = int(_REHEARSAL_TIME * 60 * options.minutes / max(case_seconds, 1e-3))
    return min(max(fit, rehearsal.FEWEST), rehearsal.MOST)


def planned(
    options: AdaptationOptions,
    own: int,
    tested: int,
    rehearsed: int,
    seconds: tuple[float, float, float],
) -> Plan:
    """Folds and steps for the time that is left.

    Args:
        options: with the time.
        own: cases of the site.
        tested: simulated cases that are held out.
        rehearsed: simulated cases in all.
        seconds: gone so far, of a step, of an estimate.

    Raises:
        UserError: the time is too short.
    """
    gone, step, estimate = seconds
    looks = len(SHARES) * own + _LOOKS_AT_SIMULATED * tested
    left = _PLANNED_TIME * 60 * options.minutes - gone - looks * estimate
    possible = int(left / max(step, 1e-6))
    folds = min(options.folds or min(max(possible // _STEPS_PER_FOLD, _FEWEST_FOLDS), _MOST_FOLDS), own)
    steps = options.steps or min(possible // folds, MOST_STEPS)
    if steps < (1 if options.steps else FEWEST_STEPS):
        needed = (gone + looks * estimate + folds * FEWEST_STEPS * step) / _PLANNED_TIME / 60
        raise UserError(
            f"{options.minutes:g} minutes are too few on this computer",
            where="--minutes",
            remedy=f"Give at least {int(needed) + 1}, or use a computer with a GPU",
        )
    return Plan(rehearsed, folds, steps, step, estimate)


def measured_once(path: Path, measure: Callable[[], float]) -> float:
    """Seconds that were measured, of this call or an earlier one: what is done already takes no time when resumed.

    Args:
        path: the file that keeps them.
        measure: gives them.
    """
    if path.is_file():
        what, remedy = "a measured time", "Remove it"
        return float(field(read_json_object(path, what, remedy=remedy), "seconds", float, where=path, remedy=remedy))
    seconds = measure()
    write_json(path, {"seconds": seconds})
    return seconds


def read_plan(work: Path) -> Plan | None:
    """The plan of an adaptation that was interrupted; None if it was not planned yet.

    Raises:
        InputError: its file is damaged.
    """
    path = work / _PLAN
    if not path.is_file():
        return None
    what, remedy = "the plan of the adaptation", "Remove the folder and start again"
    return from_json(Plan, read_json_object(path, what, remedy=remedy), what, where=path, remedy=remedy)


def write_plan(work: Path, plan: Plan) -> None:
    """Keep the plan: a resumed adaptation carries it out as it is."""
    write_json(work / _PLAN, vars(plan))


def claim(output: Path, start: Model, cases: list[Case], options: AdaptationOptions) -> dict[str, Any]:
    """Write down in the output folder what is adapted to what; returns the record.

    Raises:
        OutputError: the folder holds another adaptation.
    """
    wanted: dict[str, Any] = {
        "format": _FORMAT,
        "model": start.fingerprint,
        "cases": sorted([case.name, case.volume_path.stat().st_size, case.fetus_present] for case in cases),
        "landmarks": [np.round(np.nan_to_num(case.positions, nan=-1.0), 3).tolist() for case in cases],
        "minutes": options.minutes,
        "seed": options.seed,
        "given": [options.steps, options.folds, options.rehearsal],
    }
    path = output / _RECORD
    if not path.is_file():
        write_json(path, wanted)
        return wanted
    record = read_json_object(path, "the record of the adaptation", remedy=_OTHER)
    if any(record.get(key) != value for key, value in wanted.items()):
        raise OutputError("the folder holds another adaptation", where=output, remedy=_OTHER)
    return record


def finish(output: Path, record: dict[str, Any], outcome: dict[str, Any]) -> None:
    """Write down how it ended."""
    write_json(output / _RECORD, {**record, "outcome": outcome})
