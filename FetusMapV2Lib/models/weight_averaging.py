"""Models between others: a fine-tuned one that has not forgotten what it started from (Wortsman et al., CVPR 2022)."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from FetusMapV2Lib.anatomy.landmark_shift import shift_between
from FetusMapV2Lib.core.atomic_files import ensure_absent
from FetusMapV2Lib.core.errors import ModelError
from FetusMapV2Lib.models.calibration import Calibration, uncalibrated
from FetusMapV2Lib.models.model_file import Model, load_model, save_model
from FetusMapV2Lib.models.model_index import find_model

Network = TypeVar("Network", bound=nn.Module)


def between(first: Network, second: Network, share: float) -> Network:
    """A network with weights between those of two, in evaluation mode; `share` is that of the second, 0-1."""
    before, after = first.state_dict(), second.state_dict()
    network = copy.deepcopy(first)
    network.load_state_dict({name: torch.lerp(value, after[name], share) for name, value in before.items()})
    return network.eval()


def mean_of(networks: Sequence[Network]) -> Network:
    """A network with the mean weights of several, in evaluation mode (model soups: Wortsman et al., ICML 2022)."""
    mean = networks[0]
    for number, other in enumerate(networks[1:], 2):
        mean = between(mean, other, 1 / number)
    return mean


def average_models(
    first: str | os.PathLike[str],
    second: str | os.PathLike[str],
    output: str | os.PathLike[str],
    share: float,
    *,
    keep_calibration: bool = False,
    precision: str = "",
    overwrite: bool = False,
) -> Model:
    """Write a model whose weights lie between those of two, and which is otherwise the second.

    Neither of their calibrations holds for it. It keeps the higher thresholds of both, which `calibrate` keeps where no
    case shows no fetus, and the landmarks' shift between those of both: such a network sees them in between.

    Or it keeps the whole calibration of the first, for the average of a model with its own further training: where
    that has seen the worlds which there are to calibrate on, radii that are fitted there are too small elsewhere.
    Whether they hold is to be looked at in a world that it has not seen.

    Args:
        first: name or path of a model.
        second: of another one with the same network.
        output: the file to write.
        share: of the second, 0-1.
        keep_calibration: keep that of the first.
        precision: of the stored weights, one of `model_info.PRECISIONS`; that of the second by default.
        overwrite: whether an existing file may be replaced.

    Returns:
        The model as it was written.

    Raises:
        ModelError: a model cannot be read, their networks differ, the share is not between 0 and 1, or the first has
            no calibration to keep.
        OutputError: the file exists, or cannot be written.
    """
    if not 0 <= share <= 1:
        raise ModelError(f"a share of {share:g} is not between 0 and 1", remedy="Use for example 0.5")
    ensure_absent(Path(output), overwrite)
    one, other = load_model(find_model(first)), load_model(find_model(second))
    if one.info.network != other.info.network:
        raise ModelError("the two models have different networks", where=second, remedy="Average a model and its start")
    if keep_calibration and (one.calibration is None or not one.calibration.cases):
        remedy = "Calibrate the average instead"
        raise ModelError(
            "the model has no calibration to keep", where=first, remedy=remedy, option="--keep-calibration"
        )
    note = f"the weights are {share:g} of this training's and {1 - share:g} of those of {one.info.name}"
    info = replace(
        other.info,
        training={**other.info.training, "averaged": note},
        evaluation={},
        weights=precision or other.info.weights,
    )
    network = between(one.network, other.network, share)
    calibration = one.calibration if keep_calibration else _kept(one, other, share)
    averaged = replace(other, network=network, info=info, calibration=calibration, checksum="")
    save_model(output, averaged)
    return averaged


def _kept(first: Model, second: Model, share: float) -> Calibration:
    """No calibration but the higher thresholds of two models, and the shift of landmarks between theirs."""
    known = [model.calibration for model in (first, second) if model.calibration is not None]
    found = max((one.detection_threshold for one in known), default=0.0)
    doubtful = max((one.least_detection_score for one in known), default=0.0)
    shifts = [None if model.calibration is None else model.calibration.shift for model in (first, second)]
    return replace(
        uncalibrated(),
        detection_threshold=found,
        doubtful_threshold=doubtful,
        shift=shift_between(shifts[0], shifts[1], share),
    )
