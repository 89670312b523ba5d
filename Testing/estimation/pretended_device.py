"""A device that is pretended: tensors on it hold their values, and every time the CPU waits for it is counted.

It goes by torch's device "meta", whose tensors otherwise hold nothing, and computes on the CPU. So the code that runs
on a GPU runs without one.
"""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

DEVICE = torch.device("meta")
CPU = torch.device("cpu")
_VALUES = torch.ops.aten._local_scalar_dense.default
_SHAPED_BY_VALUES = {
    torch.ops.aten.nonzero.default,
    torch.ops.aten.masked_select.default,
    torch.ops.aten._unique2.default,
    torch.ops.aten.repeat_interleave.Tensor,
}


class _OnDevice(torch.Tensor):
    """A tensor on the pretended device."""

    @staticmethod
    def __new__(cls, value: torch.Tensor) -> _OnDevice:
        return torch.Tensor._make_wrapper_subclass(
            cls, value.shape, value.stride(), value.storage_offset(), dtype=value.dtype, device=DEVICE
        )

    def __init__(self, value: torch.Tensor) -> None:
        self.value = value

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise AssertionError("tensors of a pretended device live while it is pretended")


class PretendedDevice(TorchDispatchMode):
    """While it is entered, `DEVICE` computes.

    Attributes:
        uploads: copies from the CPU to the device.
        downloads: copies from the device to the CPU.
        waits: single numbers that were read, and shapes that depend on values.
    """

    def __init__(self) -> None:
        super().__init__()
        self.uploads = self.downloads = self.waits = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        held: list[_OnDevice] = []
        tree_map_only(_OnDevice, held.append, (args, kwargs))
        target = kwargs.get("device")
        if target is not None and torch.device(target) == DEVICE:
            kwargs["device"] = CPU
        on_device = torch.device(target) == DEVICE if target is not None else bool(held)
        if func is torch.ops.aten._to_copy.default:
            self.uploads += on_device and not held
            self.downloads += bool(held) and not on_device
        elif func is torch.ops.aten.copy_.default and isinstance(args[0], _OnDevice) != isinstance(args[1], _OnDevice):
            self.uploads += isinstance(args[0], _OnDevice)
            self.downloads += isinstance(args[1], _OnDevice)
        elif held and (func is _VALUES or func in _SHAPED_BY_VALUES or _is_masked(func, args)):
            self.waits += 1
        args, kwargs = tree_map_only(torch.Tensor, _value, (args, kwargs))
        found = func(*args, **kwargs)
        # inference mode knows no views of tensors that are not its own
        with torch.inference_mode(False):
            return tree_map_only(torch.Tensor, _OnDevice, found) if on_device and func is not _VALUES else found


def _value(tensor: torch.Tensor) -> torch.Tensor:
    value = tensor.value if isinstance(tensor, _OnDevice) else tensor
    assert value.device == CPU, "a tensor came to the device on a way that is not pretended: make it on the CPU"
    return value


def _is_masked(func, args) -> bool:
    """Whether an index is a mask, whose count is the shape."""
    return func is torch.ops.aten.index.Tensor and any(
        one is not None and one.dtype in (torch.bool, torch.uint8) for one in args[1]
    )
