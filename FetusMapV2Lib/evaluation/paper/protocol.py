"""The cross-validation: every case is estimated once per preset, by the model that did not see it.

Any step may be interrupted; the next call continues from there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from FetusMapV2Lib.core.atomic_files import write_json, write_text
from FetusMapV2Lib.core.errors import InputError, UserError
from FetusMapV2Lib.core.json_files import read_json
from FetusMapV2Lib.core.progress import OnProgress
from FetusMapV2Lib.evaluation.case_set import CaseSet
from FetusMapV2Lib.evaluation.comparison import RESEARCH_ONLY, Comparison, compare
from FetusMapV2Lib.evaluation.figures import write_figures
from FetusMapV2Lib.evaluation.paper.memory_facts import memory_facts, peak_as_trained
from FetusMapV2Lib.evaluation.paper.recipes import Recipe, recipe_text
from FetusMapV2Lib.evaluation.paper.sharing import fold_folder, settled_trainings, shared_model
from FetusMapV2Lib.evaluation.paper.tables import PaperTable, RunFact, page, paper_figures, paper_tables
from FetusMapV2Lib.evaluation.predictions import ModelChoice, Prediction, predict
from FetusMapV2Lib.models.model_file import read_info
from FetusMapV2Lib.training.fitting import train
from FetusMapV2Lib.training.preset import Preset
from FetusMapV2Lib.training.training_options import TrainingOptions

_FOLDS, _MEMORY = "folds.json", "memory.json"
Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Protocol:
    """A cross-validation of some presets.

    Attributes:
        data: folder of cases.
        output: for models, predictions and tables.
        recipes: the presets as they are run, next to the paper's.
        cases: of `data`.
        parts: names of the cases of each fold.
        seed: of folds, training and bootstrap.
        device: see `PoseEngine.load`.
        threads: of torch, None leaves them alone.
        workers: processes that prepare samples.
        prepare_on: "cpu" or "device", see `train`.
        predict_memory: fill in table 4's memory at the paper's sizes, which takes minutes the first time.
    """

    data: Path
    output: Path
    recipes: tuple[Recipe, ...]
    cases: CaseSet
    parts: tuple[tuple[str, ...], ...]
    seed: int = 0
    device: str = "auto"
    threads: int | None = None
    workers: int = 0
    prepare_on: str = "cpu"
    predict_memory: bool = True

    @property
    def presets(self) -> tuple[Preset, ...]:
        """As they are run."""
        return tuple(recipe.preset for recipe in self.recipes)

    @property
    def runs(self) -> Path:
        """Folder of trainings and models."""
        return self.output / "runs"


@dataclass(frozen=True)
class Reproduced:
    """The result: the tables of the paper next to ours, and how ours were made (Markdown)."""

    tables: tuple[PaperTable, ...]
    recipe: str

    def blocks(self) -> dict[str, str]:
        """By the names of their places in a page."""
        tables = {f"reproduce table-{table.number}": table.markdown() for table in self.tables}
        return {"reproduce recipe": self.recipe, **tables}


@dataclass(frozen=True, eq=False)
class Outcome:
    """All estimates, and the resources of their trainings.

    Attributes:
        predictions: preset -> the answers for all cases.
        comparison: of the presets on the cases.
        runs: preset -> size, time and memory of its training.
        weights: preset -> the preset whose weights it has.
    """

    predictions: Mapping[str, Sequence[Prediction]]
    comparison: Comparison
    runs: Mapping[str, RunFact]
    weights: Mapping[str, str]


def run_protocol(protocol: Protocol, *, on_progress: OnProgress | None = None, say: Say | None = None) -> Reproduced:
    """Train, estimate and write all tables and figures; results of earlier calls are reused.

    Raises:
        UserError: see `train` and `predict`; finished results are kept.
    """
    outcome = cross_validate(protocol, on_progress=on_progress, say=say)
    result = compare_with_paper(protocol, outcome)
    _write(protocol.output, outcome.comparison, result)
    write_figures(protocol.output, outcome.comparison, outcome.predictions)
    return result


def cross_validate(protocol: Protocol, *, on_progress: OnProgress | None = None, say: Say | None = None) -> Outcome:
    """Train every preset that needs its own training, and estimate every case with every preset.

    Raises:
        UserError: see `run_protocol`.
    """
    trained = settled_trainings(protocol.runs, protocol.presets)
    predictions: dict[str, list[Prediction]] = {}
    runs: dict[str, RunFact] = {}
    for number, preset in enumerate(protocol.presets):
        report = _part_of(on_progress, number, len(protocol.presets))
        predictions[preset.name], runs[preset.name] = _one_preset(protocol, preset, trained[preset.name], report, say)
    refine = {preset.name: preset.refinement.mode for preset in protocol.presets}
    comparison = compare(protocol.cases, predictions, refine, seed=protocol.seed)
    return Outcome(predictions, comparison, runs, {name: preset.name for name, preset in trained.items()})


def run_fold(protocol: Protocol, number: int, *, on_progress: OnProgress | None = None, say: Say | None = None) -> None:
    """Train and estimate one fold (from 0) of every preset, for processes that share the work; no tables.

    Raises:
        UserError: there is no such fold; see `run_protocol`.
    """
    if not 0 <= number < len(protocol.parts):
        raise UserError(
            f"there is no fold {number + 1}", where="--fold", remedy=f"Choose from 1 to {len(protocol.parts)}"
        )
    trained = settled_trainings(protocol.runs, protocol.presets)
    for place, preset in enumerate(protocol.presets):
        report = _part_of(on_progress, place, len(protocol.presets))
        _one_fold(protocol, preset, trained[preset.name], number, report, say)


def run_training(protocol: Protocol, trained: Preset, presets: Sequence[Preset], number: int) -> None:
    """Train one fold (from 0) of one preset, and estimate that fold with every preset that has its weights.

    Raises:
        UserError: see `run_protocol`.
    """
    for preset in presets:
        _one_fold(protocol, preset, trained, number, None, None)


def compare_with_paper(protocol: Protocol, outcome: Outcome) -> Reproduced:
    """The paper's tables next to ours, and how ours were made."""
    memory = memory_facts(protocol.output / _MEMORY) if protocol.predict_memory else {}
    text = recipe_text(protocol.recipes, outcome.weights, _about_cases(protocol))
    return Reproduced(paper_tables(outcome.comparison, outcome.runs, memory), text)


def settled_folds(output: Path, cases: CaseSet, folds: int, seed: int) -> tuple[tuple[str, ...], ...]:
    """The parts of the cross-validation: dealt at random, once; kept in ``folds.json``.

    Raises:
        UserError: too few cases, or an earlier call dealt other cases, folds or another seed.
    """
    dealt = _deal(cases, folds, seed)
    path = output / _FOLDS
    note: dict[str, Any] = {"seed": seed, "folds": [list(part) for part in dealt]}
    if not path.exists():
        write_json(path, note)
        return dealt
    noted = read_json(path, "the file of the folds of an earlier run", remedy="Choose another folder")
    if noted != note:
        raise UserError(
            "this folder holds a run with other cases, folds or another seed",
            where=path,
            remedy="Use the same ones, or choose another folder",
        )
    return dealt


def _deal(cases: CaseSet, folds: int, seed: int) -> tuple[tuple[str, ...], ...]:
    """Cases with a fetus and cases without one spread evenly over the parts."""
    with_fetus = int(cases.present.sum())
    if with_fetus < 2 * folds:
        remedy = f"Give at least {2 * folds} cases with landmarks, or fewer folds"
        where = cases.cases[0].landmarks_path.parent
        raise InputError(f"{with_fetus} cases with a fetus are too few for {folds} folds", where=where, remedy=remedy)
    order = np.random.default_rng(seed).permutation(len(cases.cases))
    ranked = sorted(order.tolist(), key=lambda place: not cases.present[place])
    return tuple(tuple(sorted(cases.cases[place].name for place in ranked[n::folds])) for n in range(folds))


def _one_preset(
    protocol: Protocol, preset: Preset, trained: Preset, on_progress: OnProgress | None, say: Say | None
) -> tuple[list[Prediction], RunFact]:
    """A model per fold, and each case's prediction by the model that did not see it."""
    found: dict[str, Prediction] = {}
    seconds = []
    for number in range(len(protocol.parts)):
        report = _part_of(on_progress, number, len(protocol.parts))
        path, answers = _one_fold(protocol, preset, trained, number, report, say)
        found |= {answer.case: answer for answer in answers}
        facts = read_info(path).training
        volumes = facts["steps"] * preset.run.batch_size / preset.samples_per_volume
        seconds.append(facts["seconds"] / volumes)
    in_order = [found[case.name] for case in protocol.cases.cases]
    # a step under another memory scheme would have taken another time
    timed = sum(seconds) / len(seconds) if preset.memory == trained.memory else None
    return in_order, RunFact(preset.input_size, timed, peak_as_trained(preset))


def _one_fold(
    protocol: Protocol, preset: Preset, trained: Preset, number: int, on_progress: OnProgress | None, say: Say | None
) -> tuple[Path, list[Prediction]]:
    """The model that did not see a part (from 0), and its answers for that part."""
    path = _model(protocol, preset, trained, number, _part_of(on_progress, 0, 2))
    answers = predict(
        ModelChoice.of(path, preset.name, preset.refinement.mode),  # type: ignore[arg-type]  # checked there
        [case for case in protocol.cases.cases if case.name in protocol.parts[number]],
        protocol.output / "predictions",
        device=protocol.device,
        on_progress=_part_of(on_progress, 1, 2),
        say=say,
    )
    return path, answers


def _model(protocol: Protocol, preset: Preset, trained: Preset, number: int, on_progress: OnProgress | None) -> Path:
    """The model of a preset that did not see a part, trained or taken from the training that it shares."""
    tested = protocol.parts[number]
    options = TrainingOptions(
        seed=protocol.seed,
        cases=[case.name for case in protocol.cases.cases if case.name not in tested],
        resume=True,
        device=protocol.device,
        threads=protocol.threads,
        workers=protocol.workers,
        prepare_on=protocol.prepare_on,
        export="last",  # as the paper's systems are
        note={"fold": f"{number + 1} of {len(protocol.parts)}"},
    )
    folder = fold_folder(protocol.runs, trained, number)
    path = train(trained, protocol.data, folder, options, on_progress=on_progress)
    return shared_model(path, trained, preset, fold_folder(protocol.runs, preset, number))


def _about_cases(protocol: Protocol) -> str:
    present = protocol.cases.present
    return (
        f"{int(present.sum())} {protocol.cases.volumes} with a fetus and {int((~present).sum())} without, in "
        f"{len(protocol.parts)} folds (the paper: 1000 real volumes, 2 folds); seed {protocol.seed}."
    )


def _write(output: Path, comparison: Comparison, result: Reproduced) -> None:
    """``tables.md`` and ``tables.json``, and what `evaluate` writes."""
    comparison.write(output)
    write_text(output / "tables.md", page(comparison, result.tables, result.recipe))
    document = {
        "notice": RESEARCH_ONLY,
        "volumes": comparison.cases.volumes,
        "paper": paper_figures()["source"],
        "recipe": result.recipe,
        "tables": {str(table.number): table.document() for table in result.tables},
    }
    write_json(output / "tables.json", document)


def _part_of(on_progress: OnProgress | None, number: int, count: int) -> OnProgress | None:
    """Progress of one of several equal parts."""
    if on_progress is None:
        return None
    return lambda fraction, stage: on_progress((number + fraction) / count, stage)
