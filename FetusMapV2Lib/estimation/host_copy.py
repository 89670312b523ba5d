"""One copy from the device to the CPU, for all that a look at a volume has found."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def host_copies(tensors: Sequence[Tensor]) -> list[NDArray[np.float64]]:
    """Tensors of one device as float64 arrays: one copy, for which alone the CPU waits."""
    if not tensors:
        return []
    values = torch.cat([tensor.detach().reshape(-1).double() for tensor in tensors]).cpu().numpy()
    parts = np.split(values, np.cumsum([tensor.numel() for tensor in tensors])[:-1])
    return [part.reshape(tuple(tensor.shape)) for part, tensor in zip(parts, tensors, strict=True)]
