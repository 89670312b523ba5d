"""Callbacks of a training run: weight averaging, checkpoints, validation, progress and the model file."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from torch.utils.data import DataLoader

from FetusMapV2Lib.anatomy.laterality import resolve_sides
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.progress import OnProgress
from FetusMapV2Lib.core.stop_signals import ask_to_stop, stop_signals, stopped
from FetusMapV2Lib.memory.plan import MemoryPlan
from FetusMapV2Lib.network.heatmap import decode
from FetusMapV2Lib.training.checkpoints import write_checkpoint
from FetusMapV2Lib.training.lightning_loading import pl
from FetusMapV2Lib.training.pose_module import PoseModule
from FetusMapV2Lib.training.ranks import Ranks
from FetusMapV2Lib.training.samples import VIEW_NAMES, ValidationViews, points_inside

_LOG = logging.getLogger(__name__)
#: Key of a checkpoint: the run ended before its last step, as validations did not become better.
ENDED_EARLY = "ended_early"


class WeightAverage(pl.Callback):
    """Averages the weights after each step; must precede the callbacks that use the averaged weights."""

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        """Update the average."""
        assert isinstance(module, PoseModule)
        module.average_weights()


class StopTrainingError(Exception):
    """Ends a training on request, after its checkpoint was written; the message says what is kept."""


class WholeCheckpoints(pl.Callback):
    """Writes the trainer's state to one file at regular intervals, atomically.

    A run that is asked to stop ends after the current step; of several processes it is enough to ask one.

    Args:
        path: the file.
        every_steps, every_minutes: intervals, whichever ends first.
        run: fingerprint of the run, stored in the file.
        stop_asked: whether this process was asked to stop.
        ranks: the processes; the first one writes.
    """

    def __init__(
        self,
        path: Path,
        every_steps: int,
        every_minutes: float,
        run: str,
        stop_asked: Callable[[], bool],
        ranks: Ranks,
    ) -> None:
        self.path = path
        self.every_steps = every_steps
        self.every_seconds = 60 * every_minutes
        self.run = run
        self.stop_asked = stop_asked
        self.ranks = ranks
        self._written_at = time.monotonic()

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        """Write when due, and end the run on request.

        Raises:
            StopTrainingError: the run was asked to stop before its last step.
        """
        step, finished = trainer.global_step, trainer.global_step >= trainer.max_steps
        ended = finished or trainer.should_stop
        overdue = self.ranks.is_first and time.monotonic() - self._written_at >= self.every_seconds
        late, stop = self.ranks.agreed(int(overdue), self._stop_signal())
        if late or stop or ended or step % self.every_steps == 0:
            if self.ranks.is_first:
                write_checkpoint(self.path, trainer.save_checkpoint)
            else:
                trainer.save_checkpoint(self.path)  # its part in it; the first one writes
            self._written_at = time.monotonic()
        if stop and not ended:
            ask_to_stop(stop)
            raise StopTrainingError(
                f"Stopped after step {step} of {trainer.max_steps}; {self.path} is kept: go on from it with --resume."
            )

    def _stop_signal(self) -> int:
        """The signal that asked this process to stop, 0 = none."""
        request = stopped() if self.stop_asked() else None
        return 0 if request is None else request.signal_number

    def on_save_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Store the fingerprint of the run, and whether it ended before its last step."""
        checkpoint["run"] = self.run
        checkpoint[ENDED_EARLY] = trainer.should_stop and trainer.global_step < trainer.max_steps


class SharedSteps(pl.Callback):
    """What several processes share before their first step: the memory plan, and how they are told to stop.

    Args:
        ranks: the processes.
        planned: the plan of one device's part of a batch, None = none is wanted; the first process is asked.
    """

    def __init__(self, ranks: Ranks, planned: Callable[[], MemoryPlan | None]) -> None:
        self._ranks, self._planned = ranks, planned
        self._signals = ExitStack()

    def setup(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        """Follow the same plan in all processes: each might measure its own device otherwise."""
        assert isinstance(module, PoseModule)
        plan = self._ranks.from_first(self._planned)
        if plan is not None:
            module.manage(plan)

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Replace the handlers of Lightning, whose message to the others would cut into one that is under way."""
        self._signals.enter_context(stop_signals())

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Restore them."""
        self._signals.close()

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        """Restore them."""
        self._signals.close()


class Validation(pl.Callback):
    """Mean distance to the truth on held-out cases, per view, through decoding and the grid.

    Args:
        views: of the held-out cases, may be empty.
        every_steps: interval; the last step is always validated.
        on_result: called after each validation with the step and {"ed_mm_whole": ..., ...} ({} without held-out cases);
            true ends the run.
        ranks: the processes; the first one validates, as all have the same weights.
    """

    def __init__(
        self,
        views: ValidationViews,
        every_steps: int,
        on_result: Callable[[int, dict[str, float]], bool],
        ranks: Ranks,
    ) -> None:
        self.views = views
        self.every_steps = every_steps
        self.on_result = on_result
        self.ranks = ranks

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        """Validate when due."""
        step = trainer.global_step
        if step % self.every_steps and step < trainer.max_steps:
            return
        assert isinstance(module, PoseModule)
        if self.ranks.from_first(lambda: self._ends_run(trainer, module)):
            trainer.should_stop = True

    def _ends_run(self, trainer: pl.Trainer, module: PoseModule) -> bool:
        with trainer.precision_plugin.forward_context():
            result = validate(module, self.views)
        if trainer.logger is not None and result:
            trainer.logger.log_metrics(
                {f"validation/{key}": value for key, value in result.items()}, trainer.global_step
            )
        return self.on_result(trainer.global_step, result)


@torch.no_grad()
def validate(module: PoseModule, views: ValidationViews) -> dict[str, float]:
    """Mean and median distance (mm) to the truth and the mean peak mass, per view; in patches, of the landmarks inside.

    A network trained with the Pair Loss does not tell left from right: Eq. 7 assigns the sides, as in the engine. Any
    other network is scored with its own sides, because Eq. 7 needs head landmarks that are wrong early in training.
    """
    network = module.best_network
    errors: dict[int, list[np.ndarray]] = {}
    masses: dict[int, list[np.ndarray]] = {}
    for batch in DataLoader(views, batch_size=1):
        if not bool(batch["present"][0]):
            continue
        logits = network(module.prepared(batch["image"].to(module.device)))[0].float()
        found = decode(logits, module.preset.sigma)
        matrix = batch["grid_to_ras"][0].numpy()
        world = found.points_ijk.double().cpu().numpy() @ matrix[:3, :3].T + matrix[:3, 3]
        if module.preset.loss == "pair":
            world, _ = resolve_sides(world, default_schema())
        view = int(batch["view"][0])
        distance = np.linalg.norm(world - batch["positions"][0].numpy(), axis=1)
        mass = found.peak_mass.cpu().numpy()
        if VIEW_NAMES[view] == "patch":
            inside = points_inside(batch["points"][0].numpy(), logits.shape[1:])
            distance, mass = distance[inside], mass[inside]
        errors.setdefault(view, []).append(distance)
        masses.setdefault(view, []).append(mass)
    result: dict[str, float] = {}
    for view, rows in sorted(errors.items()):
        distance = np.concatenate(rows)
        result[f"ed_mm_{VIEW_NAMES[view]}"] = float(np.nanmean(distance))
        result[f"median_mm_{VIEW_NAMES[view]}"] = float(np.nanmedian(distance))
        result[f"mass_{VIEW_NAMES[view]}"] = float(np.concatenate(masses[view]).mean())
    return result


class RunProgress(pl.Callback):
    """Progress bar with the remaining time on a terminal, otherwise log lines; and the scalars of TensorBoard."""

    def __init__(self, steps: int, on_progress: OnProgress | None, every_seconds: float = 30.0) -> None:
        self.steps = steps
        self.on_progress = on_progress
        self.every_seconds = every_seconds
        self.note = ""
        self._bar: Progress | None = None
        self._since: tuple[float, int] = (0.0, 0)
        self._reported_at = 0.0
        self._losses: list[torch.Tensor] = []

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Start the clock."""
        self._since = (time.monotonic(), trainer.global_step)
        self._reported_at = 0.0
        if sys.stderr.isatty() and self.on_progress is None:
            self._bar = Progress(
                TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
                TextColumn("{task.description}"), transient=False,
            )  # fmt: skip
            self._task = self._bar.add_task("", total=self.steps, completed=trainer.global_step)
            self._bar.start()

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        """Update the bar or the log."""
        assert isinstance(module, PoseModule)
        step = trainer.global_step
        self._losses.append(module.last_parts["heatmap"])
        if self.on_progress is not None:
            self.on_progress(step / self.steps, f"step {step} of {self.steps}")
        now = time.monotonic()
        if self._bar is not None:
            self._bar.update(self._task, completed=step)
        if now - self._reported_at >= (2.0 if self._bar else self.every_seconds) or step >= self.steps:
            self._report(trainer, module, step, now)

    def _report(self, trainer: pl.Trainer, module: PoseModule, step: int, now: float) -> None:
        loss = float(torch.stack(self._losses).mean())
        self._losses.clear()
        self._reported_at = now
        seconds = (now - self._since[0]) / max(1, step - self._since[1])
        left = _duration((self.steps - step) * seconds)
        line = f"loss {loss:.3f}  {seconds:.2f} s/step  {left} left  {self.note}".rstrip()
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        if trainer.logger is not None:
            parts = {f"train/{key}": float(value) for key, value in module.last_parts.items()}
            trainer.logger.log_metrics(
                {**parts, "train/mean_loss": loss, "train/learning_rate": rate, "train/seconds_per_step": seconds},
                step,
            )
        if self._bar is not None:
            self._bar.update(self._task, description=line)
        else:
            _LOG.info("step %d/%d  lr %.2e  %s", step, self.steps, rate, line)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Restore the terminal."""
        self._stop()

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        """Restore the terminal."""
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def summary_line(result: Mapping[str, float]) -> str:
    """A validation's result as one line of text."""
    return "  ".join(f"{key} {value:.2f}" for key, value in result.items())


def _duration(seconds: float) -> str:
    minutes = int(seconds / 60 + 0.5)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
