"""`fetusmap reproduce`: the paper's protocol, presets trained and tested in turn on parts of a folder of cases.

Every case is estimated once, by the model that did not see it. Any step may be cut; the next call goes on from there.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from FetusMapV2Lib.cli_evaluate import DeviceOption, write_figures
from FetusMapV2Lib.cli_support import parsed_size, progress_bar, reporter, require_package, say
from FetusMapV2Lib.foundation.errors import InputError, UserError
from FetusMapV2Lib.foundation.files import usable_folder, write_json, write_text

if TYPE_CHECKING:
    from FetusMapV2Lib.evaluation.comparison import CaseSet, Comparison
    from FetusMapV2Lib.evaluation.paper import MemoryFact, PaperTable, RunFact, Size
    from FetusMapV2Lib.evaluation.predictions import Prediction
    from FetusMapV2Lib.foundation.progress import OnProgress
    from FetusMapV2Lib.training.preset import Preset

_FOLDS, _MEMORY = "folds.json", "memory.json"


@dataclass(frozen=True, eq=False)
class Protocol:
    """A cross-validation of some presets.

    Attributes:
        data: folder of cases.
        output: for models, predictions and tables.
        presets: with their overrides applied.
        cases: of `data`.
        parts: names of the cases of each fold.
        seed: of folds, training and bootstrap.
        device: see `PoseEngine.load`.
        threads: of torch, None leaves them alone.
        workers: processes that prepare samples.
        predict_memory: fill in table 4's memory at the paper's sizes, which takes minutes the first time.
    """

    data: Path
    output: Path
    presets: tuple[Preset, ...]
    cases: CaseSet
    parts: tuple[tuple[str, ...], ...]
    seed: int = 0
    device: str = "auto"
    threads: int | None = None
    workers: int = 0
    predict_memory: bool = True


def reproduce(
    data: Annotated[Path, typer.Option("--data", help="Folder of annotated cases: NAME.nrrd with NAME.mrk.json.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for models, predictions and tables.")],
    presets: Annotated[str, typer.Option("--presets", help="Presets, with commas; see `fetusmap presets`.")] = "unet",
    steps: Annotated[int, typer.Option("--steps", min=0, help="Steps of each training (0: the preset's).")] = 0,
    input_size: Annotated[
        Optional[str], typer.Option("--input-size", help="One input size for all presets, longest first.")
    ] = None,
    widths: Annotated[
        Optional[str], typer.Option("--widths", help="Channels per level for all presets, e.g. 16,32,64,96.")
    ] = None,
    folds: Annotated[int, typer.Option("--folds", min=2, help="Parts of the cross-validation; the paper has 2.")] = 2,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of folds, training and bootstrap.")] = 0,
    page: Annotated[
        Optional[Path], typer.Option("--page", help="Also put the tables into this page, between its markers.")
    ] = None,
    memory: Annotated[
        bool, typer.Option("--memory/--no-memory", help="Predict the memory of table 4 (minutes, once).")
    ] = True,
    workers: Annotated[int, typer.Option("--workers", min=0, help="Processes that prepare samples.")] = 0,
    threads: Annotated[int, typer.Option("--threads", min=0, help="Threads of torch (0: its own choice).")] = 0,
    device: DeviceOption = "auto",
) -> None:
    """Train and test presets as the paper did and put its tables 2-8 beside ours. Goes on where it was cut."""
    require_package("lightning", "training", "train")
    require_package("matplotlib", "the figures of an evaluation", "evaluate")
    from FetusMapV2Lib.evaluation.comparison import case_set
    from FetusMapV2Lib.evaluation.page import page_text
    from FetusMapV2Lib.imaging.cases import find_cases

    chosen = _presets(presets, steps, input_size, _widths(widths))
    cases = case_set(find_cases(data))
    if page is not None:
        page_text(page)  # before hours are spent
    parts = settled_folds(usable_folder(output), cases, folds, seed)
    protocol = Protocol(data, output, chosen, cases, parts, seed, device, threads or None, workers, memory)
    with progress_bar() as bar:
        task = bar.add_task("reproducing", total=1.0)
        tables = run_protocol(protocol, on_progress=reporter(bar, task), say=say)
    if page is not None:
        from FetusMapV2Lib.evaluation.page import fill_page

        filled = fill_page(page, {f"reproduce table-{table.number}": table.markdown() for table in tables})
        say(f"{len(filled)} tables put into {page}")
    say(f"Tables and figures in {output}")


def run_protocol(
    protocol: Protocol, *, on_progress: OnProgress | None = None, say: Callable[[str], None] | None = None
) -> tuple[PaperTable, ...]:
    """Train, estimate and write all tables and figures; what an earlier call finished is kept.

    Raises:
        UserError: see `fit` and `predict`; what was finished is kept.
    """
    from FetusMapV2Lib.evaluation.comparison import compare
    from FetusMapV2Lib.evaluation.paper import paper_tables

    predictions: dict[str, list[Prediction]] = {}
    refine: dict[str, str] = {}
    runs: dict[str, RunFact] = {}
    for number, preset in enumerate(protocol.presets):
        refine[preset.name] = preset.refinement.mode
        report = _part_of(on_progress, number, len(protocol.presets))
        predictions[preset.name], runs[preset.name] = _cross_validated(protocol, preset, report, say)
    comparison = compare(protocol.cases, predictions, refine, seed=protocol.seed)
    tables = paper_tables(comparison, runs, _memory_facts(protocol))
    _write(protocol.output, comparison, tables)
    write_figures(protocol.output, comparison, predictions)
    return tables


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
    try:
        noted = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"the folds of an earlier run cannot be read ({error})", where=path) from error
    if noted != note:
        raise UserError(
            "this folder holds a run with other cases, folds or another seed",
            where=path,
            remedy="Go on with the same ones, or choose another folder",
        )
    return dealt


def _deal(cases: CaseSet, folds: int, seed: int) -> tuple[tuple[str, ...], ...]:
    """Cases with a fetus and cases without one spread evenly over the parts."""
    import numpy as np

    with_fetus = int(cases.present.sum())
    if with_fetus < 2 * folds:
        remedy = f"Give at least {2 * folds} cases with landmarks, or fewer folds"
        where = cases.cases[0].landmarks_path.parent
        raise InputError(f"{with_fetus} cases with a fetus are too few for {folds} folds", where=where, remedy=remedy)
    order = np.random.default_rng(seed).permutation(len(cases.cases))
    ranked = sorted(order.tolist(), key=lambda place: not cases.present[place])
    return tuple(tuple(sorted(cases.cases[place].name for place in ranked[n::folds])) for n in range(folds))


def _cross_validated(
    protocol: Protocol, preset: Preset, on_progress: OnProgress | None, say: Callable[[str], None] | None
) -> tuple[list[Prediction], RunFact]:
    """One preset: a model per fold, and each case's prediction by the model that did not see it."""
    from FetusMapV2Lib.estimation.model_file import load_model
    from FetusMapV2Lib.evaluation.paper import RunFact
    from FetusMapV2Lib.evaluation.predictions import ModelChoice, predict
    from FetusMapV2Lib.training.fitting import fit

    found: dict[str, Prediction] = {}
    seconds = []
    for number, tested in enumerate(protocol.parts):
        report = _part_of(on_progress, number, len(protocol.parts))
        path = fit(
            preset,
            protocol.data,
            protocol.output / "runs" / preset.name / f"fold-{number + 1}",
            resume=True,
            device=protocol.device,
            workers=protocol.workers,
            threads=protocol.threads,
            seed=protocol.seed,
            cases=[case.name for case in protocol.cases.cases if case.name not in tested],
            note={"fold": f"{number + 1} of {len(protocol.parts)}"},
            on_progress=_part_of(report, 0, 2),
        )
        model = ModelChoice.of(path, preset.name, preset.refinement.mode)  # type: ignore[arg-type]  # checked there
        answers = predict(
            model,
            [case for case in protocol.cases.cases if case.name in tested],
            protocol.output / "predictions",
            device=protocol.device,
            on_progress=_part_of(report, 1, 2),
            say=say,
        )
        found |= {answer.case: answer for answer in answers}
        facts = load_model(path).info.training
        samples = facts["steps"] * preset.run.batch_size
        seconds.append(facts["seconds"] * preset.samples_per_volume / samples)
    in_order = [found[case.name] for case in protocol.cases.cases]
    return in_order, RunFact(preset.input_size, sum(seconds) / len(seconds), _peak_as_trained(preset))


def _memory_facts(protocol: Protocol) -> dict[tuple[str, Size], MemoryFact]:
    """Predicted memory for the rows of table 4: the paper's network at the paper's sizes, kept in ``memory.json``."""
    from FetusMapV2Lib.evaluation.paper import memory_rows

    path = protocol.output / _MEMORY
    kept = _kept_memory(path)
    facts = {}
    for scheme, size in memory_rows() if protocol.predict_memory else ():
        key = f"{scheme or 'plain'} {'x'.join(map(str, size))}"
        if key not in kept:
            kept[key] = predicted_memory(scheme, size)
            write_json(path, {name: dataclasses.asdict(fact) for name, fact in kept.items()})
        facts[scheme, size] = kept[key]
    return facts


def _kept_memory(path: Path) -> dict[str, MemoryFact]:
    """The predictions of an earlier call; none if they cannot be read, as they are soon made again."""
    from FetusMapV2Lib.evaluation.paper import MemoryFact

    try:
        return {key: MemoryFact(**fact) for key, fact in json.loads(path.read_text(encoding="utf-8")).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def predicted_memory(scheme: str, size: Size, widths: Sequence[int] | None = None) -> MemoryFact:
    """Predicted memory of a training step of the UNet.

    Args:
        scheme: "", a scheme of the paper, or `paper.PLANNER`.
        size: (k, j, i).
        widths: channels per level, the paper's by custom.
    """
    from FetusMapV2Lib.anatomy.schema import default_schema
    from FetusMapV2Lib.evaluation.paper import PLANNER, MemoryFact
    from FetusMapV2Lib.memory.costing import step_without_data
    from FetusMapV2Lib.memory.framework import plan_framework
    from FetusMapV2Lib.memory.meter import on_meta
    from FetusMapV2Lib.memory.planner import plan_training
    from FetusMapV2Lib.network.unet import PAPER_WIDTHS, UNet3d, parameter_bytes

    network = UNet3d(landmarks=default_schema().count, widths=widths or PAPER_WIDTHS)
    if not scheme:
        peak = step_without_data(on_meta(network), (1, 1, *size)).peak_bytes
    else:
        plan = plan_training(network, size) if scheme == PLANNER else plan_framework(network, size, scheme)
        peak = plan.prediction.peak_bytes
    return MemoryFact(peak, parameter_bytes(network))


def _peak_as_trained(preset: Preset) -> int | None:
    """Predicted for a step as the preset runs it; None where its network cannot be planned for."""
    from FetusMapV2Lib.anatomy.schema import default_schema
    from FetusMapV2Lib.memory.costing import step_without_data
    from FetusMapV2Lib.memory.meter import on_meta
    from FetusMapV2Lib.training.module import PoseModule, kept_beside, plan_step

    network = PoseModule(preset, default_schema().count, steps=1).network
    try:
        if preset.memory.manages:
            peak = plan_step(preset, network).prediction.peak_bytes
        else:
            peak = step_without_data(on_meta(network), (preset.run.batch_size, 1, *preset.input_size)).peak_bytes
    except UserError:
        return None
    return peak + kept_beside(preset, network)


def _write(output: Path, comparison: Comparison, tables: Sequence[PaperTable]) -> None:
    """``tables.md`` and ``tables.json``, and what `evaluate` writes."""
    from FetusMapV2Lib.evaluation.comparison import RESEARCH_ONLY
    from FetusMapV2Lib.evaluation.paper import page, paper_figures

    comparison.write(output)
    write_text(output / "tables.md", page(comparison, tables))
    document = {
        "notice": RESEARCH_ONLY,
        "volumes": comparison.cases.volumes,
        "paper": paper_figures()["source"],
        "tables": {str(table.number): table.document() for table in tables},
    }
    write_json(output / "tables.json", document)


def _presets(names: str, steps: int, input_size: str | None, widths: list[int]) -> tuple[Preset, ...]:
    """The presets of a list with commas, with what the options change."""
    from FetusMapV2Lib.training.preset import load_preset

    changes: dict[str, object] = {}
    if steps:
        changes["run.steps"] = steps
    if widths:
        changes["network.widths"] = widths
    size = None if input_size is None else parsed_size(input_size, "--input-size")
    listed = [name.strip() for name in names.split(",") if name.strip()]
    chosen = tuple(_changed(load_preset(name), changes, size) for name in listed)
    called = [preset.name for preset in chosen]
    if not chosen or len(set(called)) < len(called):
        raise UserError("no presets, or one twice", where=f"--presets {names}", remedy="Name each once, with commas")
    return chosen


def _changed(preset: Preset, changes: dict[str, object], size: Size | None) -> Preset:
    """A preset with changes, perhaps at another input size: then patches stay as long in mm as whole views do."""
    if size is None:
        return preset.with_overrides(changes)
    changes = {**changes, "input_size": list(size)}
    if preset.sees_patches:
        spacing = preset.views.patch_spacing_mm * preset.input_size[0] / size[0]
        changes |= {"views.patch_spacing_mm": spacing, "run.cache_spacing_mm": spacing}
    return preset.with_overrides(changes)


def _widths(text: str | None) -> list[int]:
    if text is None:
        return []
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        remedy = "Write for example 16,32,64,96"
        raise InputError("not channels per level", where=f"--widths {text}", remedy=remedy) from error


def _part_of(on_progress: OnProgress | None, number: int, count: int) -> OnProgress | None:
    """Progress of one of several equal parts."""
    if on_progress is None:
        return None
    return lambda fraction, stage: on_progress((number + fraction) / count, stage)
