"""`evaluate`: models on a folder of annotated cases, from the volumes to tables and figures."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from FetusMapV2Lib.core.atomic_files import usable_folder
from FetusMapV2Lib.core.progress import CaseRunner, OnProgress, run_directly
from FetusMapV2Lib.estimation.estimate import RefineMode, check_mode
from FetusMapV2Lib.evaluation.case_set import case_set
from FetusMapV2Lib.evaluation.comparison import Comparison, compare
from FetusMapV2Lib.evaluation.figures import write_figures
from FetusMapV2Lib.evaluation.predictions import chosen_models, predict
from FetusMapV2Lib.imaging.training_cases import find_cases


def evaluate(
    cases: str | os.PathLike[str],
    output: str | os.PathLike[str],
    models: Sequence[str] = (),
    *,
    refine: RefineMode = "off",
    device: str = "auto",
    seed: int = 0,
    on_progress: OnProgress | None = None,
    say: Callable[[str], None] | None = None,
    case_runner: Callable[[str], CaseRunner] = lambda stage: run_directly,
) -> Comparison:
    """Score models on annotated cases, and write tables with 95 % intervals, paired tests and figures.

    Predictions that an earlier call left in `output` are used again, if model, volume and refinement are the same.

    Args:
        cases: folder of annotated cases: ``NAME.nrrd`` with ``NAME.mrk.json``.
        output: folder for predictions, tables and figures.
        models: names or files of models, or ``LABEL=FILE``; none = the default model.
        refine: "off", "prior" or "full", for all models.
        device: see `PoseEngine.load`.
        seed: of the bootstrap.
        on_progress: called with the fraction done, and the model and case at work.
        say: called with a sentence on each new prediction.
        case_runner: gives what handles the errors of one stage ("truth", or the name of a model); a case that it drops
            is left out for all models. By default every error ends the evaluation.

    Raises:
        UserError: a case, a model or the refinement cannot be used; predictions that were finished are kept.

    Examples:
        >>> comparison = fm.evaluate(".", "scores", device="cpu")  # case-0000 is in this folder
        >>> [(model.name, model.found.value) for model in comparison.models]
        [('simulated-9', 1.0)]
        >>> sorted(path.name for path in Path("scores").glob("*.csv"))
        ['landmarks.csv', 'summary.csv']
    """
    check_mode(refine)
    chosen = chosen_models(models, refine)
    truth = case_set(find_cases(cases), case_runner("truth"))
    folder = usable_folder(Path(output))
    answers = {}
    for number, model in enumerate(chosen):
        answers[model.name] = predict(
            model,
            truth.cases,
            folder / "predictions",
            device=device,
            on_progress=_share_of(on_progress, number, len(chosen), model.name),
            say=say,
            run_case=case_runner(model.name),
        )
    usable = truth.only(set.intersection(*({answer.case for answer in found} for found in answers.values())))
    names = {case.name for case in usable.cases}
    predictions = {name: [answer for answer in found if answer.case in names] for name, found in answers.items()}
    comparison = compare(usable, predictions, {model.name: model.refine for model in chosen}, seed=seed)
    comparison.write(folder)
    write_figures(folder, comparison, predictions)
    return comparison


def _share_of(on_progress: OnProgress | None, number: int, count: int, name: str) -> OnProgress | None:
    """The progress of one model among `count`."""
    if on_progress is None:
        return None
    tell = on_progress
    return lambda fraction, case: tell((number + fraction) / count, f"{name}: {case}")
