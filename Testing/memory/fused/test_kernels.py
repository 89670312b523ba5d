"""The executor run by fused kernels, and what happens where they cannot run."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from memory.networks import error, managed, run, slabs, volume

from FetusMapV2Lib.memory.fused import availability, kernels, operations
from FetusMapV2Lib.memory.fused.kernels import FusedKernels, kernels_for
from FetusMapV2Lib.memory.kernels import Statistics, TorchKernels
from FetusMapV2Lib.network.unet import UNet3d

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def no_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(availability, "_failures", [])


def channels_last(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).contiguous(
        memory_format=torch.channels_last_3d
    )


def test_kernels_compile_for_a_gpu_and_read_vectors(tmp_path):
    """For one that need not be there; nothing imports Triton before."""
    pytest.importorskip("triton", minversion="3.7")  # what the compiler is told differs between versions
    script = Path(__file__).with_name("compile_kernels.py")
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, str(script), "bf16", "80", "16", "16"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == 9


def test_a_cpu_runs_the_plain_operations():
    assert type(kernels_for(CPU)) is TorchKernels


@pytest.mark.skipif(not INTERPRETED, reason="a GPU runs the kernels")
def test_every_operation_agrees_with_the_plain_one():
    pytest.importorskip("triton")
    plain, fused = TorchKernels(), FusedKernels()
    z, g = channels_last(2, 5, 4, 2, 6), channels_last(2, 5, 4, 2, 6).flip(0)
    g = g.contiguous(memory_format=torch.channels_last_3d)
    found, known = fused.statistics(z, False), plain.statistics(z, False)
    assert found.count == known.count and torch.allclose(found.variance, known.variance)
    scale = plain.scale_and_shift(known, None, None, 1e-5, slice(None))
    into = torch.empty_like(z)
    assert fused.activate(z, scale, 0.0, False, into) is into
    expected = plain.activate(z, scale, 0.0, False)
    assert torch.allclose(into, expected, atol=1e-6) and torch.allclose(
        fused.activate(z, scale, 0.0, False), expected, atol=1e-6
    )
    sums = plain.norm_sums(g, z, known, scale[2], slice(None))
    for one, other in zip(fused.norm_sums(g, z, known, scale[2], slice(None)), sums, strict=True):
        assert torch.allclose(one, other, atol=1e-5)
    dz, other = torch.empty_like(z), torch.empty_like(z)
    fused.norm_backward(g, z, scale, known, sums, slice(None), dz)
    plain.norm_backward(g, z, scale, known, sums, slice(None), other)
    assert torch.allclose(dz, other, atol=1e-5)
    pooled, upsampled = plain.pool(z), plain.upsample(z, _twice)
    assert torch.equal(fused.pool(z), pooled) and torch.equal(
        fused.pool_backward(pooled, z), plain.pool_backward(pooled, z)
    )
    assert torch.allclose(fused.upsample(z, _twice), upsampled, atol=1e-6)
    assert torch.allclose(fused.upsample_backward(upsampled), plain.upsample_backward(upsampled), atol=1e-5)
    assert torch.equal(fused.pool_activated(z, scale, 0.0), plain.pool_activated(z, scale, 0.0))
    one, other = g.clone(memory_format=torch.channels_last_3d), g.clone()
    masked, found = fused.masked_sums(one, expected, z, scale, known, 0.0)
    wanted, others = plain.masked_sums(other, expected, z, scale, known, 0.0)
    assert masked is one and torch.allclose(masked, wanted)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found, others, strict=True))
    fused.add_pool_backward(one, pooled, z)
    plain.add_pool_backward(other, pooled, z)
    assert torch.allclose(one, other, atol=1e-6)
    fused.add_upsample_backward(one, upsampled[:, :, 2:6], 2, 6)
    plain.add_upsample_backward(other, upsampled[:, :, 2:6], 2, 6)
    assert torch.allclose(one, other, atol=1e-5)
    assert not availability._failures


def _twice(x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.interpolate(x, scale_factor=2, mode="trilinear", align_corners=False)


def test_a_failing_kernel_is_told_once_and_the_plain_operation_runs(monkeypatch, caplog):
    monkeypatch.setattr(kernels, "usable", lambda device: not availability._failures)
    monkeypatch.setattr(operations, "moments", _fail)
    z = channels_last(1, 3, 2, 2, 2)
    with caplog.at_level(logging.WARNING):
        found = [FusedKernels().statistics(z, False) for _ in range(2)]
    assert all(torch.allclose(each.mean, z.mean((0, 2, 3, 4)), atol=1e-6) for each in found)
    assert [record.getMessage() for record in caplog.records] == [
        "Fused kernels do not run here, the plain operations do: no such instruction"
    ]


def _fail(*_: object) -> Statistics:
    raise RuntimeError("no such instruction\nptxas, line 3")


def test_out_of_memory_is_not_taken_for_a_failing_kernel(monkeypatch):
    monkeypatch.setattr(kernels, "usable", lambda device: True)
    monkeypatch.setattr(operations, "pool", _run_out)
    with pytest.raises(torch.OutOfMemoryError):
        FusedKernels().pool(channels_last(1, 3, 2, 2, 2))
    assert not availability._failures


def _run_out(*_: object) -> torch.Tensor:
    raise torch.OutOfMemoryError("CUDA out of memory")


def test_the_environment_switches_the_kernels_off(monkeypatch):
    monkeypatch.setenv(availability.SWITCH, "0")
    assert not availability.usable(CPU) and not availability.usable(torch.device("cuda"))


@pytest.mark.skipif(not INTERPRETED, reason="a GPU runs the kernels")
def test_the_slab_executor_with_fused_kernels_is_as_exact_in_float32(monkeypatch):
    pytest.importorskip("triton")
    torch.manual_seed(0)
    network, x = UNet3d(1, 3, (4, 6)), volume(dtype=torch.float32, size=(8, 4, 8))
    expected = run(network, network, x)
    calls = _counted(monkeypatch)
    monkeypatch.setattr("FetusMapV2Lib.memory.managed.kernels_for", lambda device, *rest: FusedKernels(*rest))
    found = run(network, managed(network, slabs(network, 4, channels_last=True)), x)
    assert error(found[0], expected[0]) < 1e-5 and error(found[1], expected[1]) < 2e-4
    assert min(calls.values()) > 0 and not availability._failures, calls


def _counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often the executor calls each fused operation."""
    names = (
        "activate",
        "moments",
        "gradient_sums",
        "gradient_of_z",
        "pool",
        "pool_backward",
        "upsample_backward",
        "upsample",
    )
    calls = dict.fromkeys(names, 0)
    for name in calls:
        monkeypatch.setattr(operations, name, _counting(calls, name, getattr(operations, name)))
    return calls


def _counting(calls: dict[str, int], name: str, operation: Callable[..., Any]) -> Callable[..., Any]:
    def count(*values: Any, **named: Any) -> Any:
        calls[name] += 1
        return operation(*values, **named)

    return count
