"""How a training is run: seed, cases, device, and where it starts from."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class TrainingOptions:
    """Everything about a training that is not its preset, its data and its output folder.

    Attributes:
        overrides: preset fields by dotted path, e.g. ``{"run.steps": 1000, "memory.budget": "8GiB"}``; a resumed run
            may have another ``memory``, the other fields must be the same.
        seed: of everything random: initial weights, order, augmentation, held-out cases.
        cases: names of the cases to use, None = all of the folder; e.g. one part of a cross-validation.
        resume: continue from the checkpoint in the output folder; start from the beginning if there is none yet.
        negatives: folder of volumes that show no fetus, without landmark files; they are further training cases, and
            what they show also becomes the surroundings of others where the preset distorts surroundings.
        initial_model: name or file of a model to start from, with the network of the preset: fine-tuning on a site's
            own cases, or continuing at another input size. The new model keeps its template, pose library (the new
            poses are added) and calibration. Ignored when a checkpoint is resumed.
        fold: (k, n): hold out part k (from 1) of n of the cases with a fetus, in place of the preset's share.
        export: "best", the weights of the best validation, or "last"; without held-out cases those of the last step.
        patience: end the training after this many validations without a better one; 0 = never.
        device: "auto", "cpu", "cuda" or "cuda:N".
        devices: that share every batch, on each computer: GPUs, or processes of the CPU.
        nodes: computers; torchrun, Slurm or MASTER_ADDR, MASTER_PORT and NODE_RANK say which one this is.
        strategy: "ddp": every device has the whole network; "fsdp" is refused with the reason.
        threads: of torch, None = torch's own choice.
        workers: processes that prepare samples; 0 prepares them between the steps.
        prepare_on: "cpu", or "device": the training device prepares the samples, without workers; they are the same
            except for rounding and the values of the noise.
        cache_dir: for reduced volumes, None = ``.reduced`` in the data folder, or the output folder if that is
            read-only.
        note: JSON values for the model file's training summary, e.g. the commands that produced the data.

    Examples:
        >>> fm.TrainingOptions(overrides={"memory.budget": "8GiB", "run.steps": 20_000}, resume=True).seed
        0
    """

    overrides: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    cases: Sequence[str] | None = None
    resume: bool = False
    negatives: str | os.PathLike[str] | None = None
    initial_model: str | os.PathLike[str] | None = None
    fold: tuple[int, int] | None = None
    export: Literal["best", "last"] = "best"
    patience: int = 0
    device: str = "auto"
    devices: int = 1
    nodes: int = 1
    strategy: str = "ddp"
    threads: int | None = None
    workers: int = 0
    prepare_on: str = "cpu"
    cache_dir: str | os.PathLike[str] | None = None
    note: Mapping[str, Any] = field(default_factory=dict)
