"""Speeds of machines on disk: the tables that are shipped, and what was measured on this computer."""

from __future__ import annotations

import hashlib
import json
import logging
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import nn

from FetusMapV2Lib.core.atomic_files import write_json
from FetusMapV2Lib.core.errors import InputError, UserError
from FetusMapV2Lib.core.resources import resource_path
from FetusMapV2Lib.core.serialisation import from_json, to_json
from FetusMapV2Lib.core.user_folders import user_cache_folder
from FetusMapV2Lib.memory.machine import Machine

_LOG = logging.getLogger(__name__)

#: Names of the shipped tables.
SHIPPED = ("h100", "h200")
_VERSION = 1
_FOLDER = "machines"


@dataclass(frozen=True)
class MachineFile:
    """Speeds of one device.

    Attributes:
        version: of the format.
        precisions: speeds by precision, see `precision_name`.
        how: how each number came about, in words.
        key: of what was measured, see `measurement_key`; empty in a shipped table.
    """

    version: int
    precisions: Mapping[str, Machine]
    how: Mapping[str, str] = field(default_factory=dict)
    key: Mapping[str, str] = field(default_factory=dict)


def precision_name(device: torch.device | str, autocast: torch.dtype | None) -> str:
    """Of convolutions: "bf16", "fp16", "tf32" or "fp32"."""
    if autocast is not None:
        return {torch.bfloat16: "bf16", torch.float16: "fp16"}.get(autocast, str(autocast).removeprefix("torch."))
    return "tf32" if torch.device(device).type == "cuda" and torch.backends.cudnn.allow_tf32 else "fp32"


def machine_named(name: str, precision: str) -> Machine:
    """A machine by name: "cpu" (assumed), "h100" or "h200" (from a shipped table), or a file of speeds.

    Args:
        name: or path.
        precision: see `precision_name`; another one stands in where a file lacks it.

    Raises:
        UserError: neither a name nor a file of speeds.
    """
    if name == "cpu":
        return Machine.cpu()
    path = resource_path("Machines", f"{name}.json") if name in SHIPPED else Path(name)
    if not path.is_file():
        remedy = f"Known: cpu, {', '.join(SHIPPED)}, or a file that was measured"
        raise UserError(f"unknown machine {name!r}", remedy=remedy)
    return _of_precision(read_machine_file(path), precision, path)


def read_machine_file(path: Path) -> MachineFile:
    """Read a file of speeds.

    Raises:
        InputError: it cannot be read, or is something else.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError("cannot be read as speeds of a machine", where=path, remedy="Measure again") from error
    found = from_json(MachineFile, data, "this file of speeds", where=path)
    if found.version != _VERSION:
        raise InputError(f"has version {found.version} of speeds, not {_VERSION}", where=path, remedy="Measure again")
    return found


def _of_precision(file: MachineFile, precision: str, path: Path) -> Machine:
    order = (precision, "tf32", "fp32", "bf16")
    found = next((file.precisions[name] for name in order if name in file.precisions), None)
    if found is None:
        raise InputError("has no speeds", where=path, remedy="Measure again")
    return found


def shipped_for(device_name: str, precision: str) -> Machine:
    """The shipped table of a device, or of the most similar one, which its name then says."""
    lowered = device_name.lower()
    known = next((name for name in SHIPPED if name in lowered), None)
    if known is not None:
        return machine_named(known, precision)
    found = machine_named("h100", precision)
    return replace(found, name=f"{found.name}, not of this {device_name}")


def measurement_key(
    network: nn.Module, input_size: tuple[int, ...], device: torch.device, precision: str, batch: int
) -> dict[str, str]:
    """What measurements hold for: device, driver, torch, network, input size, batch and precision."""
    shapes = [(name, tuple(parameter.shape)) for name, parameter in network.named_parameters()]
    return {
        "device": device_name(device),
        "driver": _driver(device),
        "torch": torch.__version__,
        "network": hashlib.sha256(repr(shapes).encode()).hexdigest()[:16],
        "input": "x".join(str(n) for n in (batch, *input_size)),
        "precision": precision,
    }


def device_name(device: torch.device) -> str:
    """Such as "NVIDIA H200"; a processor by its kind and the threads in use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"


def _driver(device: torch.device) -> str:
    if device.type != "cuda":
        return platform.platform()
    driver = getattr(torch._C, "_cuda_getDriverVersion", lambda: "")()
    parts = (driver, torch.version.cuda, torch.backends.cudnn.version())
    return " ".join(str(part) for part in parts)


def cached_path(key: Mapping[str, str]) -> Path:
    """Where measurements lie."""
    digest = hashlib.sha256(json.dumps(dict(key), sort_keys=True).encode()).hexdigest()[:20]
    return user_cache_folder() / _FOLDER / f"{digest}.json"


def read_cached(key: Mapping[str, str]) -> Machine | None:
    """What was measured for a key; None where it was not, or the file is damaged or another's."""
    path = cached_path(key)
    if not path.is_file():
        return None
    try:
        found = read_machine_file(path)
        if dict(found.key) != dict(key):
            return None
        machine = found.precisions.get(key["precision"])
    except UserError as error:
        _LOG.info("measurements are made again: %s", error)
        return None
    return machine if machine is not None and machine.timings is not None else None


def write_cached(key: Mapping[str, str], machine: Machine) -> Path | None:
    """Keep measurements; gives the file, or None where the folder cannot be written."""
    path = cached_path(key)
    how = {"timings": "micro-benchmarks of the network's own operations on the device, medians"}
    content = MachineFile(_VERSION, {key["precision"]: machine}, how, dict(key))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, to_json(content))
    except (OSError, UserError) as error:
        _LOG.warning("measurements of this machine cannot be kept: %s", error)
        return None
    return path
