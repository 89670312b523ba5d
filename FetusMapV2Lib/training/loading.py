"""The samples of a training as a process gets them: where they are prepared, and in which order they come."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import DataLoader

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.training.case_folder import ReducedVolumes
from FetusMapV2Lib.training.network_images import DeviceImages, HostImages, NetworkImages
from FetusMapV2Lib.training.ranks import Ranks
from FetusMapV2Lib.training.run_record import Run
from FetusMapV2Lib.training.samples import StepSampler, TrainingViews
from FetusMapV2Lib.training.training_options import TrainingOptions


def network_images(options: TrainingOptions, device: torch.device, *, keep: bool) -> NetworkImages:
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


def training_loader(
    run: Run, volumes: ReducedVolumes, first_step: int, workers: int, images: NetworkImages, ranks: Ranks
) -> DataLoader[Any]:
    """The samples of one process from a step on, in an order that only seed, step and process decide."""
    views = TrainingViews(run.training, volumes, run.preset, run.template, run.seed, images, run.negatives)
    batch = run.preset.run.batch_size
    return DataLoader(
        views,
        batch_size=batch // ranks.count,
        sampler=StepSampler(first_step, batch, ranks.rank, ranks.count),
        num_workers=workers,
        persistent_workers=False,
        worker_init_fn=_quiet_worker if workers else None,
        prefetch_factor=4 if workers else None,
    )


def _quiet_worker(_: int) -> None:
    torch.set_num_threads(1)
