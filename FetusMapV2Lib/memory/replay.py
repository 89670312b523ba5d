"""Runs a part of a network once more as it ran before: same random numbers, running statistics left alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

#: Generator states of the CPU and of a device.
RandomState = tuple[Tensor, Tensor | None]


def random_state(device: torch.device) -> RandomState:
    """Of the CPU and of the device, for dropout."""
    generator = _generator(device)
    return torch.get_rng_state(), None if generator is None else generator.get_state()


@contextmanager
def random_state_replayed(state: RandomState, device: torch.device) -> Iterator[None]:
    """Random numbers as they were then; afterwards those of now go on."""
    now = random_state(device)
    try:
        _set_random_state(state, device)
        yield
    finally:
        _set_random_state(now, device)


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


def _set_random_state(state: RandomState, device: torch.device) -> None:
    torch.set_rng_state(state[0])
    generator = _generator(device)
    if generator is not None and state[1] is not None:
        generator.set_state(state[1])


def _generator(device: torch.device) -> torch.Generator | None:
    """The device's own; None for a CPU and for a device that is only pretended."""
    if device.type == "cuda" and torch.cuda.is_initialized():
        return torch.cuda.default_generators[torch.cuda.current_device() if device.index is None else device.index]
    if device.type == "mps" and torch.backends.mps.is_available():
        return torch.mps._get_default_mps_generator()
    return None
