"""Counterparts of the paper's tables 2-8: its figures (``paper_tables.json``) next to ours.

The paper measured on 1,000 real volumes; ours say on what they were measured in every heading.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.evaluation.accuracy_table import APPLICATION_NAMES, decimal, markdown_table
from FetusMapV2Lib.evaluation.comparison import RESEARCH_ONLY, Comparison, with_bounds
from FetusMapV2Lib.evaluation.model_scores import ModelScores
from FetusMapV2Lib.evaluation.statistics import Interval

_FILE = Path(__file__).with_name("paper_tables.json")
_NOT_RUN = "not run"
#: Stands for our planner among the schemes.
PLANNER = "planner"
Size = tuple[int, int, int]


@dataclass(frozen=True)
class Method:
    """A method of the paper's table 1.

    Attributes:
        name: as the paper writes it.
        preset: our counterpart.
        scheme: of memory management: "", "gcp", "rev" or "gcp+rev".
        input_size: (k, j, i) of the paper.
    """

    name: str
    preset: str
    scheme: str
    input_size: Size


@dataclass(frozen=True)
class MemoryFact:
    """Predicted memory of one training step (live tensors, weights and Adam's state included).

    Attributes:
        peak_bytes: of live tensors.
        parameter_bytes: of the network.
    """

    peak_bytes: int
    parameter_bytes: int


@dataclass(frozen=True)
class RunFact:
    """The resources of training a preset.

    Attributes:
        input_size: (k, j, i) it was trained at.
        seconds_per_volume: mean over the folds, None where the weights are those of a training under another scheme.
        peak_bytes: predicted for a step as it was run, None where the network cannot be planned for.
    """

    input_size: Size
    seconds_per_volume: float | None
    peak_bytes: int | None


@dataclass(frozen=True)
class PaperTable:
    """One counterpart: cells as text, `heading` over it and `note` below."""

    number: int
    heading: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""

    def markdown(self) -> str:
        """As GitHub Markdown."""
        parts = [f"### {self.heading}", markdown_table(self.head, self.rows), self.note]
        return "\n\n".join(part for part in parts if part) + "\n"

    def document(self) -> dict[str, Any]:
        """As JSON data."""
        return {"heading": self.heading, "head": list(self.head), "rows": [list(row) for row in self.rows]}


@lru_cache(maxsize=1)
def paper_figures() -> dict[str, Any]:
    """All figures of the paper's tables, by table number."""
    data: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return data


@lru_cache(maxsize=1)
def paper_methods() -> tuple[Method, ...]:
    """The methods of table 1 and the variants of tables 4-7."""
    return tuple(
        Method(name, one["preset"], one["scheme"].lower(), _as_size(one["input_size"]))
        for name, one in paper_figures()["methods"].items()
    )


def paper_tables(
    comparison: Comparison, runs: Mapping[str, RunFact], memory: Mapping[tuple[str, Size], MemoryFact]
) -> tuple[PaperTable, ...]:
    """Tables 2-8 with the presets of a comparison; the others are shown as not run.

    Args:
        comparison: its models are called as their presets.
        runs: preset -> what its training took.
        memory: predictions for the (scheme, input size) of table 4's rows (`memory_rows`), as far as they were made.
    """
    ours = {model.name: model for model in comparison.models}
    on = f"ours: {comparison.cases.volumes}; the paper: real ones"
    return (
        _landmark_rows(2, "ed_mm", "ED in mm", ours, on),
        _landmark_rows(3, "auc_percent", "AUC in %", ours, on),
        _resources(ours, runs, memory, on),
        *(_ablation(number, ours, on) for number in (5, 6, 7)),
        _applications(ours, on),
    )


def page(comparison: Comparison, tables: Iterable[PaperTable], recipe: str = "") -> str:
    """All tables as one page, with how ours were made (Markdown) before them."""
    head = f"# The paper's tables, on {comparison.cases.volumes}"
    source = paper_figures()["source"]
    text = f'{RESEARCH_ONLY} "Paper" is quoted from {source}. The two columns are of different fetuses and cannot be \
set against each other case by case.'
    parts = [head, text, recipe, *(table.markdown().strip() for table in tables)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _landmark_rows(number: int, key: str, unit: str, ours: Mapping[str, ModelScores], on: str) -> PaperTable:
    """Tables 2 and 3: a row per method, by the paper and by us."""
    rows: list[tuple[str, ...]] = []
    methods = {method.name: method for method in paper_methods()}
    for name, figures in paper_figures()["tables"][str(number)]["methods"].items():
        values = [f"{value:.2f}" for value in figures[key]]
        rows.append((name, "paper", *values, f"{figures[f'mean_{key}']:.2f}"))
        model = ours.get(methods[name].preset)
        rows.append((name, "ours", *(_our_cells(model, key) if model else [_NOT_RUN] * (len(values) + 1))))
    shown = {methods[name].preset for name in paper_figures()["tables"][str(number)]["methods"]}
    rows += [(name, "ours", *_our_cells(model, key)) for name, model in ours.items() if name not in shown]
    head = ("Method", "by", *(f"L{mark.number}" for mark in default_schema().landmarks), "mean")
    return PaperTable(number, f"Table {number}: {unit} ({on})", head, tuple(rows))


def _our_cells(model: ModelScores, key: str) -> list[str]:
    each, mean = _values(model, key)
    return [*(decimal(one.value) for one in each), with_bounds(mean, decimal)]


def _values(model: ModelScores, key: str) -> tuple[list[Interval], Interval]:
    """ED in mm or AUC in %, per landmark and in the mean."""
    column, factor = ("auc", 100.0) if key == "auc_percent" else (key, 1.0)
    each, mean = model.intervals[column]
    scaled = [Interval(one.value * factor, one.low * factor, one.high * factor) for one in (*each, mean)]
    return scaled[:-1], scaled[-1]


def memory_rows() -> tuple[tuple[str, Size], ...]:
    """The (scheme, input size) of table 4's rows, and `PLANNER` at the plain UNet's size."""
    schemes = {method.name: method.scheme for method in paper_methods()}
    rows = [(schemes[row["method"]], _as_size(row["input_size"])) for row in _resource_rows()]
    return tuple(dict.fromkeys([*rows, (PLANNER, rows[0][1])]))


def _resources(
    ours: Mapping[str, ModelScores],
    runs: Mapping[str, RunFact],
    memory: Mapping[tuple[str, Size], MemoryFact],
    on: str,
) -> PaperTable:
    """Table 4: input size, memory, parameters, time and accuracy."""
    head = ("Method", "input size", "memory (GB), paper", "memory, ours", "% of UNet, paper", "% of UNet, ours",
            "parameters (MB), paper", "parameters, ours", "s per volume, paper", "ED (mm), paper", "AUC (%), paper",
            "trained by us at", "memory as trained (GB)", "s per volume, ours", "ED (mm), ours",
            "AUC (%), ours")  # fmt: skip
    methods = {method.name: method for method in paper_methods()}
    plain = memory.get(memory_rows()[0])
    rows: list[tuple[str, ...]] = []
    for row in _resource_rows():
        method, size = methods[row["method"]], _as_size(row["input_size"])
        fact = _memory_cells(memory.get((method.scheme, size)), plain)
        preset = method.preset if size == method.input_size else ""
        said = (
            decimal(row["memory_gb"]), fact[0], _known(row["memory_percent"]), fact[1], decimal(row["parameters_mb"]),
            fact[2], _known(row["seconds_per_volume"]), decimal(row["ed_mm"]), decimal(row["auc_percent"]),
        )  # fmt: skip
        rows.append((method.name, _size(size), *said, *_run_cells(ours.get(preset), runs.get(preset))))
    scheme, size = memory_rows()[-1]
    fact = _memory_cells(memory.get((scheme, size)), plain)
    rows.append(("our planner", _size(size), "", fact[0], "", fact[1], "", fact[2], *[""] * 8))
    note = (
        "Our memory is predicted for a step of the paper's UNet under the same scheme (live tensors, weights and Adam "
        "included, without the workspace of convolutions); the planner's row is the least memory at no more than 1.25 "
        "times the operations. Seconds are those of the machine that trained. A scheme at another network's input size "
        "is not trained again: checkpoints do not change the gradients."
    )
    return PaperTable(4, f"Table 4: resources ({on})", head, tuple(rows), note)


def _memory_cells(fact: MemoryFact | None, plain: MemoryFact | None) -> tuple[str, str, str]:
    """Peak in GB, its percentage of the plain UNet's at the UNet's own size, parameters in MB."""
    if fact is None or plain is None:
        return _NOT_RUN, _NOT_RUN, _NOT_RUN
    share = 100 * fact.peak_bytes / plain.peak_bytes
    return decimal(fact.peak_bytes / 1e9), f"{share:.0f}", decimal(fact.parameter_bytes / 1e6)


def _run_cells(model: ModelScores | None, run: RunFact | None) -> tuple[str, ...]:
    """Size, memory, seconds, ED and AUC of a preset that we trained."""
    if model is None or run is None:
        return (_NOT_RUN,) * 5
    peak = "-" if run.peak_bytes is None else f"{run.peak_bytes / 1e9:.2f}"
    seconds = "-" if run.seconds_per_volume is None else decimal(run.seconds_per_volume)
    accuracy = (with_bounds(_values(model, key)[1], decimal) for key in ("ed_mm", "auc_percent"))
    return (_size(run.input_size), peak, seconds, *accuracy)


def _resource_rows() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = paper_figures()["tables"]["4"]["rows"]
    return rows


def _ablation(number: int, ours: Mapping[str, ModelScores], on: str) -> PaperTable:
    """Tables 5-7: a row per landmark, AUC and ED of some methods."""
    figures = paper_figures()["tables"][str(number)]
    presets = {method.name: method.preset for method in paper_methods()}
    names = list(figures["methods"])
    head = ["Landmark"]
    for unit in ("AUC (%)", "ED (mm)"):
        head += [f"{unit} {name}, {by}" for name in names for by in ("paper", "ours")]
    rows: list[tuple[str, ...]] = []
    marks = figures["landmarks"]
    for place, label in enumerate([*(f"L{number}" for number in marks), "mean"]):
        cells = [label]
        for key in ("auc_percent", "ed_mm"):
            for name in names:
                said = figures["methods"][name]
                model = ours.get(presets[name])
                cells.append(decimal(said[key][place] if place < len(marks) else said[f"mean_{key}"]))
                cells.append(_NOT_RUN if model is None else decimal(_subset(model, key, marks, place)))
        rows.append(tuple(cells))
    titles = {5: "same memory limit", 6: "ablation of the Pair Loss", 7: "ablation of the online refinement"}
    return PaperTable(number, f"Table {number}: {titles[number]} ({on})", tuple(head), tuple(rows))


def _subset(model: ModelScores, key: str, marks: Sequence[int], place: int) -> float:
    """The value of one of some landmarks, or their mean after the last."""
    values = np.array([_values(model, key)[0][number - 1].value for number in marks])
    if place < len(marks):
        return float(values[place])
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def _applications(ours: Mapping[str, ModelScores], on: str) -> PaperTable:
    """Table 8: mean absolute errors."""
    figures = paper_figures()["tables"]["8"]
    presets = {method.name: method.preset for method in paper_methods()}
    said = {presets[name]: (name, values) for name, values in figures["methods"].items()}
    head, rows = ["Mean absolute error"], [[APPLICATION_NAMES[key]] for key in figures["keys"]]
    for preset, (name, values) in said.items():
        head += [f"{name}, paper", f"{name}, ours"]
        for row, key, value in zip(rows, figures["keys"], values, strict=True):
            model = ours.get(preset)
            row += [decimal(value), _NOT_RUN if model is None else with_bounds(model.applications[key], decimal)]
    for preset, model in ours.items():
        if preset not in said:
            head.append(f"{preset}, ours")
            for row, key in zip(rows, figures["keys"], strict=True):
                row.append(with_bounds(model.applications[key], decimal))
    note = (
        "The paper does not define the plane's distance; ours is that of the true plane's middle from the estimated "
        "plane. The angle is between the normals."
    )
    return PaperTable(8, f"Table 8: applications ({on})", tuple(head), tuple(map(tuple, rows)), note)


def _size(size: Sequence[int]) -> str:
    return "x".join(map(str, size))


def _as_size(size: Sequence[int]) -> Size:
    first, second, third = size
    return first, second, third


def _known(value: float | None) -> str:
    return "" if value is None else f"{value:g}"
