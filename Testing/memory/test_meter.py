"""The meter counts each live storage once, rounded as the CUDA allocator rounds, and forgets it when it dies."""

from __future__ import annotations

import pytest
import torch
from benchmarks.memory_bench.measuring import measure_step

from FetusMapV2Lib.memory.meter import PeakMeter, on_meta
from FetusMapV2Lib.network.unet import UNet3d

KIB = 1024


def test_live_tensors_are_summed():
    with PeakMeter() as meter:
        a = torch.zeros(KIB)
        b = a + 1
        assert meter.current == 8 * KIB
        del a
        assert meter.current == 4 * KIB
        c = b * 2
        del b, c
    assert meter.current == 0
    assert meter.peak == 8 * KIB


def test_views_and_changes_in_place_cost_nothing():
    with PeakMeter() as meter:
        a = torch.zeros(2, KIB)
        a[:, 1:].mul_(2).relu_()
        a.view(-1).t()
    assert meter.peak == 8 * KIB


def test_small_storages_are_rounded_up():
    with PeakMeter() as meter:
        torch.zeros(1)
    assert meter.peak == 512


def test_tensors_from_before_are_counted_on_request():
    a = torch.zeros(KIB)
    meter = PeakMeter()
    meter.count([a, a[1:]], {"also": a})
    assert meter.current == meter.peak == 4 * KIB


def test_only_one_device_is_counted():
    with PeakMeter("meta") as meter:
        torch.zeros(KIB)
        torch.empty(KIB, device="meta")
    assert meter.peak == 4 * KIB


@pytest.mark.parametrize("transposed", [False, True])
def test_operations_of_convolutions(transposed):
    from torch.utils.flop_counter import FlopCounterMode

    kind = torch.nn.ConvTranspose3d if transposed else torch.nn.Conv3d
    conv = kind(3, 4, 3, stride=2, padding=1)
    x = torch.randn(2, 3, 8, 10, 6, requires_grad=True)
    with PeakMeter() as meter:
        conv(x).sum().backward()
    with FlopCounterMode(display=False) as counter:
        conv(x).sum().backward()
    assert meter.flops == counter.get_total_flops()


def test_data_free_tensors_peak_like_real_ones():
    network = UNet3d(1, 4, (4, 8, 8))

    def step(module, device):
        return lambda: module(torch.zeros(1, 1, 16, 32, 16, device=device)).sum().backward()

    real = measure_step(step(network, "cpu"), "cpu", [list(network.parameters())])
    twin = on_meta(network)
    free = measure_step(step(twin, "meta"), "meta", [list(twin.parameters())])
    assert free.peak_bytes == pytest.approx(real.peak_bytes, rel=0.01)
    assert free.flops == real.flops


def test_timeline():
    found = measure_step(lambda: torch.zeros(KIB).exp(), "cpu", timeline=True)
    assert [name for name, _ in found.timeline][-1] == "exp"
    assert max(size for _, size in found.timeline) == found.peak_bytes == 8 * KIB


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_allocator():
    found = measure_step(lambda: torch.zeros(2**20, device="cuda"), "cuda")
    assert found.peak_bytes >= 4 * 2**20
