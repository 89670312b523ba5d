"""`adapt`: from a model and a few cases of a site to a model that is better there and no less safe, or to none.

Every stage leaves its result in the folder ``work`` of the output; the same call goes on where it was cut off.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from FetusMapV2Lib.adaptation.fine_tuning import averaged, fine_tuned, fine_tuning_preset, tuned_model
from FetusMapV2Lib.adaptation.judging import Side, inside_radius, judge
from FetusMapV2Lib.adaptation.observing import Seen, joined, see
from FetusMapV2Lib.adaptation.options import AdaptationOptions
from FetusMapV2Lib.adaptation.planning import (
    SHARES,
    Plan,
    claim,
    finish,
    measured_once,
    parts_of,
    planned,
    read_plan,
    rehearsal_count,
    write_plan,
)
from FetusMapV2Lib.adaptation.recalibrating import (
    cross_calibrated_inside,
    cross_shifted,
    recalibrated,
    site_shift,
)
from FetusMapV2Lib.adaptation.rehearsal import Rehearsal, make_case, make_rehearsal
from FetusMapV2Lib.adaptation.report import Facts, card_text, report_text, write_report
from FetusMapV2Lib.adaptation.trials import Trial, best_trial
from FetusMapV2Lib.anatomy.landmark_shift import moved_landmarks
from FetusMapV2Lib.core.atomic_files import usable_folder, write_text
from FetusMapV2Lib.core.errors import InputError, ModelError
from FetusMapV2Lib.core.locks import locked
from FetusMapV2Lib.core.progress import OnProgress
from FetusMapV2Lib.core.stop_signals import Stopped
from FetusMapV2Lib.estimation.network_runner import choose_device
from FetusMapV2Lib.models.calibration import Calibration
from FetusMapV2Lib.models.model_file import NOTICE_MIXED, NOTICE_SIMULATED, Model, load_model, save_model
from FetusMapV2Lib.models.model_index import find_model
from FetusMapV2Lib.models.pose_library import canonical_poses, merged_library
from FetusMapV2Lib.training.case_folder import Case, CaseFolder, cases_without_fetus
from FetusMapV2Lib.training.training_options import TrainingOptions

#: With fewer, neither a cross-validation nor a calibration says anything.
FEWEST_CASES = 5
MODEL_FILE, REPORT_FILE, CARD_FILE = "model.safetensors", "report.md", "model-card.md"
_LOCK, _WORK = ".adaptation.lock", "work"
#: Steps whose time is measured, after as many to warm up.
_TIMED_STEPS = 4


@dataclass(frozen=True)
class Adapted:
    """How an adaptation ended.

    Attributes:
        model: the new model's file; None if it was refused.
        report: the report's text, Markdown.
        objections: why it was refused; nothing if it was kept.
    """

    model: Path | None
    report: str
    objections: tuple[str, ...]


def adapt(
    data: str | os.PathLike[str],
    output: str | os.PathLike[str],
    options: AdaptationOptions | None = None,
    *,
    on_progress: OnProgress | None = None,
    say: Callable[[str], None] | None = None,
) -> Adapted:
    """Adapt a model to a site's own cases.

    Args:
        data: folder of annotated cases, at least five with a fetus; those without one test the presence threshold.
        output: folder for the model, its card, the report and tables; while it runs, for everything in between.
        options: model, time, seed, device.
        on_progress: called with the fraction done and what is being done.
        say: called with sentences for the user.

    Raises:
        InputError: fewer than five cases.
        ModelError: a model that is not calibrated, or does not say how it was trained.
        OutputError: the folder holds another adaptation, is in use, or the disk is full; what was finished is kept.
        Stopped: a stop was asked for; the same call goes on from there.
    """
    options = options or AdaptationOptions()
    folder = Path(output)
    start, cases = _checked_start(options), _own_cases(data, options)
    with locked(usable_folder(folder) / _LOCK, "this folder of an adaptation", remedy="Wait for its end"):
        record = claim(folder, start, cases, options)
        if "outcome" in record and (record["outcome"]["objections"] or (folder / MODEL_FILE).is_file()):
            return _earlier(folder, record["outcome"])
        work = _Adaptation(start, cases, folder, options, on_progress, say or (lambda text: None))
        try:
            adapted = work.run()
        except Stopped as stop:
            stop.kept = f"Stopped; what was finished is kept in {folder}: the same command goes on from there."
            raise
        finish(folder, record, {"objections": list(adapted.objections)})
        shutil.rmtree(folder / _WORK, ignore_errors=True)
        return adapted


def _earlier(folder: Path, outcome: dict[str, list[str]]) -> Adapted:
    """The result of an adaptation that had ended."""
    objections = tuple(outcome.get("objections", ()))
    report = folder / REPORT_FILE
    text = report.read_text(encoding="utf-8") if report.is_file() else ""
    return Adapted(None if objections else folder / MODEL_FILE, text, objections)


def _checked_start(options: AdaptationOptions) -> Model:
    model = load_model(find_model(options.model))
    if model.calibration is None or not model.calibration.cases:
        remedy = "Calibrate it first, or start from another model"
        raise ModelError("the model to start from is not calibrated", where=model.info.name, remedy=remedy)
    fine_tuning_preset(model, 1)
    return model


def _own_cases(data: str | os.PathLike[str], options: AdaptationOptions) -> list[Case]:
    cases = CaseFolder(data).cases
    present = sum(case.fetus_present for case in cases)
    if present < FEWEST_CASES:
        raise InputError(
            f"{present} cases with a fetus are too few to adapt to",
            where=data,
            remedy=f"Annotate at least {FEWEST_CASES}; ten are clearly better",
        )
    if options.negatives is not None:
        cases = [*cases, *cases_without_fetus(options.negatives)]
    return cases


@dataclass
class _Adaptation:
    """The stages of one adaptation."""

    start: Model
    cases: list[Case]
    output: Path
    options: AdaptationOptions
    on_progress: OnProgress | None
    say: Callable[[str], None]
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.device = choose_device(self.options.device)
        self.work = usable_folder(self.output / _WORK)
        if self.options.threads is not None:
            torch.set_num_threads(self.options.threads)
        assert self.start.calibration is not None
        self.earlier: Calibration = self.start.calibration

    def run(self) -> Adapted:
        """All stages."""
        plan, rehearsal = self._prepared()
        own_before = self._see(self.start, self.cases, "before")
        simulated_before = self._see(self.start, rehearsal.held_out, "before-simulated")
        parts = parts_of(self.cases, plan.folds, self.options.seed)
        folds = [self._fold(number, parts, plan, rehearsal, own_before) for number in range(plan.folds)]
        sites = {share: [self._see_part(fold, n, parts, share) for n, fold in enumerate(folds)] for share in SHARES}
        sites[0.0] = [_of(own_before, part) for part in parts]
        choices = {share: cross_shifted(joined(seen), self.earlier).error_mm for share, seen in sites.items()}
        before_site = joined(sites[0.0])
        before = Side(before_site, simulated_before, self.earlier, inside_radius(before_site, self.earlier))
        trial, passed_over = best_trial(
            choices,
            before_site.error_mm,
            lambda share: self._trial(share, sites[share], folds, rehearsal, before),
        )
        facts = self._facts(plan, choices, before_site.error_mm, trial, passed_over)
        write_report(self.output, facts, before_site, trial.after.site)
        text = report_text(facts)
        if facts.judgement.objections:
            return Adapted(None, text, facts.judgement.objections)
        self._write_model(trial.model, trial.after.calibration, facts)
        return Adapted(self.output / MODEL_FILE, text, ())

    def _prepared(self) -> tuple[Plan, Rehearsal]:
        """The plan, of an earlier call or by measured times, and the simulated cases."""
        folder = usable_folder(self.work / "simulated")
        plan = read_plan(self.work)
        if plan is not None:
            return plan, make_rehearsal(folder, plan.rehearsal, self.start, say=self._progress)
        self._progress("simulating", 0.0)
        case_s = measured_once(self.work / "case-seconds.json", lambda: make_case(folder, 0, self.start))
        count = rehearsal_count(self.options, case_s)
        rehearsal = make_rehearsal(folder, count, self.start, say=lambda what, part: self._progress(what, 0.1 * part))
        self._progress("the model before", 0.1)
        estimate_s = measured_once(self.work / "estimate-seconds.json", self._estimate_seconds)
        given = self.options.steps and self.options.folds
        step_s = 0.0 if given else self._step_seconds(rehearsal)
        gone = time.monotonic() - self.started
        plan = planned(self.options, len(self.cases), len(rehearsal.held_out), count, (gone, step_s, estimate_s))
        write_plan(self.work, plan)
        self.say(f"{plan.folds} folds of {plan.steps} steps each; {count} simulated cases.")
        return plan, rehearsal

    def _estimate_seconds(self) -> float:
        """Seconds of an estimate, from those of all cases by the model before."""
        began = time.monotonic()
        self._see(self.start, self.cases, "before")
        return (time.monotonic() - began) / len(self.cases)

    def _step_seconds(self, rehearsal: Rehearsal) -> float:
        """Seconds of a training step."""
        times: list[float] = []
        folder = self.work / "timing"
        shutil.rmtree(folder, ignore_errors=True)
        fine_tuned(
            self.start,
            self.cases,
            self.earlier.shift,
            rehearsal.training,
            fine_tuning_preset(self.start, 2 * _TIMED_STEPS),
            folder,
            self._training_options(),
            self.device[0],
            lambda fraction, stage: times.append(time.monotonic()),
        )
        shutil.rmtree(folder, ignore_errors=True)
        return float(np.median(np.diff(times[_TIMED_STEPS - 1 :])))

    def _fold(self, number: int, parts: Sequence[list[Case]], plan: Plan, rehearsal: Rehearsal, before: Seen) -> Path:
        """Train without one part and look at it with each share of the new weights; the folder of the results."""
        name = f"fold-{number + 1}"
        folder = self.work / name
        if all((folder / f"own-{share:g}.json").is_file() for share in SHARES):
            return folder
        others = [case for place, part in enumerate(parts) if place != number for case in part]
        at, width = 0.2 + 0.75 * number / plan.folds, 0.75 / plan.folds
        self._progress(f"fold {number + 1} of {plan.folds}", at)
        tuned = fine_tuned(
            self.start,
            others,
            site_shift(_of(before, others).values, self.earlier),
            rehearsal.training,
            fine_tuning_preset(self.start, plan.steps),
            folder,
            self._training_options(),
            self.device[0],
            lambda fraction, stage: self._progress(f"{name}: {stage}", min(at + width * fraction, 1.0)),
        )
        for share in SHARES:
            self._see(averaged(self.start, [tuned], share), parts[number], f"{name}/own-{share:g}")
        for path in folder.glob("*.ckpt"):
            path.unlink()  # large, and no longer needed
        return folder

    def _trial(
        self, share: float, parts: Sequence[Seen], folds: Sequence[Path], rehearsal: Rehearsal, before: Side
    ) -> Trial:
        """Judge a share of the new weights, calibrated as its model would be."""
        model, simulated = self.start, before.simulated
        if share:
            self._progress(f"{share:g} of the new weights", 0.95)
            model = averaged(self.start, [tuned_model(folder) for folder in folds], share)
            # where the site has its landmarks is no part of what can be forgotten: they lie as before here
            simulated = self._see(model, rehearsal.held_out, f"after-simulated-{share:g}")
        remarks: list[str] = []
        site = joined(parts)
        calibration = recalibrated(site, simulated, self.earlier, remarks.append)
        inside = cross_calibrated_inside(parts, simulated, self.earlier)
        after = Side(cross_shifted(site, self.earlier), simulated, calibration, inside)
        return Trial(share, model, after, tuple(remarks), judge(before, after))

    def _see_part(self, fold: Path, number: int, parts: Sequence[list[Case]], share: float) -> Seen:
        return self._see(self.start, parts[number], f"{fold.name}/own-{share:g}")

    def _training_options(self) -> TrainingOptions:
        folder = str(self.work / "reduced")
        return TrainingOptions(seed=self.options.seed, cache_dir=folder, threads=self.options.threads)

    def _see(self, model: Model, cases: Sequence[Case], name: str) -> Seen:
        path = self.work / f"{name}.json"
        usable_folder(path.parent)
        return see(model, cases, self.device, path)

    def _facts(
        self,
        plan: Plan,
        choices: Mapping[float, float],
        before_mm: float,
        trial: Trial,
        passed_over: Mapping[float, Sequence[str]],
    ) -> Facts:
        own = sum(case.fetus_present for case in self.cases)
        notice = self.start.info.notice
        return Facts(
            start=self.start.identity,
            notice=NOTICE_MIXED if notice == NOTICE_SIMULATED else notice,
            own=own,
            empty=len(self.cases) - own,
            plan=plan,
            share=trial.share,
            choices=choices,
            before_mm=before_mm,
            moved=moved_landmarks(trial.after.calibration.shift, self.earlier.shift),
            passed_over=passed_over,
            remarks=trial.remarks,
            judgement=trial.judgement,
        )

    def _write_model(self, final: Model, calibration: Calibration, facts: Facts) -> None:
        """The model file and its card."""
        info = self.start.info
        name = f"{info.name}-adapted"
        card = card_text(facts, name)
        template = self.start.template
        poses = np.stack([calibration.as_seen(case.positions, template) for case in self.cases if case.fetus_present])
        library, added = merged_library(canonical_poses(poses, template), self.start.poses)
        before = info.training.get("poses_added", 0)
        training = {
            **info.training,
            "adapted_from": self.start.identity,
            "adapted_to_cases": facts.own,
            "adapted_steps": facts.plan.steps if facts.share else 0,
            "poses_added": (before if type(before) is int else 0) + added,
        }
        evaluation = {**info.evaluation, "adaptation": facts.document(), "card": card}
        changed = replace(final, poses=library, calibration=calibration).with_info(
            name=name, training=training, evaluation=evaluation, notice=facts.notice
        )
        save_model(self.output / MODEL_FILE, changed)
        write_text(self.output / CARD_FILE, card)

    def _progress(self, stage: str, fraction: float) -> None:
        if self.on_progress is not None:
            self.on_progress(fraction, stage)


def _of(seen: Seen, cases: Sequence[Case]) -> Seen:
    """What was seen in some of the cases."""
    names = {present: [case.name for case in cases if case.fetus_present == present] for present in (True, False)}
    return seen.chosen(names[True], names[False])
