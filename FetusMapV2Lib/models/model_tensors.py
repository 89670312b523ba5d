"""Network and pose library from the tensors of a model file, checked before anything is built."""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.errors import ModelError, UserError
from FetusMapV2Lib.models.architectures import build_network
from FetusMapV2Lib.models.model_info import FETCH_AGAIN, ModelInfo
from FetusMapV2Lib.network.unet import UNet3d

Array = NDArray[np.float64]

#: No landmark of a pose is farther from the origin, mm.
_FARTHEST_MM = 1e4


def network_from(info: ModelInfo, weights: Mapping[str, Tensor], where: str | os.PathLike[str]) -> UNet3d:
    """The network of a description with these weights, float32 on the CPU.

    Args:
        info: of `info_from`.
        weights: by their names in the network.
        where: the file, for messages.

    Raises:
        ModelError: the weights are not those of the description, or not finite.
    """
    try:
        with torch.device("meta"):  # takes no memory, however large the network
            network = build_network(info.network)
    except (UserError, RuntimeError, ValueError, TypeError, AttributeError, LookupError) as error:
        raise _unfit(str(error), where) from error
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    for name, shape in expected.items():
        if name not in weights:
            raise _unfit(f"{name} is missing", where)
        if tuple(weights[name].shape) != shape:
            raise _unfit(f"{name} has the shape {tuple(weights[name].shape)}, not {shape}", where)
    for name, value in weights.items():
        if name not in expected:
            raise _unfit(f"{name} is no weight of the network", where)
        if str(value.dtype) != f"torch.{info.weights}":
            raise _unfit(f"{name} is of {value.dtype}, not {info.weights}", where)
        if not bool(torch.isfinite(value).all()):
            raise _unfit(f"{name} holds NaN or infinity", where)
    network.load_state_dict({name: value.float() for name, value in weights.items()}, assign=True)
    return network


def poses_from(poses: Tensor | None, template: Tensor | None, where: str | os.PathLike[str]) -> tuple[Array, Array]:
    """The pose library (N, 22, 3) and the template (22, 3).

    Raises:
        ModelError: one is missing, of another shape, or holds a position that is not finite or too far away.
    """
    place = (default_schema().count, 3)
    if poses is None or template is None:
        raise _unfit("the pose library or the template is missing", where)
    if poses.ndim != 3 or tuple(poses.shape[1:]) != place or tuple(template.shape) != place:
        raise _unfit("the pose library or the template has another shape", where)
    if not (poses.is_floating_point() and template.is_floating_point()):
        raise _unfit("the pose library or the template holds no floating-point numbers", where)
    library, mean = poses.double().numpy(), template.double().numpy()
    if not np.isfinite(mean).all() or np.abs(mean).max() > _FARTHEST_MM:
        raise _unfit("the template holds a position that is not finite or too far away", where)
    missing = np.isnan(library)
    if (missing.any(axis=2) != missing.all(axis=2)).any() or np.nanmax(np.abs(library), initial=0.0) > _FARTHEST_MM:
        raise _unfit("the pose library holds a position that is not finite or too far away", where)
    return library, mean


def _unfit(problem: str, where: str | os.PathLike[str]) -> ModelError:
    return ModelError(f"the model's tensors do not fit its description ({problem})", where=where, remedy=FETCH_AGAIN)
