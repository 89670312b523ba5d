"""`train` trains a preset on a folder of cases: checkpoints, logs and a model file, resumable at any step."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.atomic_files import usable_folder, write_json
from FetusMapV2Lib.core.locks import locked
from FetusMapV2Lib.core.progress import OnProgress
from FetusMapV2Lib.core.stop_signals import defer_stops, stop_signals, stopped
from FetusMapV2Lib.estimation.network_runner import choose_device
from FetusMapV2Lib.memory.plan import MemoryPlan
from FetusMapV2Lib.network.onednn import small_convolutions_by_onednn
from FetusMapV2Lib.training.callbacks import (
    ENDED_EARLY,
    RunProgress,
    SharedSteps,
    StopTrainingError,
    Validation,
    WeightAverage,
    WholeCheckpoints,
    summary_line,
)
from FetusMapV2Lib.training.case_folder import ReducedVolumes
from FetusMapV2Lib.training.checkpoints import check_state, read_checkpoint
from FetusMapV2Lib.training.lightning_loading import TensorBoardLogger, pl
from FetusMapV2Lib.training.loading import network_images, training_loader
from FetusMapV2Lib.training.model_export import RunExport
from FetusMapV2Lib.training.pose_module import PoseModule, network_config, plan_step
from FetusMapV2Lib.training.preset import Preset, load_preset
from FetusMapV2Lib.training.rank_strategy import Others, RankStrategy, request_of
from FetusMapV2Lib.training.ranks import Ranks, check_batch, ranks_of
from FetusMapV2Lib.training.run_record import Run, prepare_run
from FetusMapV2Lib.training.samples import ValidationViews
from FetusMapV2Lib.training.training_options import TrainingOptions

_LOG = logging.getLogger(__name__)
_PLAN, _LOCK = "memory-plan.json", ".training.lock"
# advice of Lightning that does not apply: samples are numbered by the step, so this loader resumes by itself
_EXPECTED_WARNINGS = (
    "does not have many workers",
    "no `val_dataloader`",
    "dataloader is not resumable",
    "LeafSpec",
    "treespec",
)
#: Reduced volumes held in memory: by each worker, or by the one process if there are no workers.
_VOLUME_BYTES, _VOLUME_BYTES_ALONE = 1 << 30, 1 << 32


def train(
    preset: str | os.PathLike[str] | Preset,
    data_dir: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    options: TrainingOptions | None = None,
    *,
    on_progress: OnProgress | None = None,
) -> Path:
    """Train a network.

    The result depends on the preset, the cases and the seed alone: a run that was killed and resumed, or given other
    workers, ends with the same weights (on a CPU with the same number of threads; a GPU sums in no fixed order).

    Args:
        preset: name, file or `Preset`.
        data_dir: annotated cases (`imaging.training_cases.find_cases`).
        output_dir: for ``last.ckpt``, ``run.json``, ``logs/`` (TensorBoard) and ``model.safetensors``.
        options: how to run it, None = the defaults of `TrainingOptions`.
        on_progress: called after every step.

    Returns:
        The path of the model file.

    Raises:
        UserError: a preset, case or device that cannot be used, or an output folder that holds another run.
        BudgetError: the training step does not fit the preset's memory budget.
        Stopped: a stop was requested (SIGTERM, Ctrl-C); a checkpoint of the last step is kept.

    Examples:
        A network far too small, for two steps, on the one case of this folder:

        >>> tiny = {"input_size": [16, 16, 16], "network.widths": [3, 4], "run.steps": 2, "run.cache_spacing_mm": 4.0}
        >>> fm.train("unet", ".", "run", fm.TrainingOptions(overrides=tiny, device="cpu")).name
        'model.safetensors'
    """
    if not isinstance(preset, Preset):
        preset = load_preset(preset)
    return train_as_rank(preset, data_dir, output_dir, options or TrainingOptions(), on_progress=on_progress)


def train_as_rank(
    preset: Preset,
    data_dir: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    options: TrainingOptions,
    on_meeting: Callable[[], None] = lambda: None,
    *,
    on_progress: OnProgress | None = None,
) -> Path:
    """`train`, in any of the processes that share a training: all call it alike, the first one writes and reports.

    Args:
        preset: see `train`, as for the next three.
        data_dir: of cases.
        output_dir: of the run.
        options: how to run it.
        on_meeting: called before this process waits for the others.
        on_progress: called after every step of the first one.
    """
    device, _ = choose_device(options.device)
    ranks = ranks_of(options, device)
    check_batch(preset.with_overrides(options.overrides), ranks)
    request = request_of(preset, data_dir, output_dir, options) if ranks.count > 1 else {}
    others = Others(request, on_meeting)
    folder = usable_folder(Path(output_dir))
    with _lock_of(folder) if ranks.is_first else nullcontext():
        run = prepare_run(preset, data_dir, output_dir, options, record=ranks.is_first)
        cache = _cache_folder(data_dir, run.folder, options.cache_dir)
        fit_run(run, options, ranks.device(device), cache, ranks, others, on_progress=on_progress)
    return run.model


def fit_run(
    run: Run,
    options: TrainingOptions,
    device: torch.device,
    cache: Path,
    ranks: Ranks | None = None,
    others: Others | None = None,
    *,
    on_progress: OnProgress | None = None,
) -> None:
    """Fit a run that was prepared, from its checkpoint if that is wanted and there is one; its model file is written.

    Args:
        run: its folder is locked by the caller.
        options: how to run it.
        device: to train on.
        cache: folder of the reduced volumes.
        ranks: the processes that share the run, None = this one alone.
        others: how those of this computer are started.
        on_progress: called after every step.

    Raises:
        UserError, Stopped: see `train`.
    """
    ranks, others = ranks or Ranks(), others or Others()
    images = network_images(options, device, keep=not run.preset.memory.budget)
    _set_threads(options, device, ranks)
    volumes = ReducedVolumes(
        cache,
        run.preset.run.cache_spacing_mm,
        memory_bytes=_VOLUME_BYTES if options.workers else _VOLUME_BYTES_ALONE,
    )
    _configure_messages(ranks)
    _LOG.info(
        "%d training and %d held-out cases, %d steps on %s",
        len(run.training), len(run.held_out), run.steps, f"{ranks.count} devices" if ranks.count > 1 else device,
    )  # fmt: skip
    computed = run.preset.computed_on(device)
    if computed is not run.preset:
        _LOG.info("in float32: %s does not compute bfloat16", "this CPU" if device.type == "cpu" else "this GPU")
    torch.manual_seed(run.seed)
    module = PoseModule(computed, default_schema().count, run.steps)
    state = _state_to_resume(run, module) if options.resume else None
    first_step = state["global_step"] if state is not None else 0
    note = dict(options.note)
    if run.start is not None:
        note["initial_model"] = run.start.identity
    if run.start is not None and not first_step:
        config = network_config(run.preset, default_schema().count)
        run.start.load_into(config, module.network, module.averaged)
    if ranks.count > 1:
        note["devices"] = ranks.count
    if first_step < run.steps and not (state or {}).get(ENDED_EARLY):
        if ranks.count == 1 and (plan := _planned(module, run.folder, device, ranks, note)) is not None:
            module.manage(plan)
        loader = training_loader(run, volumes, first_step, options.workers, images, ranks)
        export = RunExport(run, module, note, only_best=options.export == "best", patience=options.patience)
        if first_step:
            export.recall()
        with _ended_by_signals() as stop_asked:
            callbacks = _callbacks(run, volumes, export, on_progress, stop_asked, ranks)
            if ranks.count > 1:
                callbacks.insert(0, SharedSteps(ranks, lambda: _planned(module, run.folder, device, ranks, note)))
            trainer = _trainer(run, module, device, callbacks, ranks, others)
            by_modules = module.runs_modules if ranks.count == 1 else not run.preset.memory.manages
            with small_convolutions_by_onednn(module) if by_modules else nullcontext():
                checkpoint = run.checkpoint if first_step else None
                trainer.fit(module, loader, ckpt_path=checkpoint, weights_only=True)
    elif ranks.is_first and state is not None and not run.model.is_file():
        module.load_state_dict(state["state_dict"])
        module.on_load_checkpoint(state)
        RunExport(run, module, note).write(first_step, {})


def _lock_of(folder: Path) -> AbstractContextManager[None]:
    """Keeps a second training from overwriting the checkpoints of the first.

    Raises:
        LockedError: another training is running there.
    """
    remedy = "Wait for its end, or choose another folder"
    return locked(folder / _LOCK, "this folder of a training", remedy=remedy)


@contextmanager
def _ended_by_signals() -> Iterator[Callable[[], bool]]:
    """Inside, a signal to stop takes effect after the current step and its checkpoint; a second one at once.

    Yields:
        A function that says whether a signal came.

    Raises:
        Stopped: after a signal; says what is kept.
    """
    with stop_signals(), defer_stops() as stop_asked:
        try:
            yield stop_asked
        except StopTrainingError as end:
            stop = stopped()
            assert stop is not None
            stop.kept = str(end)
        except SystemExit:  # Lightning turns a second signal into this
            stop = stopped()
            if stop is None:
                raise
            raise stop from None


def _state_to_resume(run: Run, module: PoseModule) -> dict[str, Any] | None:
    """The state in the checkpoint, None if there is no checkpoint yet.

    Raises:
        UserError: the checkpoint cannot be used.
    """
    if not run.checkpoint.is_file():
        return None
    state = read_checkpoint(run.checkpoint, sealed=run.sealed)
    check_state(state, run.checkpoint, module.state_dict(), run.fingerprint, run.steps)
    return state


def _planned(
    module: PoseModule, folder: Path, device: torch.device, ranks: Ranks, note: dict[str, Any]
) -> MemoryPlan | None:
    """The plan of the training step of each process if the preset asks for it; it is written beside the checkpoints.

    Args:
        module: under training; its preset may ask for a plan.
        folder: of the run.
        device: of this process.
        ranks: the processes that share a batch.
        note: takes what the model file says about it.

    Raises:
        BudgetError: nothing fits the budget.
    """
    if not module.preset.memory.manages:
        (folder / _PLAN).unlink(missing_ok=True)  # of the steps before a resumption
        return None
    plan = plan_step(module.preset, module.network, device=device, ranks=ranks.count)
    write_json(folder / _PLAN, plan.to_dict())
    _LOG.info("%s", plan.summary())
    note["memory_plan"] = plan.summary()
    return plan


def _set_threads(options: TrainingOptions, device: torch.device, ranks: Ranks) -> None:
    """Threads of torch as wanted; processes that compute on the CPU share its cores."""
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    elif ranks.count > 1 and device.type == "cpu":
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // ranks.devices))


def _cache_folder(data_dir: Any, output: Path, cache_dir: Any) -> Path:
    if cache_dir is not None:
        return Path(cache_dir)
    beside = Path(data_dir) / ".reduced"
    try:
        beside.mkdir(exist_ok=True)
    except OSError:
        return output / "reduced"
    return beside


def _callbacks(
    run: Run,
    volumes: ReducedVolumes,
    export: RunExport,
    on_progress: OnProgress | None,
    stop_asked: Callable[[], bool],
    ranks: Ranks,
) -> list[pl.Callback]:
    """What happens after each step, in this order; the first process reports."""
    options = run.preset.run
    progress = RunProgress(run.steps, on_progress)

    def on_result(step: int, result: dict[str, float]) -> bool:
        progress.note = summary_line(result)
        _LOG.info("validation at step %d: %s", step, progress.note or "no held-out case")
        return export.validated(step, result)

    held_out = ValidationViews(run.held_out, volumes, run.preset, run.template)
    return [
        WeightAverage(),
        *([progress] if ranks.is_first else []),
        Validation(held_out, options.validate_every, on_result, ranks),
        WholeCheckpoints(
            run.checkpoint, options.checkpoint_every, options.checkpoint_minutes, run.fingerprint, stop_asked, ranks
        ),
    ]


def _trainer(
    run: Run, module: PoseModule, device: torch.device, callbacks: list[pl.Callback], ranks: Ranks, others: Others
) -> pl.Trainer:
    alone: dict[str, Any] = {"devices": [device.index or 0] if device.type == "cuda" else 1}
    several: dict[str, Any] = {"devices": ranks.devices, "num_nodes": ranks.nodes}
    return pl.Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        **(alone if ranks.count == 1 else {**several, "strategy": RankStrategy(ranks, others)}),
        precision=module.preset.run.precision,  # type: ignore[arg-type]
        # benchmarking kernels takes workspace that no plan counts
        benchmark=device.type == "cuda" and (not run.preset.memory.manages if ranks.count > 1 else not module.managed),
        max_steps=run.steps,
        max_epochs=-1,
        gradient_clip_val=(run.preset.optimiser.gradient_clip or None) if module.automatic_optimization else None,
        logger=TensorBoardLogger(run.folder, name="", version="logs") if ranks.is_first else False,
        callbacks=callbacks,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=run.folder,
    )


def _configure_messages(ranks: Ranks) -> None:
    """Silence Lightning's own messages; ours go to standard error unless logging is configured.

    Of several processes only the first one says how the training goes; warnings come from all.
    """
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for text in _EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", message=f".*{text}.*")
    ours = logging.getLogger("FetusMapV2Lib.training")
    if not ours.handlers and not logging.getLogger().handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))
        ours.addHandler(handler)
        ours.setLevel(logging.INFO if ranks.is_first else logging.WARNING)
