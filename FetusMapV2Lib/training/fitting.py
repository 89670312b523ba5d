"""`fit`: a preset and a folder of cases in, checkpoints, logs and a model file out; resumable at any moment."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.atomic_files import usable_folder, write_json
from FetusMapV2Lib.core.errors import ModelError, UserError
from FetusMapV2Lib.core.locks import locked
from FetusMapV2Lib.core.progress import OnProgress
from FetusMapV2Lib.core.stop_signals import hold_stops, stop_signals, stopped
from FetusMapV2Lib.estimation.network_runner import choose_device
from FetusMapV2Lib.models.architectures import build_network
from FetusMapV2Lib.models.model_file import load_model
from FetusMapV2Lib.models.model_index import find_model
from FetusMapV2Lib.network.onednn import small_convolutions_by_onednn
from FetusMapV2Lib.training.callbacks import (
    RunProgress,
    StopTrainingError,
    Validation,
    WeightAverage,
    WholeCheckpoints,
    summary_line,
)
from FetusMapV2Lib.training.case_folder import ReducedVolumes
from FetusMapV2Lib.training.checkpoints import check_state, read_checkpoint
from FetusMapV2Lib.training.model_export import export_module
from FetusMapV2Lib.training.network_images import DeviceImages, HostImages, NetworkImages
from FetusMapV2Lib.training.pose_module import PoseModule, network_config, plan_step
from FetusMapV2Lib.training.preset import Preset, load_preset
from FetusMapV2Lib.training.run_record import Run, prepare_run
from FetusMapV2Lib.training.samples import StepSampler, TrainingViews, ValidationViews

_LOG = logging.getLogger(__name__)
_PLAN, _LOCK = "memory-plan.json", ".training.lock"
# Lightning's advice that does not fit: samples are numbered by the step, so this loader resumes by itself
_HARMLESS = ("does not have many workers", "no `val_dataloader`", "dataloader is not resumable", "LeafSpec", "treespec")
#: Of reduced volumes in memory, for each worker, or for the one process without any.
_VOLUME_BYTES, _VOLUME_BYTES_ALONE = 1 << 30, 1 << 32


def fit(
    preset: str | os.PathLike[str] | Preset,
    data_dir: str | os.PathLike[str],
    output_dir: str | os.PathLike[str],
    *,
    resume: bool = False,
    device: str = "auto",
    steps: int | None = None,
    workers: int = 0,
    threads: int | None = None,
    prepare_on: str = "cpu",
    seed: int = 0,
    overrides: Mapping[str, Any] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    note: Mapping[str, Any] | None = None,
    initial_model: str | os.PathLike[str] | None = None,
    memory_budget: int | None = None,
    max_slowdown: float | None = None,
    cases: Sequence[str] | None = None,
    on_progress: OnProgress | None = None,
) -> Path:
    """Train a network.

    The result depends on the preset, the cases and the seed alone: a run that was killed and resumed, or given other
    workers, ends with the same weights (on a CPU with the same number of threads; a GPU adds up in no fixed order).

    Args:
        preset: name, file or `Preset`.
        data_dir: annotated cases (`imaging.training_cases.find_cases`).
        output_dir: for ``last.ckpt``, ``run.json``, ``logs/`` (TensorBoard) and ``model.safetensors``.
        resume: go on from the checkpoint in `output_dir` (from the start if there is none yet).
        device: "auto", "cpu", "cuda" or "cuda:N".
        steps: overrides the preset's number of steps.
        workers: processes that prepare samples; 0 prepares them between the steps.
        threads: of torch, None leaves them alone.
        prepare_on: "cpu", or "device": samples are made by the device that trains, without workers; the same but for
            rounding and the values of noise.
        seed: of everything random.
        overrides: preset fields by dotted path, e.g. ``{"optimiser.learning_rate": 1e-3}``.
        cache_dir: for reduced volumes, by custom in `data_dir`.
        note: JSON values for the model file's training summary, e.g. the commands that made the data.
        initial_model: name or file of a model to start from, with the network of the preset: fine-tuning on a site's
            own cases, or going on at another input size. Unused when a checkpoint is resumed.
        memory_budget: bytes that a training step may take (weights and optimiser included), by custom the preset's;
            the network is then run by a memory plan, with the same gradients. A resumed run may have another budget.
        max_slowdown: greatest ratio of a step's operations to those without a plan; alone, it asks for the plan that
            takes the least memory within it.
        cases: names of the cases to use, by custom all of `data_dir`: one part of a cross-validation.
        on_progress: called after every step.

    Returns:
        The path of the model file.

    Raises:
        UserError: a preset, case or device that cannot be used, or an output folder that holds another run.
        Stopped: it was told to stop (SIGTERM, Ctrl-C); a checkpoint of the last step is kept.
    """
    chosen, _ = choose_device(device)
    if not isinstance(preset, Preset):
        preset = load_preset(preset)
    with _alone_in(usable_folder(Path(output_dir))):
        run = prepare_run(
            preset, data_dir, output_dir, resume=resume, steps=steps, seed=seed, overrides=overrides, cases=cases
        )
        pictures = _pictures(prepare_on, chosen, workers, keep=memory_budget is None and not run.preset.memory.budget)
        if threads is not None:
            torch.set_num_threads(threads)
        volumes = ReducedVolumes(
            _cache_folder(data_dir, run.folder, cache_dir),
            run.preset.run.cache_spacing_mm,
            memory_bytes=_VOLUME_BYTES if workers else _VOLUME_BYTES_ALONE,
        )
        _speak_plainly()
        _LOG.info(
            "%d training and %d held-out cases, %d steps on %s",
            len(run.training), len(run.held_out), run.steps, chosen,
        )  # fmt: skip
        torch.manual_seed(run.seed)
        module = PoseModule(run.preset, default_schema().count, run.steps)
        state = _kept(run, module) if resume else None
        first_step = state["global_step"] if state is not None else 0
        if initial_model is not None and not first_step:
            note = {**(note or {}), "initial_model": _start_from(module, initial_model)}
        if first_step < run.steps:
            note = {**(note or {}), **_manage(module, run, memory_budget, max_slowdown, chosen)}
            loader = _loader(run, volumes, first_step, workers, pictures)
            with _ended_by_signals() as stop_asked:
                trainer = _trainer(run, module, volumes, chosen, on_progress, note, stop_asked)
                with small_convolutions_by_onednn(module) if module.runs_modules else nullcontext():
                    checkpoint = run.checkpoint if first_step else None
                    trainer.fit(module, loader, ckpt_path=checkpoint, weights_only=True)
        elif state is not None and not run.model.is_file():
            module.load_state_dict(state["state_dict"])
            module.on_load_checkpoint(state)
            facts = {**_facts(run, run.steps, module.seconds), **(note or {})}
            export_module(module, run.preset, _poses(run), run.template, run.model, training=facts)
    return run.model


def _alone_in(folder: Path) -> AbstractContextManager[None]:
    """Two trainings would write over one another's checkpoints.

    Raises:
        LockedError: another one is under way there.
    """
    remedy = "Wait for its end, or choose another folder"
    return locked(folder / _LOCK, "this folder of a training", remedy=remedy)


@contextmanager
def _ended_by_signals() -> Iterator[Callable[[], bool]]:
    """Inside, a signal to stop lets the step end and its checkpoint be written; a second one ends the run at once.

    Yields:
        Says whether a signal came.

    Raises:
        Stopped: after a signal, with what is kept.
    """
    with stop_signals(), hold_stops() as stop_asked:
        try:
            yield stop_asked
        except StopTrainingError as end:
            stop = stopped()
            assert stop is not None
            stop.kept = str(end)
        except SystemExit:  # what Lightning makes of a second signal
            stop = stopped()
            if stop is None:
                raise
            raise stop from None


def _kept(run: Run, module: PoseModule) -> dict[str, Any] | None:
    """The state to go on from, None if there is none yet.

    Raises:
        UserError: it cannot be used.
    """
    if not run.checkpoint.is_file():
        return None
    state = read_checkpoint(run.checkpoint, sealed=run.sealed)
    check_state(state, run.checkpoint, module.state_dict(), run.fingerprint, run.steps)
    return state


def _manage(
    module: PoseModule, run: Run, budget: int | None, max_slowdown: float | None, device: torch.device
) -> dict[str, str]:
    """Plan the training step if that is wished, write the plan beside the checkpoints, and say what was chosen.

    Returns:
        What the model file says about it.

    Raises:
        BudgetError: nothing fits the budget.
    """
    if budget is None and max_slowdown is None and not run.preset.memory.manages:
        (run.folder / _PLAN).unlink(missing_ok=True)  # of steps before a resumption
        return {}
    plan = plan_step(run.preset, module.network, budget=budget, max_slowdown=max_slowdown, device=device)
    module.manage(plan)
    write_json(run.folder / _PLAN, plan.to_dict())
    _LOG.info("%s", plan.summary())
    return {"memory_plan": plan.summary()}


def _start_from(module: PoseModule, initial_model: str | os.PathLike[str]) -> str:
    """Give the module the weights of a model; returns what the model is called.

    Raises:
        ModelError: the model cannot be read, or its network is another one.
    """
    model = load_model(find_model(initial_model))
    expected = network_config(module.preset, default_schema().count)
    if build_network(expected).config != model.network.config:
        raise ModelError(
            "the initial model has another network than the preset",
            where=initial_model,
            remedy="Choose a preset with the same widths",
        )
    for network in (module.network, module.averaged):
        if network is not None:
            network.load_state_dict(model.network.state_dict())
    return model.identity


def _cache_folder(data_dir: Any, output: Path, cache_dir: Any) -> Path:
    if cache_dir is not None:
        return Path(cache_dir)
    beside = Path(data_dir) / ".reduced"
    try:
        beside.mkdir(exist_ok=True)
    except OSError:
        return output / "reduced"
    return beside


def _pictures(prepare_on: str, device: torch.device, workers: int, *, keep: bool) -> NetworkImages:
    """What makes the samples; under a budget no volume stays on the device.

    Raises:
        UserError: an unknown place, or workers for a device.
    """
    if prepare_on == "cpu":
        return HostImages()
    if prepare_on != "device":
        raise UserError(f"samples cannot be prepared on {prepare_on!r}", remedy="Use cpu or device")
    if workers:
        raise UserError(
            "workers prepare samples on the CPU, not on the device", remedy="Leave out the workers or the device"
        )
    return DeviceImages(device, None if keep else 0)


def _loader(
    run: Run, volumes: ReducedVolumes, first_step: int, workers: int, pictures: NetworkImages
) -> DataLoader[Any]:
    views = TrainingViews(run.training, volumes, run.preset, run.template, run.seed, pictures)
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
    note: Mapping[str, Any],
    stop_asked: Callable[[], bool],
) -> pl.Trainer:
    options = run.preset.run
    progress = RunProgress(run.steps, on_progress)
    poses = _poses(run)

    def on_result(step: int, result: dict[str, float]) -> None:
        progress.note = summary_line(result)
        _LOG.info("validation at step %d: %s", step, progress.note or "no held-out case")
        facts = {**_facts(run, step, module.seconds), **note}
        export_module(
            module, run.preset, poses, run.template, run.model, training=facts, evaluation={"validation": result}
        )

    held_out = ValidationViews(run.held_out, volumes, run.preset, run.template)
    return pl.Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=[device.index or 0] if device.type == "cuda" else 1,
        precision=options.precision,  # type: ignore[arg-type]
        # the fastest kernels are found by trying, whose workspace no plan counts
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


def _poses(run: Run) -> NDArray[np.float64]:
    return np.stack([case.positions for case in run.training if case.fetus_present])


def _facts(run: Run, step: int, seconds: float) -> dict[str, Any]:
    """What the model file says about its training."""
    return {
        "cases": len(run.training),
        "cases_without_fetus": sum(not case.fetus_present for case in run.training),
        "simulated_cases": sum("style" in case.truth for case in run.training),
        "held_out_cases": len(run.held_out),
        "steps": step,
        "planned_steps": run.steps,
        "seed": run.seed,
        "seconds": round(seconds, 1),
        "torch": torch.__version__,
        "styles": sorted({str(case.truth["style"]) for case in run.training if "style" in case.truth}),
    }


def _speak_plainly() -> None:
    """Lightning's own talk is silenced; ours goes to standard error if nobody set up logging."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for text in _HARMLESS:
        warnings.filterwarnings("ignore", message=f".*{text}.*")
    ours = logging.getLogger("FetusMapV2Lib.training")
    if not ours.handlers and not logging.getLogger().handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))
        ours.addHandler(handler)
        ours.setLevel(logging.INFO)
