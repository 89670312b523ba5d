"""Convolutions in bfloat16: nearly the same heatmaps, the last layers exact, and the network as it was afterwards."""

from __future__ import annotations

import pytest
import torch

from FetusMapV2Lib.estimation.network_runner import NetworkRunner
from FetusMapV2Lib.network.bfloat16 import computes_bfloat16, convolutions_in_bfloat16
from FetusMapV2Lib.network.unet import UNet3d

CPU = torch.device("cpu")
SIZE = (16, 16, 16)


@pytest.fixture
def network() -> UNet3d:
    torch.manual_seed(0)
    network = UNet3d(widths=(4, 8, 16)).eval()
    torch.nn.init.normal_(network.head.weight)
    return network


@pytest.fixture
def batch() -> torch.Tensor:
    return torch.rand(1, 1, *SIZE, generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def test_the_last_layers_are_exact(network: UNet3d, batch: torch.Tensor) -> None:
    expected = network(batch)
    dtypes: dict[str, torch.dtype] = {}
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Conv3d):
            module.register_forward_hook(lambda _m, _i, out, name=name: dtypes.update({name: out.dtype}))
    with convolutions_in_bfloat16(network):
        found = network(batch)
    exact = {name for name, dtype in dtypes.items() if dtype == torch.float32}
    assert exact == {"up.0.convs.second.conv", "head"} and len(dtypes) == 11
    assert found.dtype == torch.float32
    error = (found - expected).std() / expected.std()
    assert 1e-3 < error < 0.04


@torch.inference_mode()
def test_afterwards_the_network_is_as_before(network: UNet3d, batch: torch.Tensor) -> None:
    expected = network(batch)
    with pytest.raises(RuntimeError, match="for a test"), convolutions_in_bfloat16(network):
        raise RuntimeError("for a test")
    assert torch.equal(network(batch), expected)
    assert all("forward" not in vars(module) for module in network.modules())


@torch.inference_mode()
def test_the_runner_uses_what_the_cpu_has(network: UNet3d, batch: torch.Tensor, monkeypatch) -> None:
    runner = NetworkRunner(network, SIZE, CPU, "for a test")
    found = {}
    for there in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda there=there: there, raising=False)
        assert computes_bfloat16(CPU) == there and not computes_bfloat16(torch.device("cuda"))
        found[there] = runner.run_once(batch[0, 0], torch.clone)
    assert not torch.equal(found[True], found[False])
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    runner.bfloat16 = False
    assert torch.equal(runner.run_once(batch[0, 0], torch.clone), found[False])
