"""The tensors of a model file: weights in the precision they are stored in, and network and pose library from them.

What is read is checked before anything is built.
"""

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
#: What the names of a network's weights, and of the scales of those in 8 bits, begin with in a file.
_WEIGHTS, _SCALES = "network.", "scales."
#: Of a weight stored in 8 bits.
_LARGEST = 127


def stored_network(network: UNet3d, precision: str) -> dict[str, Tensor]:
    """A network's weights as a file stores them, and the scales of those in 8 bits.

    With the precision "int8" a kernel is stored as whole numbers of -127 to 127 with a scale (float32) for each of its
    first channels, what is no kernel as float32. Stored again after reading, the numbers and scales stay the same.

    Args:
        network: whose weights are stored.
        precision: "float32", "float16" or "int8".

    Returns:
        The tensors of `network_from` by their names in the file.
    """
    weights = {name: value.detach().to("cpu").contiguous() for name, value in network.state_dict().items()}
    kind = torch.float16 if precision == "float16" else torch.float32
    stored = {_WEIGHTS + name: value.to(kind) for name, value in weights.items()}
    kernels = [name for name, value in weights.items() if value.ndim > 1] if precision == "int8" else []
    for name in kernels:
        kernel = stored[_WEIGHTS + name]
        scales = _scales(kernel)
        stored[_WEIGHTS + name] = (kernel / _along_first(scales, kernel)).round().to(torch.int8)
        stored[_SCALES + name] = scales
    return stored


def _scales(kernel: Tensor) -> Tensor:
    """Of each first channel, in so few bits that 127 times a scale is exact."""
    least = (kernel.abs().flatten(1).amax(dim=1) / _LARGEST).clamp(min=torch.finfo(torch.float32).tiny)
    return ((least.view(torch.int32) + 0xFF) & ~0xFF).view(torch.float32)


def _along_first(scales: Tensor, kernel: Tensor) -> Tensor:
    return scales.view(-1, *[1] * (kernel.ndim - 1))


def network_from(info: ModelInfo, tensors: Mapping[str, Tensor], where: str | os.PathLike[str]) -> UNet3d:
    """The network of a description with the weights of a file, float32 on the CPU.

    Args:
        info: of `info_from`.
        tensors: by their names in the file (`stored_network`); others are left out.
        where: the file, for messages.

    Raises:
        ModelError: the weights are not those of the description, or not finite.
    """
    try:
        with torch.device("meta"):  # takes no memory, however large the network
            network = build_network(info.network)
    except (UserError, RuntimeError, ValueError, TypeError, AttributeError, LookupError) as error:
        raise _unfit(str(error), where) from error
    weights, scales = (
        {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        for prefix in (_WEIGHTS, _SCALES)
    )
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    for name, shape in expected.items():
        if name not in weights:
            raise _unfit(f"{name} is missing", where)
        if tuple(weights[name].shape) != shape:
            raise _unfit(f"{name} has the shape {tuple(weights[name].shape)}, not {shape}", where)
    for name, value in weights.items():
        if name not in expected:
            raise _unfit(f"{name} is no weight of the network", where)
        kind = "float32" if info.weights == "int8" and value.ndim < 2 else info.weights
        if str(value.dtype) != f"torch.{kind}":
            raise _unfit(f"{name} is of {value.dtype}, not {kind}", where)
        if not bool(torch.isfinite(value).all()):
            raise _unfit(f"{name} holds NaN or infinity", where)
    network.load_state_dict(_scaled(weights, scales, where), assign=True)
    return network


def _scaled(
    weights: Mapping[str, Tensor], scales: Mapping[str, Tensor], where: str | os.PathLike[str]
) -> dict[str, Tensor]:
    """Weights of float32, those in 8 bits times their scales."""
    in_bytes = {name for name, value in weights.items() if value.dtype == torch.int8}
    if in_bytes != set(scales):
        raise _unfit(f"not all weights in 8 bits have scales, or others do: {min(in_bytes ^ set(scales))}", where)
    read = {name: value.float() for name, value in weights.items()}
    for name, scale in scales.items():
        usable = scale.dtype == torch.float32 and scale.shape == read[name].shape[:1]
        if not usable or not bool(torch.isfinite(scale).all()):
            raise _unfit(f"the scales of {name} are not one finite number for each channel", where)
        read[name] *= _along_first(scale, read[name])
    return read


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
