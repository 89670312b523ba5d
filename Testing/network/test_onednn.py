"""Small convolutions in halves: values and gradients of the plain ones, and only where there is something to win."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

from FetusMapV2Lib.network.onednn import small_convolutions_by_onednn
from FetusMapV2Lib.network.unet import UNet3d


class Batches(TorchFunctionMode):
    """Notes the batch size of every convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.conv3d:
            self.sizes.append(args[0].shape[0])
        return func(*args, **(kwargs or {}))


def halved(conv: nn.Module, volume: Tensor) -> bool:
    with Batches() as noted, small_convolutions_by_onednn(conv):
        conv(volume)
    return noted.sizes == [2]


@pytest.mark.parametrize("planes", [8, 9])
@pytest.mark.parametrize("kernel", [1, 3, (5, 1, 3)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last_3d])
def test_values_and_gradients_are_those_of_the_whole(planes: int, kernel, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    volume = torch.randn(1, 3, planes, 10, 12).contiguous(memory_format=layout).requires_grad_()
    padding = kernel // 2 if isinstance(kernel, int) else tuple(side // 2 for side in kernel)
    conv = nn.Conv3d(3, 4, kernel, padding=padding)
    upstream = torch.randn(1, 4, planes, 10, 12)
    reached = (volume, *conv.parameters())
    plain = conv(volume)
    wanted = torch.autograd.grad(plain, reached, upstream)
    assert halved(conv, volume)
    with small_convolutions_by_onednn(conv):
        quick = conv(volume)
    torch.testing.assert_close(quick, plain, rtol=1e-5, atol=1e-5)
    for found, expected in zip(torch.autograd.grad(quick, reached, upstream), wanted, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert "forward" not in vars(conv)


def test_a_network_sees_the_same_and_is_left_as_it_was() -> None:
    torch.manual_seed(0)
    network, volume = UNet3d(widths=(4, 8, 12)), torch.randn(1, 1, 24, 16, 20)
    plain = network(volume)
    with small_convolutions_by_onednn(network), small_convolutions_by_onednn(network):
        torch.testing.assert_close(network(volume), plain, rtol=1e-4, atol=1e-5)
    assert torch.equal(network(volume), plain)
    with pytest.raises(ZeroDivisionError), small_convolutions_by_onednn(network):
        raise ZeroDivisionError
    assert torch.equal(network(volume), plain)


def test_checkpoints_run_again_what_they_ran_before() -> None:
    torch.manual_seed(0)
    network, volume = UNet3d(widths=(4, 8)), torch.randn(1, 1, 16, 16, 16)
    network(volume).sum().backward()
    wanted = [parameter.grad.clone() for parameter in network.parameters()]
    network.zero_grad()
    with small_convolutions_by_onednn(network):
        checkpoint(network, volume, use_reentrant=False).sum().backward()
    for parameter, expected in zip(network.parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-3, atol=1e-3)


def test_what_gains_nothing_is_left_alone() -> None:
    volume = torch.zeros(1, 2, 8, 8, 8)
    conv = nn.Conv3d(2, 2, 3, padding=1)
    assert halved(conv, volume)
    assert not halved(conv, torch.zeros(1, 2, 4, 8, 8))  # too few voxels
    assert not halved(nn.Conv3d(40, 2, 3, padding=1), torch.zeros(1, 40, 24, 24, 1))  # oneDNN takes it as it is
    assert not halved(conv.double(), volume.double())
    conv.float()
    assert not halved(nn.Conv3d(2, 2, 3), volume)  # gives fewer planes
    assert not halved(nn.Conv3d(2, 2, 3, padding=2, dilation=2), volume)
    assert not halved(nn.Conv3d(2, 2, 3, padding=1, stride=2), volume)
    assert not halved(nn.Conv3d(2, 2, 3, padding=1, groups=2), volume)
    assert not halved(nn.Conv3d(2, 2, 3, padding=1, padding_mode="replicate"), volume)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not halved(conv, volume)
