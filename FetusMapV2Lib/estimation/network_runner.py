"""Runs a model's network on a device, within a memory budget and with smaller memory plans when a GPU is full."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

import torch
from torch import Tensor

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.memory.machine import Machine
from FetusMapV2Lib.memory.managed import ManagedNetwork
from FetusMapV2Lib.memory.plan import BudgetError, MemoryPlan
from FetusMapV2Lib.memory.planner import plan_inference, plan_training
from FetusMapV2Lib.network.bfloat16 import computes_bfloat16, convolutions_in_bfloat16
from FetusMapV2Lib.network.onednn import small_convolutions_by_onednn
from FetusMapV2Lib.network.unet import UNet3d

Answer = TypeVar("Answer")
Size = tuple[int, int, int]

#: When a GPU is full, the next plan takes this share of the memory of the last one.
_NEXT_SHARE = 0.75
#: A budget that any network fits.
_PLENTY = 2**62
#: Of a feature map, so that its logarithm is finite.
_LEAST_DEVIATION = 1e-6


class NetworkRunner:
    """A network on a device.

    Args:
        network: moved to the device, and put into evaluation mode.
        input_size: (k, j, i) of its images.
        device: where it runs as long as the memory suffices.
        reason: why there.
        memory_budget: bytes that the network may take, its weights included; None = as much as it takes.

    Raises:
        BudgetError: the network does not fit the budget.
    """

    def __init__(
        self, network: UNet3d, input_size: Size, device: torch.device, reason: str, memory_budget: int | None = None
    ) -> None:
        self.network = network
        self.input_size = input_size
        self.reason = reason
        #: whether `settle` waits for a GPU, so that each stage is timed with what it started there
        self.exact_timings = False
        #: whether a CPU that computes bfloat16 does so where no memory plan is followed
        self.bfloat16 = True
        #: mean and logarithm of the standard deviation of each channel of the middle level in the last run, as
        #: `Familiarity` takes them; empty where a memory plan does not keep that level whole
        self.features = torch.zeros(0)
        self._budget = memory_budget
        self._budget_plan: MemoryPlan | None = None
        if memory_budget is not None:
            self._budget_plan = plan_inference(
                network, input_size, budget_bytes=memory_budget, machine=Machine.of(device)
            )
        self._use_plan(self._budget_plan)
        self._move_to(device)

    @property
    def memory_plan(self) -> str:
        """How the network is kept within a budget, one sentence; empty without a budget."""
        return "" if self._managed is None else self._managed.plan.summary()

    def run(self, image: Tensor, read: Callable[[Tensor], Answer], warnings: list[str]) -> Answer:
        """The result of `read` on the heatmaps; when a GPU is full, smaller and smaller plans are tried, then the CPU.

        Args:
            image: (k, j, i) grey values, on any device.
            read: called with the logits (L, k, j, i), float32, on the device; it may overwrite them.
            warnings: what was done about a full GPU is appended.
        """
        answer = self._attempt(image, read)
        if answer is not None:
            return answer
        while self.reduce_memory():
            answer = self._attempt(image, read)
            if answer is not None:
                warnings.append(f"The GPU's memory was too small; the network was run by a {self.memory_plan}.")
                return answer
        warnings.append("The GPU's memory was too small for this model; the estimate was computed on the CPU.")
        self.reason = "the GPU ran out of memory"
        self._use_plan(self._budget_plan)
        self._move_to(torch.device("cpu"))
        return self.run_once(image, read)

    @torch.inference_mode()
    def run_once(self, image: Tensor, read: Callable[[Tensor], Answer]) -> Answer:
        """`run` on the device as it is, whether or not its memory suffices.

        Raises:
            torch.cuda.OutOfMemoryError: the GPU is full.
        """
        batch = image[None, None].to(self.device)
        self.features = torch.zeros(0)
        if self._managed is not None:
            return read(self._managed(batch)[0].float())
        with self._fast_convolutions(), self._kept_features():
            logits = self._network(batch.contiguous(memory_format=torch.channels_last_3d))[0].float()
        return read(logits)

    def _fast_convolutions(self) -> AbstractContextManager[None]:
        plain = type(self._network) is UNet3d and self.device.type == "cpu"
        if self.bfloat16 and plain and computes_bfloat16(self.device):
            return convolutions_in_bfloat16(self._network)
        return small_convolutions_by_onednn(self._network)

    @contextmanager
    def _kept_features(self) -> Iterator[None]:
        """Let the network leave `features` behind."""
        if not isinstance(self.network, UNet3d):
            yield
            return

        def keep(module: torch.nn.Module, given: tuple[Tensor, ...], maps: Tensor) -> None:
            deviation, mean = torch.std_mean(maps[0].float().flatten(1), dim=1)
            self.features = torch.cat((mean, torch.log(deviation + _LEAST_DEVIATION)))

        down = self.network.down
        handle = down[len(down) // 2].register_forward_hook(keep)
        try:
            yield
        finally:
            handle.remove()

    def settle(self) -> None:
        """Wait for the GPU if timings are to be exact; otherwise it works on while the CPU prepares the next stage."""
        if self.exact_timings and self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    @property
    def total_bytes(self) -> int | None:
        """Memory of the GPU, None on the CPU."""
        return torch.cuda.get_device_properties(self.device).total_memory if self.device.type == "cuda" else None

    def expected_bytes(self, training: bool) -> int | None:
        """Predicted peak of a run, or of a training step, of the network; None where that cannot be predicted."""
        if self._budget_plan is not None:
            return self._budget_plan.prediction.peak_bytes
        planned = plan_training if training else plan_inference
        try:
            return planned(self.network, self.input_size, budget_bytes=_PLENTY).prediction.peak_bytes
        except UserError:
            return None

    def training_plan(self) -> MemoryPlan | None:
        """How a training step of the network stays within the budget; None without a budget.

        Raises:
            BudgetError: it cannot.
        """
        if self._budget_plan is None:
            return None
        budget = max(self._budget_plan.prediction.peak_bytes, self._budget or 0)
        return plan_training(self.network, self.input_size, budget_bytes=budget, machine=Machine.of(self.device))

    def reduce_memory(self) -> bool:
        """Switch to the next smaller memory plan; false if there is none."""
        if not isinstance(self.network, UNet3d):
            return False
        plan = self._smaller_plan()
        if plan is None:
            return False
        self._use_plan(plan)
        self._move_to(self.device)
        return True

    def _attempt(self, image: Tensor, read: Callable[[Tensor], Answer]) -> Answer | None:
        """`run_once`, None if the GPU is full."""
        try:
            return self.run_once(image, read)
        except torch.cuda.OutOfMemoryError:
            pass  # the error holds the tensors of the attempt until here
        torch.cuda.empty_cache()
        return None

    def _use_plan(self, plan: MemoryPlan | None) -> None:
        self._managed = ManagedNetwork(self.network, plan) if plan is not None and plan.manages else None

    def _smaller_plan(self) -> MemoryPlan | None:
        if self._managed is None:
            return plan_inference(self.network, self.input_size)
        peak = self._managed.plan.prediction.peak_bytes
        try:
            return plan_inference(self.network, self.input_size, budget_bytes=int(_NEXT_SHARE * peak))
        except BudgetError as error:
            return error.smallest if error.smallest_bytes < peak else None

    def _move_to(self, device: torch.device) -> None:
        #: where the network runs
        self.device = device
        network = self.network.to(device).eval()
        # a plan that slices channels wants them contiguous; other convolutions are faster channels-last
        layout = torch.channels_last_3d if self._managed is None else self._managed.layout_on(device)
        self._network = network.to(memory_format=layout)  # type: ignore[call-overload]


_OTHER_BUILD = "Install a PyTorch that is built for it (pytorch.org; in Slicer by the PyTorch extension)"


def choose_device(device: str) -> tuple[torch.device, str]:
    """The torch device for "auto", "cpu", "cuda" or "cuda:N", and why it was chosen.

    Raises:
        UserError: a GPU was asked for and there is none, or the name is unknown.
    """
    if device == "auto":
        if torch.cuda.is_available():
            unusable = _unusable_gpu(0)
            if unusable:
                return torch.device("cpu"), f"{unusable}. {_OTHER_BUILD}"
            return torch.device("cuda", 0), "a CUDA GPU is available"
        return torch.device("cpu"), "no CUDA GPU was found"
    # Not left to torch.device, which wraps numbers beyond 127 around.
    named = re.fullmatch(r"cpu|cuda(?::(\d{1,4}))?", device)
    if named is None:
        raise UserError(f"unknown device {device!r}", remedy="Use auto, cpu, cuda or cuda:N")
    if device == "cpu":
        return torch.device("cpu"), "chosen by the user"
    number = int(named[1] or 0)
    if number >= torch.cuda.device_count():
        raise UserError("there is no such CUDA GPU", where=device, remedy="Use auto or cpu", option="--device")
    unusable = _unusable_gpu(number)
    if unusable:
        raise UserError(unusable, where=device, remedy=f"{_OTHER_BUILD}, or use auto or cpu", option="--device")
    return torch.device("cuda", number), "chosen by the user"


def lacks_kernels(capability: tuple[int, int], architectures: Sequence[str]) -> bool:
    """Whether a build of PyTorch has no kernels that a GPU can run ("no kernel image is available").

    Args:
        capability: compute capability of the GPU.
        architectures: what the build was made for, as `torch.cuda.get_arch_list` names it: "sm_86" runs on GPUs of the
            same first number from that capability on, "compute_90" on all from that capability on; none = unknown.
    """
    for name in architectures:
        kind, _, number = name.partition("_")
        major, minor = divmod(int(re.match(r"\d*", number)[0] or 0), 10)  # type: ignore[index]
        if kind == "compute" and capability >= (major, minor):
            return False
        if kind == "sm" and capability[0] == major and capability[1] >= minor:
            return False
    return bool(architectures)


def _unusable_gpu(number: int) -> str:
    """Why PyTorch cannot use a GPU that is there; empty if it can."""
    architectures = torch.cuda.get_arch_list()
    capability = torch.cuda.get_device_capability(number) if architectures else (0, 0)
    if not lacks_kernels(capability, architectures):
        return ""
    name, version = torch.cuda.get_device_name(number), ".".join(map(str, capability))
    built = ", ".join(architectures)
    return f"this PyTorch has no kernels for the GPU {name} (compute capability {version}; it is built for {built})"


def describe_device(device: torch.device) -> str:
    """Name of a device for users, such as "cpu" or "cuda:0 (NVIDIA T4)"."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return str(device)
