"""What cuDNN takes beside a convolution's tensors; the measurement itself needs a GPU."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from memory.networks import plan_of, small_unet
from torch.nn import functional as F

from FetusMapV2Lib.memory import workspace
from FetusMapV2Lib.memory.managed import ManagedNetwork
from FetusMapV2Lib.memory.plan import Choices
from FetusMapV2Lib.memory.workspace import (
    LIMIT_VARIABLE,
    ConvolutionShape,
    Workspace,
    limit_workspace,
    measure_workspace,
)

SHAPES = [
    ConvolutionShape((1, 3, 6, 7, 8), (5, 3, 3, 3, 3), (1, 1, 1)),
    ConvolutionShape((2, 3, 8, 7, 8), (5, 3, 3, 3, 3), (0, 1, 1)),
    ConvolutionShape((1, 4, 9, 9, 9), (2, 4, 3, 1, 3), (2, 0, 1), (2, 1, 1), (2, 1, 1)),
]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_output_has_the_shape_of_pytorch_s(shape):
    x, weight = torch.zeros(shape.x), torch.zeros(shape.weight)
    assert shape.output == tuple(F.conv3d(x, weight, None, shape.stride, shape.padding, shape.dilation).shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_three_operations_give_what_is_measured(shape):
    x, weight = torch.randn(shape.x), torch.randn(shape.weight)
    dz = torch.randn(shape.output)
    forward, *backward = (workspace._run(which, shape, x, weight, dz) for which in range(3))
    assert forward.shape == dz.shape
    assert [[part is not None for part in found] for found in backward] == [[True, False, False], [False, True, False]]


def test_a_cpu_has_no_workspace():
    found = measure_workspace(SHAPES[0], torch.device("cpu"))
    assert found == Workspace(0, 0, 0) and found.largest == 0


@pytest.mark.parametrize(
    ("given", "wanted", "holds", "left"),
    [
        (None, 64 << 20, True, "64"),
        (None, 1000, True, "1"),
        ("32", 64 << 20, True, "32"),
        ("128", 64 << 20, False, "128"),
    ],
)
def test_the_bound_is_set_unless_the_environment_has_one(monkeypatch, given, wanted, holds, left):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setenv(LIMIT_VARIABLE, "")  # so that what is set is taken back
    monkeypatch.delenv(LIMIT_VARIABLE)
    if given is not None:
        monkeypatch.setenv(LIMIT_VARIABLE, given)
    assert limit_workspace(wanted) is holds
    assert workspace.os.environ[LIMIT_VARIABLE] == left


def test_a_bound_comes_too_late_once_the_gpu_is_in_use(monkeypatch):
    monkeypatch.delenv(LIMIT_VARIABLE, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    assert not limit_workspace(1 << 30) and LIMIT_VARIABLE not in workspace.os.environ


def test_a_managed_network_keeps_cudnn_within_its_plan(monkeypatch):
    """On a machine with a GPU that has not been used yet."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setenv(LIMIT_VARIABLE, "")
    monkeypatch.delenv(LIMIT_VARIABLE)
    network, plan = small_unet(), plan_of(Choices())
    ManagedNetwork(network, plan)
    assert LIMIT_VARIABLE not in workspace.os.environ
    ManagedNetwork(network, replace(plan, prediction=replace(plan.prediction, workspace_bytes=48 << 20)))
    assert workspace.os.environ[LIMIT_VARIABLE] == "48"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_the_workspace_of_a_gpu_is_measured_alike_twice():
    shape = ConvolutionShape((1, 40, 24, 48, 48), (40, 40, 3, 3, 3), (1, 1, 1))
    assert measure_workspace(shape, torch.device("cuda")) == measure_workspace(shape, torch.device("cuda"))
