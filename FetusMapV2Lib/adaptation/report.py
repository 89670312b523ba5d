"""What is written of an adaptation: the report, the model card, and tables for programs."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from FetusMapV2Lib.adaptation.judging import Judgement, Measure
from FetusMapV2Lib.adaptation.observing import LOST_MM, Seen
from FetusMapV2Lib.adaptation.planning import Plan
from FetusMapV2Lib.core.atomic_files import write_text
from FetusMapV2Lib.core.serialisation import to_json
from FetusMapV2Lib.core.version import SOFTWARE
from FetusMapV2Lib.evaluation.accuracy_table import decimal, markdown_table, percent
from FetusMapV2Lib.evaluation.comparison import with_bounds
from FetusMapV2Lib.evaluation.statistics import Interval

_SHARES = ("found", "shown", "false_alarms", "in_radius")


@dataclass(frozen=True, eq=False)
class Facts:
    """What was done.

    Attributes:
        start: identity of the model before.
        notice: shown with its results.
        own, empty: numbers of the site's cases with and without a fetus.
        plan: how the time was spent.
        share: of the fine-tuned weights; 0 = landmarks are moved and nothing else.
        choices: mean distance by share, a tenth of what is beyond `LOST_MM`, on cases that were not trained on.
        before_mm: that of the model before.
        moved: which landmarks lie elsewhere than with the model before.
        passed_over: shares that were tried before that one was taken, and what speaks against each.
        remarks: on the calibration.
        judgement: before and after.
    """

    start: str
    notice: str
    own: int
    empty: int
    plan: Plan
    share: float
    choices: Mapping[float, float]
    before_mm: float
    moved: str
    passed_over: Mapping[float, Sequence[str]]
    remarks: Sequence[str]
    judgement: Judgement

    def document(self) -> dict[str, Any]:
        """Plain JSON values, also for the model file."""
        return {
            "software": SOFTWARE,
            "start": self.start,
            "cases": self.own,
            "cases_without_fetus": self.empty,
            "folds": self.plan.folds,
            "steps": self.plan.steps,
            "share_of_new_weights": self.share,
            "moved": self.moved,
            "objections": list(self.judgement.objections),
            "measures": [to_json(measure) for measure in self.judgement.measures],
        }


def report_text(facts: Facts) -> str:
    """The report as Markdown."""
    if facts.judgement.objections:
        said = "**Refused**: " + "; ".join(facts.judgement.objections) + ". No model was written."
    else:
        said = "**Kept**: the adapted model is better on the site's cases, and no worse where it was good."
    choices = ", ".join(f"{share:g}: {decimal(error)} mm" for share, error in sorted(facts.choices.items()))
    parts = [
        "# Adaptation of a model",
        said,
        f"Start: {facts.start}. {facts.own} cases with a fetus and {facts.empty} without; {facts.plan.rehearsal} "
        f"simulated cases; {facts.plan.folds} folds, each of {facts.plan.steps} steps.",
        measures_table(facts.judgement.measures),
        "The site's cases were each estimated by a model that had not learned from them. In brackets: 95 % intervals "
        "(bootstrap over cases; exact for shares of cases).",
        f"Share of the fine-tuned weights: {facts.share:g}, chosen by the mean distance on the site's cases, a tenth "
        f"of what is beyond {LOST_MM:g} mm, none of them trained on ({choices}; the model before: "
        f"{decimal(facts.before_mm)} mm). "
        "With 0, landmarks are moved and nothing else.",
        f"{facts.moved} Each case's distance above has them moved as the other cases say.",
    ]
    why = {share: "; ".join(objections) for share, objections in facts.passed_over.items()}
    remarks = [*(f"A share of {share:g} is passed over: {text}." for share, text in why.items()), *facts.remarks]
    if remarks:
        parts.append("\n".join(f"- {remark}" for remark in remarks))
    return "\n\n".join(parts) + "\n"


def card_text(facts: Facts, name: str) -> str:
    """The card of the adapted model as Markdown."""
    return (
        f"# Model card: {name}\n\n"
        f"{facts.notice}\n\n"
        f"- **What it is**: {_what_it_is(facts)}\n"
        f"- **For**: volumes like these, of fetuses of 10-15 weeks; for research. Not for diagnosis.\n"
        f"- **Calibration**: that of the model before, moved towards these cases. In volumes of another device, errors "
        "may be larger than the radii say.\n"
        f"- **Pose library**: that of the model before and the poses of the site's cases.\n"
        f"- **Made by**: {SOFTWARE}, {facts.plan.folds} folds of {facts.plan.steps} steps.\n\n"
        "## Before and after\n\n"
        f"{measures_table(facts.judgement.measures)}\n\n"
        "The site's cases were each estimated by a model that knew nothing of them; the model in the file knows all.\n"
    )


def _what_it_is(facts: Facts) -> str:
    cases = f"{facts.own} annotated cases of one site"
    if not facts.share:
        return f"{facts.start}, its weights as they were, its landmarks moved to where {cases} have them. {facts.moved}"
    new = f"the mean of these weights averaged with those before ({facts.share:g} new)"
    tuned = f"fine-tuned {facts.plan.folds} times on parts of {cases}, {new}"
    return f"{facts.start}, {tuned}, its landmarks moved to where those cases have them. {facts.moved}"


def measures_table(measures: Sequence[Measure]) -> str:
    """Before and after as a Markdown table."""
    rows = []
    for one in measures:
        shown = percent if one.key in _SHARES else decimal
        change = "" if one.difference is None else with_bounds(one.difference, shown)
        cells = (with_bounds(one.before, shown), with_bounds(one.after, shown), change)
        rows.append((f"{one.name}, {one.cases}", str(one.count), *cells))
    return markdown_table(("measure", "cases", "before", "after", "change"), rows)


def write_report(output: Path, facts: Facts, before: Seen, after: Seen) -> None:
    """Write ``report.md``, ``results.csv`` and ``cases.csv``.

    Args:
        output: folder.
        facts: what was done.
        before: of the site's cases.
        after: of the same cases in the same order.

    Raises:
        OutputError: one cannot be written.
    """
    write_text(output / "report.md", report_text(facts))
    write_text(output / "results.csv", _results_csv(facts.judgement.measures))
    lines = [["case", "before_mm", "after_mm", "before_score", "after_score"]]
    columns = (before.case_errors_mm, after.case_errors_mm, before.values.detection_score, after.values.detection_score)
    lines += [[name, *(_number(column[row]) for column in columns)] for row, name in enumerate(before.names)]
    write_text(output / "cases.csv", _csv(lines))


def _results_csv(measures: Sequence[Measure]) -> str:
    ends = ("", "_low", "_high")
    lines = [["measure", "cases", "n", *(f"{side}{end}" for side in ("before", "after", "change") for end in ends)]]
    nothing = Interval(math.nan, math.nan, math.nan)
    for one in measures:
        intervals = (one.before, one.after, one.difference or nothing)
        numbers = (_number(value) for each in intervals for value in (each.value, each.low, each.high))
        lines.append([one.key, one.cases, str(one.count), *numbers])
    return _csv(lines)


def _number(value: float) -> str:
    return repr(round(float(value), 4)) if math.isfinite(value) else ""


def _csv(lines: Sequence[Sequence[str]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(lines)
    return out.getvalue()
