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
from torch.utils.data import DataLoader

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.atomic_files import usable_folder, write_json
from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.core.locks import locked
from FetusMapV2Lib.core.progress import OnProgress
from FetusMapV2Lib.core.stop_signals import defer_stops, stop_signals, stopped
from FetusMapV2Lib.estimation.network_runner import choose_device
from FetusMapV2Lib.network.onednn import small_convolutions_by_onednn
from FetusMapV2Lib.training.callbacks import (
    ENDED_EARLY,
    RunProgress,
    StopTrainingError,
    Validation,
    WeightAverage,
    WholeCheckpoints,
    summary_line,
)
from FetusMapV2Lib.training.case_folder import ReducedVolumes
from FetusMapV2Lib.training.checkpoints import check_state, read_checkpoint
from FetusMapV2Lib.training.lightning_loading import TensorBoardLogger, pl
from FetusMapV2Lib.training.model_export import RunExport
from FetusMapV2Lib.training.network_images import DeviceImages, HostImages, NetworkImages
from FetusMapV2Lib.training.pose_module import PoseModule, network_config, plan_step
from FetusMapV2Lib.training.preset import Preset, load_preset
from FetusMapV2Lib.training.run_record import Run, prepare_run
from FetusMapV2Lib.training.samples import StepSampler, TrainingViews, ValidationViews
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
    options = options or TrainingOptions()
    device, _ = choose_device(options.device)
    if not isinstance(preset, Preset):
        preset = load_preset(preset)
    with _lock_of(usable_folder(Path(output_dir))):
        run = prepare_run(preset, data_dir, output_dir, options)
        fit_run(run, options, device, _cache_folder(data_dir, run.folder, options.cache_dir), on_progress=on_progress)
    return run.model


def fit_run(
    run: Run, options: TrainingOptions, device: torch.device, cache: Path, *, on_progress: OnProgress | None = None
) -> None:
    """Fit a run that was prepared, from its checkpoint if that is wanted and there is one; its model file is written.

    Args:
        run: its folder is locked by the caller.
        options: how to run it.
        device: to train on.
        cache: folder of the reduced volumes.
        on_progress: called after every step.

    Raises:
        UserError, Stopped: see `train`.
    """
    images = _network_images(options, device, keep=not run.preset.memory.budget)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    volumes = ReducedVolumes(
        cache,
        run.preset.run.cache_spacing_mm,
        memory_bytes=_VOLUME_BYTES if options.workers else _VOLUME_BYTES_ALONE,
    )
    _configure_messages()
    _LOG.info(
        "%d training and %d held-out cases, %d steps on %s",
        len(run.training), len(run.held_out), run.steps, device,
    )  # fmt: skip
    torch.manual_seed(run.seed)
    module = PoseModule(run.preset, default_schema().count, run.steps)
    state = _state_to_resume(run, module) if options.resume else None
    first_step = state["global_step"] if state is not None else 0
    note = dict(options.note)
    if run.start is not None:
        note["initial_model"] = run.start.identity
    if run.start is not None and not first_step:
        config = network_config(run.preset, default_schema().count)
        run.start.load_into(config, module.network, module.averaged)
    if first_step < run.steps and not (state or {}).get(ENDED_EARLY):
        note |= _apply_memory_plan(module, run, device)
        loader = _loader(run, volumes, first_step, options.workers, images)
        export = RunExport(run, module, note, only_best=options.export == "best", patience=options.patience)
        if first_step:
            export.recall()
        with _ended_by_signals() as stop_asked:
            trainer = _trainer(run, module, volumes, device, on_progress, export, stop_asked)
            with small_convolutions_by_onednn(module) if module.runs_modules else nullcontext():
                checkpoint = run.checkpoint if first_step else None
                trainer.fit(module, loader, ckpt_path=checkpoint, weights_only=True)
    elif state is not None and not run.model.is_file():
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


def _apply_memory_plan(module: PoseModule, run: Run, device: torch.device) -> dict[str, str]:
    """Plan the training step if the preset asks for it, and write the plan beside the checkpoints.

    Returns:
        What the model file says about it.

    Raises:
        BudgetError: nothing fits the budget.
    """
    if not run.preset.memory.manages:
        (run.folder / _PLAN).unlink(missing_ok=True)  # of the steps before a resumption
        return {}
    plan = plan_step(run.preset, module.network, device=device)
    module.manage(plan)
    write_json(run.folder / _PLAN, plan.to_dict())
    _LOG.info("%s", plan.summary())
    return {"memory_plan": plan.summary()}


def _cache_folder(data_dir: Any, output: Path, cache_dir: Any) -> Path:
    if cache_dir is not None:
        return Path(cache_dir)
    beside = Path(data_dir) / ".reduced"
    try:
        beside.mkdir(exist_ok=True)
    except OSError:
        return output / "reduced"
    return beside


def _network_images(options: TrainingOptions, device: torch.device, *, keep: bool) -> NetworkImages:
    """What prepares the images of the samples.

    Args:
        options: say where.
        device: of the training.
        keep: whether volumes may stay on the device; not under a memory budget.

    Raises:
        UserError: an unknown place, or workers for a device.
    """
    if options.prepare_on == "cpu":
        return HostImages()
    if options.prepare_on != "device":
        raise UserError(f"samples cannot be prepared on {options.prepare_on!r}", remedy="Use cpu or device")
    if options.workers:
        raise UserError(
            "workers prepare samples on the CPU, not on the device", remedy="Leave out the workers or the device"
        )
    return DeviceImages(device, None if keep else 0)


def _loader(run: Run, volumes: ReducedVolumes, first_step: int, workers: int, images: NetworkImages) -> DataLoader[Any]:
    views = TrainingViews(run.training, volumes, run.preset, run.template, run.seed, images, run.negatives)
    batch = run.preset.run.batch_size
    return DataLoader(
        views,
        batch_size=batch,
        sampler=StepSampler(first_step * batch),
        num_workers=workers,
        persistent_workers=False,
        worker_init_fn=_quiet_worker if workers else None,
        prefetch_factor=4 if workers else None,
    )


def _quiet_worker(_: int) -> None:
    torch.set_num_threads(1)


def _trainer(
    run: Run,
    module: PoseModule,
    volumes: ReducedVolumes,
    device: torch.device,
    on_progress: OnProgress | None,
    export: RunExport,
    stop_asked: Callable[[], bool],
) -> pl.Trainer:
    options = run.preset.run
    progress = RunProgress(run.steps, on_progress)

    def on_result(step: int, result: dict[str, float]) -> bool:
        progress.note = summary_line(result)
        _LOG.info("validation at step %d: %s", step, progress.note or "no held-out case")
        return export.validated(step, result)

    held_out = ValidationViews(run.held_out, volumes, run.preset, run.template)
    return pl.Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=[device.index or 0] if device.type == "cuda" else 1,
        precision=options.precision,  # type: ignore[arg-type]
        # benchmarking kernels takes workspace that no plan counts
        benchmark=device.type == "cuda" and module.managed is None,
        max_steps=run.steps,
        max_epochs=-1,
        gradient_clip_val=(run.preset.optimiser.gradient_clip or None) if module.automatic_optimization else None,
        logger=TensorBoardLogger(run.folder, name="", version="logs"),
        callbacks=[
            WeightAverage(),
            progress,
            Validation(held_out, options.validate_every, on_result),
            WholeCheckpoints(
                run.checkpoint, options.checkpoint_every, options.checkpoint_minutes, run.fingerprint, stop_asked
            ),
        ],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=run.folder,
    )


def _configure_messages() -> None:
    """Silence Lightning's own messages; ours go to standard error unless logging is configured."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for text in _EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", message=f".*{text}.*")
    ours = logging.getLogger("FetusMapV2Lib.training")
    if not ours.handlers and not logging.getLogger().handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))
        ours.addHandler(handler)
        ours.setLevel(logging.INFO)
