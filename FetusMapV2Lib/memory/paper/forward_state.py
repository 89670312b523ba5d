"""What a recomputation must find as the forward pass found it: modes, statistics, autocast, random numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


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


@contextmanager
def statistics_frozen(*modules: nn.Module) -> Iterator[None]:
    """Modules work on copies of their buffers, so that no running statistic is updated."""
    parts = {part for module in modules for part in module.modules()}
    originals = [(part, name, buffer) for part in parts for name, buffer in part.named_buffers(recurse=False)]
    try:
        for part, name, buffer in originals:
            setattr(part, name, buffer.clone())
        yield
    finally:
        for part, name, buffer in originals:
            setattr(part, name, buffer)


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


def random_state(device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Of the CPU and of the device, for dropout."""
    generator = _generator(device)
    return torch.get_rng_state(), None if generator is None else generator.get_state()


def _set_random_state(state: tuple[Tensor, Tensor | None], device: torch.device) -> None:
    torch.set_rng_state(state[0])
    generator = _generator(device)
    if generator is not None and state[1] is not None:
        generator.set_state(state[1])


@contextmanager
def random_state_replayed(state: tuple[Tensor, Tensor | None], device: torch.device) -> Iterator[None]:
    """Random numbers as they were then; afterwards those of now go on."""
    now = random_state(device)
    try:
        _set_random_state(state, device)
        yield
    finally:
        _set_random_state(now, device)


def _generator(device: torch.device) -> torch.Generator | None:
    """The device's own; None for a CPU and for a device that is only pretended."""
    if device.type == "cuda" and torch.cuda.is_initialized():
        return torch.cuda.default_generators[torch.cuda.current_device() if device.index is None else device.index]
    if device.type == "mps" and torch.backends.mps.is_available():
        return torch.mps._get_default_mps_generator()
    return None
