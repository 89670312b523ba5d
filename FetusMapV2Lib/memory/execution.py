"""Which executor runs a plan's choices."""

from __future__ import annotations

from functools import cached_property

import torch

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.memory.channel_executor import ChannelExecutor
from FetusMapV2Lib.memory.executor import Executor
from FetusMapV2Lib.memory.kernels import TorchKernels
from FetusMapV2Lib.memory.plan import Choices
from FetusMapV2Lib.memory.slab_executor import SlabExecutor
from FetusMapV2Lib.memory.streaming import StreamedExecutor
from FetusMapV2Lib.memory.top_level import Top, split_top
from FetusMapV2Lib.memory.unit_graph import UnitGraph


class Execution:
    """Makes an executor for every pass of a network.

    Args:
        graph: the network.
    """

    def __init__(self, graph: UnitGraph) -> None:
        self.graph = graph

    @cached_property
    def top(self) -> Top:
        """The network as streaming sees it.

        Raises:
            UserError: it is built otherwise.
        """
        return split_top(self.graph)

    def fuses_head(self, choices: Choices) -> bool:
        """Whether head and loss are one operation."""
        return choices.fused_head and self.graph.head is not None

    def executor(
        self,
        choices: Choices,
        kernels: TorchKernels,
        *,
        keep: bool,
        dtype: torch.dtype | None = None,
        wants_input: bool = False,
    ) -> Executor:
        """For one pass.

        Args:
            choices: how to run the network.
            kernels: operations on tensors, or on their sizes.
            keep: False at inference: nothing stays for a backward pass.
            dtype: that convolutions run in, None = the input's.
            wants_input: the input's gradient is wanted too.

        Raises:
            UserError: a streamed plan is asked for the input's gradient, or does not fit the network.
        """
        if (choices.by_rows or choices.channels_last) and not choices.slab_rows:
            return SlabExecutor(self.graph, choices, kernels, keep=keep, dtype=dtype, wants_input=wants_input)
        if not choices.slab_rows:
            return ChannelExecutor(self.graph, choices, kernels, keep=keep, dtype=dtype, wants_input=wants_input)
        if wants_input:
            raise UserError("a streamed plan gives no gradient of the input", remedy="Plan without slab-streaming")
        return StreamedExecutor(self.top, choices, kernels, keep=keep)
