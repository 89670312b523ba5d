"""A GPU that this build of PyTorch has no kernels for: named with the remedy, and left alone by "auto"."""

from __future__ import annotations

import pytest
import torch

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.estimation.network_runner import choose_device, lacks_kernels

BUILT_FOR = ["sm_75", "sm_80", "sm_86", "sm_90"]


@pytest.mark.parametrize(
    ("capability", "architectures", "lacks"),
    [
        ((8, 6), BUILT_FOR, False),
        ((8, 9), BUILT_FOR, False),  # runs what was made for 8.6
        ((6, 1), BUILT_FOR, True),
        ((12, 0), BUILT_FOR, True),
        ((12, 0), [*BUILT_FOR, "compute_90"], False),  # compiled by the driver
        ((9, 0), ["sm_90a"], False),
        ((7, 0), ["sm_75"], True),
        ((7, 0), [], False),  # unknown
    ],
)
def test_kernels_of_a_build(capability, architectures, lacks):
    assert lacks_kernels(capability, architectures) == lacks


@pytest.fixture
def old_gpu(monkeypatch):
    """A computer with a GPU that is older than all kernels."""
    for name, answer in (
        ("is_available", True),
        ("device_count", 1),
        ("get_arch_list", BUILT_FOR),
        ("get_device_capability", (6, 1)),
        ("get_device_name", "NVIDIA GeForce GTX 1080"),
    ):
        monkeypatch.setattr(torch.cuda, name, lambda *_given, answer=answer: answer)


def test_auto_takes_the_cpu_and_says_why(old_gpu):
    device, reason = choose_device("auto")
    assert device.type == "cpu"
    assert reason.startswith("this PyTorch has no kernels for the GPU NVIDIA GeForce GTX 1080 (compute capability 6.1;")
    assert "Install a PyTorch that is built for it" in reason


def test_asked_for_it_is_refused_with_the_remedy(old_gpu):
    with pytest.raises(UserError) as caught:
        choose_device("cuda")
    assert "cuda: this PyTorch has no kernels for the GPU" in caught.value.line()
    assert "use auto or cpu" in caught.value.line() and "\n" not in caught.value.line()
