"""torch's compiler: what it leaves alone, and how it is loaded where there is no GPU.

Torch loads its compiler when an optimiser is made or something is computed without data, and the compiler loads Triton
if it is installed. Triton's LLVM ends a process in which Mesa's has drawn before (VTK without a graphics card), and no
CPU needs it: so Triton is kept out where there is no GPU.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, ParamSpec, TypeVar

import torch

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")


def uncompiled(function: Callable[_Parameters, _Result]) -> Callable[_Parameters, _Result]:
    """A function that torch.compile calls as it is; unlike `torch.compiler.disable`, this loads nothing."""

    @functools.wraps(function)
    def called(*args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
        if torch.compiler.is_compiling():
            result: _Result = torch.compiler.disable(function)(*args, **kwargs)
            return result
        return function(*args, **kwargs)

    return called


@functools.cache
def load_compiler() -> None:
    """Load torch's compiler and its counter of operations, without Triton where no GPU could use it."""
    hidden = "triton" not in sys.modules and not torch.cuda.is_available()
    if hidden:
        sys.modules["triton"] = None  # type: ignore[assignment]  # an ImportError for who asks
    try:
        for name in ("torch._dynamo", "torch.utils.flop_counter"):
            import_module(name)
    finally:
        if hidden:
            del sys.modules["triton"]


def flop_formulas() -> dict[Any, Callable[..., int]]:
    """The formulas of `torch.utils.flop_counter`, by operation."""
    load_compiler()
    from torch.utils.flop_counter import flop_registry

    return flop_registry
