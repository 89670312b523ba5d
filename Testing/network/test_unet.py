"""The UNet: its size, its shapes, and that it can be traced and built again."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.models.architectures import build_network
from FetusMapV2Lib.network.unet import PAPER_WIDTHS, UNet3d, coordinate_maps, parameter_bytes, upsample_twice


def test_paper_width_has_the_papers_size() -> None:
    with torch.device("meta"):
        network = UNet3d(widths=PAPER_WIDTHS)
    count = sum(p.numel() for p in network.parameters())
    assert count == 36_772_542
    # the paper's table says 147.98 MB; double convolutions on both sides give 0.6 % less
    assert parameter_bytes(network) / 1e6 == pytest.approx(147.98, rel=0.01)


def test_one_map_per_landmark_on_the_input_grid() -> None:
    network = UNet3d(widths=(4, 4, 4, 4, 4))
    assert network(torch.rand(2, 1, 32, 16, 48)).shape == (2, 22, 32, 16, 48)


@pytest.mark.parametrize("size", [(40, 32, 32), (16, 16, 8), (32, 31, 32)])
def test_sizes_that_do_not_halve_are_refused(size: tuple[int, int, int]) -> None:
    network = UNet3d(widths=(2, 2, 2, 2, 2))
    with pytest.raises(UserError, match="multiples of 16"):
        network(torch.zeros(1, 1, *size))


def test_no_running_statistics_and_no_bias_before_a_norm() -> None:
    network = UNet3d(widths=(2, 2, 2))
    assert not list(network.buffers())
    assert [name for name, _ in network.named_parameters() if name.endswith("conv.bias")] == []


def test_training_and_evaluation_mode_give_the_same() -> None:
    network = UNet3d(widths=(4, 6, 8))
    volume = torch.rand(1, 1, 16, 16, 16)
    assert torch.equal(network.train()(volume), network.eval()(volume))


def test_memory_format_does_not_change_the_result() -> None:
    network = UNet3d(widths=(4, 6, 8)).double()
    volume = torch.rand(1, 1, 16, 16, 16, dtype=torch.float64)
    plain = network(volume)
    network.to(memory_format=torch.channels_last_3d)
    assert torch.allclose(network(volume.contiguous(memory_format=torch.channels_last_3d)), plain, atol=1e-12)


def test_every_parameter_gets_a_gradient() -> None:
    network = UNet3d(widths=(4, 4, 4, 4, 4))
    network(torch.rand(1, 1, 32, 32, 32)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


@pytest.mark.parametrize("coordinates", [False, True])
def test_graph_tools_can_trace_it(coordinates: bool) -> None:
    network = UNet3d(widths=(2, 3, 4), coordinates=coordinates)
    volume = torch.rand(1, 1, 8, 8, 8)
    traced = torch.fx.symbolic_trace(network)
    assert torch.allclose(traced(volume), network(volume))
    exported = torch.export.export(network, (volume,)).module()
    assert torch.allclose(exported(volume), network(volume), atol=1e-6)


def test_coordinates_run_from_minus_one_to_one_along_k_j_i() -> None:
    maps = coordinate_maps(torch.zeros(2, 1, 5, 3, 2))
    assert maps.shape == (2, 3, 5, 3, 2)
    assert torch.allclose(maps[1, 0, :, 0, 0], torch.linspace(-1, 1, 5))
    assert maps[0, 1, 2, :, 1].tolist() == [-1.0, 0.0, 1.0]
    assert maps[0, 2, 0, 0].tolist() == [-1.0, 1.0]


def test_built_again_from_its_description() -> None:
    network = UNet3d(landmarks=5, widths=(2, 3, 4), coordinates=True)
    twin = build_network(network.config)
    twin.load_state_dict(network.state_dict())
    assert twin.config == network.config


def test_unknown_descriptions_are_refused() -> None:
    with pytest.raises(UserError, match="unknown network kind"):
        build_network({"kind": "transformer"})
    with pytest.raises(UserError, match="cannot be used"):
        build_network({"kind": "unet", "depth": 3})


def test_upsampling_passes_back_the_gradient_of_a_slice_of_channels() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 4, 3, 4, 5).contiguous(memory_format=torch.channels_last_3d).requires_grad_()
    skip = torch.randn(1, 2, 6, 8, 10).contiguous(memory_format=torch.channels_last_3d)
    upstream = torch.randn(1, 6, 6, 8, 10)
    (found,) = torch.autograd.grad(torch.cat((skip, upsample_twice(x)), dim=1), x, upstream)
    plain = F.interpolate(x, scale_factor=2, mode="trilinear", align_corners=False)
    (expected,) = torch.autograd.grad(plain, x, upstream[:, 2:])
    torch.testing.assert_close(found, expected)
