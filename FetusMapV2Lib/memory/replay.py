"""Runs a part of a network once more as it ran before: same random numbers, buffers unchanged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


def random_states() -> Any:
    """Of all generators, for `Replayed`."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() and torch.cuda.is_initialized() else None
    return torch.get_rng_state(), cuda


class Replayed:
    """Runs something with the generator states of its first run, and leaves buffers (running statistics) alone."""

    def __init__(self, states: Any, module: nn.Module | None) -> None:
        self.states, self.module = states, module

    def __enter__(self) -> None:
        self.before = random_states()
        _set_random(self.states)
        buffers: Iterable[Tensor] = () if self.module is None else self.module.buffers()
        self.buffers = [(buffer, buffer.clone()) for buffer in buffers]

    def __exit__(self, *_: object) -> None:
        _set_random(self.before)
        with torch.no_grad():
            for buffer, value in self.buffers:
                buffer.copy_(value)


def _set_random(states: Any) -> None:
    if states is None:
        return
    torch.set_rng_state(states[0])
    if states[1] is not None:
        torch.cuda.set_rng_state_all(states[1])
