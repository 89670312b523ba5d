"""What a recomputation must find as the forward pass found it: modes, statistics, autocast."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from FetusMapV2Lib.memory.replay import statistics_frozen


@dataclass(frozen=True)
class Modes:
    """Training or evaluation, module by module."""

    modules: tuple[tuple[nn.Module, bool], ...]

    @classmethod
    def of(cls, module: nn.Module) -> Modes:
        """As they are now."""
        return cls(tuple((part, part.training) for part in module.modules()))

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """Modes as they were then; running statistics, which have been updated already, frozen."""
        now = Modes(tuple((part, part.training) for part, _ in self.modules))
        try:
            self._set()
            with statistics_frozen(*(part for part, _ in self.modules)):
                yield
        finally:
            now._set()

    def _set(self) -> None:
        for part, training in self.modules:
            part.training = training


def fixed_statistics(module: nn.Module) -> list[Tensor]:
    """Buffers that the result depends on; saved, so that autograd refuses a backward pass with changed ones."""
    return [buffer for part in module.modules() if not part.training for buffer in part.buffers(recurse=False)]


def autocast_enabled(device_type: str) -> bool:
    """Whether operations on a device choose their precision themselves now."""
    return torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type)


def autocast_now(device_type: str) -> Callable[[], AbstractContextManager[Any]]:
    """The autocast state as it is now, to be entered now and again later.

    Without the cache of cast weights: one made without gradients must not serve a layer that needs them.
    """
    if not torch.amp.is_autocast_available(device_type):
        return nullcontext
    enabled, dtype = torch.is_autocast_enabled(device_type), torch.get_autocast_dtype(device_type)
    return lambda: torch.autocast(device_type, dtype=dtype, enabled=enabled, cache_enabled=False)
