"""Other people's memory savers on the same network: memcnn's couplings and torch.compile's activation budget."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
from torch import Tensor, fx, nn

from FetusMapV2Lib.memory.paper.conversion import find_passes
from FetusMapV2Lib.memory.paper.reversible import ReversibleBlock
from FetusMapV2Lib.network import unet


def memcnn_network(network: nn.Module) -> nn.Module:
    """The network with memcnn's additive couplings in the places where REV puts reversible blocks.

    Without `keep_input` memcnn frees the output of the ReLU before a block, and autograd refuses the backward pass.
    """
    import memcnn

    for path in find_passes(network):
        parent, _, name = path.rpartition(".")
        block = network.get_submodule(path)
        pair = ReversibleBlock.like(block.get_submodule("conv"), block.get_submodule("norm"))
        coupling = memcnn.AdditiveCoupling(pair.f[0], pair.g[0])
        wrapped = memcnn.InvertibleModuleWrapper(coupling, keep_input=True, keep_input_inverse=True)
        setattr(network.get_submodule(parent), name, wrapped)
    return network


def has_memcnn() -> bool:
    """Whether it is installed."""
    return importlib.util.find_spec("memcnn") is not None


def partitioned(
    network: unet.UNet3d, loss: Callable[[Tensor, Tensor], Tensor], budget: float
) -> Callable[[Tensor, Tensor], Tensor]:
    """(volume, target) to the loss by graphs that torch.compile's min-cut partitioner made under an activation budget.

    Upsampling is one opaque operation, because taken apart it hides what may be recomputed; the graphs run node by node
    and release every value after its last use. Compilation happens at the first call, which must lie inside the
    `activation_budget` context of the same budget.
    """
    from torch._functorch.aot_autograd import aot_function
    from torch._functorch.partitioners import min_cut_rematerialization_partition
    from torch.func import functional_call

    names = [name for name, _ in network.named_parameters()]

    def whole(volume: Tensor, target: Tensor, *values: Tensor) -> Tensor:
        return loss(functional_call(network, dict(zip(names, values, strict=True)), (volume,)), target)

    compiled = aot_function(
        whole, _node_by_node, _node_by_node, partition_fn=min_cut_rematerialization_partition, num_params_buffers=0
    )

    def call(volume: Tensor, target: Tensor) -> Tensor:
        import torch._functorch.config as settings

        with settings.patch(activation_memory_budget=budget), mock.patch.object(unet, "upsample_twice", _upsample):
            result: Tensor = compiled(volume, target, *network.parameters())
            return result

    return call


def _node_by_node(graph: fx.GraphModule, example: Any) -> Callable[[list[Any]], Any]:
    def run(arguments: list[Any]) -> Any:
        return fx.Interpreter(graph).boxed_run(arguments)

    run._boxed_call = True  # type: ignore[attr-defined]  # the graph may free its inputs
    return run


def _twice(shape: torch.Size, factor: float) -> list[int]:
    return [*shape[:2], *(int(n * factor) for n in shape[2:])]


@torch.library.custom_op("fetusmap_benchmark::upsample", mutates_args=())
def _upsample(x: Tensor) -> Tensor:
    size = _twice(x.shape, 2)[2:]
    return torch.ops.aten.upsample_trilinear3d.default(x, size, False, 2.0, 2.0, 2.0)


@_upsample.register_fake
def _(x: Tensor) -> Tensor:
    return x.new_empty(_twice(x.shape, 2))


@torch.library.custom_op("fetusmap_benchmark::upsample_backward", mutates_args=())
def _upsample_backward(gradient: Tensor) -> Tensor:
    size, below = list(gradient.shape[2:]), _twice(gradient.shape, 0.5)
    return torch.ops.aten.upsample_trilinear3d_backward.default(gradient, size, below, False, 2.0, 2.0, 2.0)


@_upsample_backward.register_fake
def _(gradient: Tensor) -> Tensor:
    return gradient.new_empty(_twice(gradient.shape, 0.5))


_upsample.register_autograd(lambda ctx, gradient: _upsample_backward(gradient))
