"""The Lightning module: one step of training, the learning rate over the run, and the averaged weights."""

from __future__ import annotations

import json
import math
import time
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.memory.machine import Machine
from FetusMapV2Lib.memory.managed import ManagedNetwork
from FetusMapV2Lib.memory.measured_machine import machine_for
from FetusMapV2Lib.memory.paper.framework import plan_framework
from FetusMapV2Lib.memory.plan import BudgetError, ExecutorKind, MemoryPlan, shown_bytes
from FetusMapV2Lib.memory.planner import plan_training
from FetusMapV2Lib.models.architectures import build_network, described_reversible
from FetusMapV2Lib.network.unet import parameter_bytes
from FetusMapV2Lib.training.adversarial import Adversary, adversarial_bytes
from FetusMapV2Lib.training.lightning_loading import pl
from FetusMapV2Lib.training.losses import build_loss
from FetusMapV2Lib.training.preset import WHOLE_HEATMAPS, Preset
from FetusMapV2Lib.training.preset_options import OptimiserOptions
from FetusMapV2Lib.training.samples import Sample

_USE_SCHEME = "Leave the memory plan out, or set memory.scheme to gcp"


def learning_rate_factor(step: int, steps: int, options: OptimiserOptions) -> float:
    """Factor of the learning rate at a step of a run of `steps`: a linear warm-up, then half a cosine.

    A closed form for `LambdaLR`. `SequentialLR` of `LinearLR` and `CosineAnnealingLR` agrees with it to 1e-12, but
    computes each value from the one before, so that rounding adds up, and cannot load the state in checkpoints of
    earlier versions.
    """
    if options.schedule == "constant":
        return 1.0
    warmup = max(1, round(options.warmup * steps))
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, steps - warmup))
    return options.final_factor + (1 - options.final_factor) * 0.5 * (1 + math.cos(math.pi * progress))


class PoseModule(pl.LightningModule):
    """A network under training.

    Args:
        preset: the recipe.
        landmarks: heatmaps of the network.
        steps: length of the run, for the schedule.
    """

    def __init__(self, preset: Preset, landmarks: int, steps: int) -> None:
        super().__init__()
        self.preset = preset
        self.steps = steps
        self.network = build_network(network_config(preset, landmarks))
        if preset.run.channels_last:
            self.network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.loss = build_loss(preset.loss, preset.sigma, preset.loss_weights, of_patches=preset.sees_patches)
        # a second network, not a hook: Lightning saves and restores it with everything else
        self.averaged = build_network(network_config(preset, landmarks)) if preset.run.average_decay else None
        if self.averaged is not None:
            self.averaged.load_state_dict(self.network.state_dict())
            self.averaged.requires_grad_(False)
        #: the discriminators, if any; both optimisers are then stepped manually
        self.adversary = Adversary(preset.adversarial, landmarks, preset.sigma) if preset.adversarial.active else None
        self.automatic_optimization = self.adversary is None
        #: runs the network by a memory plan; its weights are those of `network`
        self.managed: ManagedNetwork | None = None
        #: parts of the last step's loss, detached, for logs
        self.last_parts: dict[str, Tensor] = {}
        self._seconds_before = 0.0
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Duration of the run so far, over all resumptions."""
        return self._seconds_before + time.monotonic() - self._started

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Store the duration."""
        checkpoint["seconds"] = self.seconds

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Continue counting from the stored duration."""
        self._seconds_before = float(checkpoint.get("seconds", 0.0))
        self._started = time.monotonic()

    @property
    def best_network(self) -> nn.Module:
        """The network to validate and export: the averaged one if there is one."""
        return self.averaged if self.averaged is not None else self.network

    @property
    def runs_modules(self) -> bool:
        """Whether steps call the network's own modules rather than the kernels of a memory plan."""
        return self.managed is None or not self.managed.plan.executor.runs_units

    def prepared(self, image: Tensor) -> Tensor:
        """An image batch in the memory format of the network."""
        if self.preset.run.channels_last:
            return image.contiguous(memory_format=torch.channels_last_3d)
        return image

    def manage(self, plan: MemoryPlan) -> None:
        """Run the following training steps by a memory plan.

        Raises:
            UserError: the plan never stores whole heatmaps, which the discriminators need.
        """
        if not plan.manages:
            return
        if self.adversary is not None and plan.executor is not ExecutorKind.SEGMENTS:
            raise UserError(WHOLE_HEATMAPS, remedy=_USE_SCHEME)
        self.managed = ManagedNetwork(self.network, plan)
        layout = self.managed.layout_on(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        self.network.to(memory_format=layout)  # type: ignore[call-overload]

    def training_step(self, batch: Sample, batch_index: int) -> Tensor:
        """Loss of a batch (see `samples.Sample`)."""
        if self.adversary is not None:
            return self._adversarial_step(self.adversary, batch)
        if self.managed is not None:
            in_slabs = self.loss.in_slabs(batch["points"], batch["present"])
            total: Tensor = self.managed.loss(batch["image"], in_slabs)
            self.last_parts = {"loss": total.detach(), **in_slabs.parts()}
            return total
        logits = self.network(self.prepared(batch["image"]))
        parts = self.loss(logits, batch["points"], batch["present"])
        self.last_parts = {"loss": parts.total.detach(), **parts.parts}
        return parts.total

    def _adversarial_step(self, adversary: Adversary, batch: Sample) -> Tensor:
        """The discriminators take a step on the predicted heatmaps, then the network takes one against them."""
        optimisers, schedules = self.optimizers(), self.lr_schedulers()
        assert isinstance(optimisers, list) and isinstance(schedules, list)
        of_network, of_discriminators = optimisers
        image = batch["image"]
        logits = self.managed(image) if self.managed is not None else self.network(self.prepared(image))
        poses = adversary.poses(logits, image, batch["points"], batch["present"])
        judging, judged = adversary.judging_loss(poses)
        self._backward(judging, of_discriminators.optimizer)
        of_discriminators.optimizer.step()  # bypasses Lightning's step counter: only steps of the network count
        parts = self.loss(logits, batch["points"], batch["present"])
        deceiving, deceived = adversary.deceiving_loss(poses)
        total = parts.total + deceiving
        del logits, poses  # large, and the backward pass only needs the graph
        self._backward(total, of_network.optimizer)
        of_network.step()
        for schedule in schedules:
            schedule.step()  # type: ignore[call-arg]  # none of these depends on a metric
        self.last_parts = {"loss": total.detach(), **parts.parts, **judged, **deceived}
        return total.detach()

    def _backward(self, loss: Tensor, optimiser: torch.optim.Optimizer) -> None:
        """New gradients for the parameters of an optimiser, clipped as the preset says."""
        optimiser.zero_grad()
        with torch.autocast(self.device.type, enabled=False):
            self.manual_backward(loss)
        if clip := self.preset.optimiser.gradient_clip:
            self.clip_gradients(optimiser, gradient_clip_val=clip, gradient_clip_algorithm="norm")

    @torch.no_grad()
    def average_weights(self) -> None:
        """Update the exponential moving average of the weights; its decay rises to the preset's over the first steps.

        torch's own update without its `AveragedModel`, which starts from the weights after the first step and names
        the tensors otherwise than checkpoints of earlier versions do.
        """
        if self.averaged is None:
            return
        decay = min(self.preset.run.average_decay, (1 + self.global_step) / (10 + self.global_step))
        update = get_ema_multi_avg_fn(decay)
        update(list(self.averaged.parameters()), list(self.network.parameters()), self.global_step)

    def configure_optimizers(self) -> Any:
        """Adam with the preset's schedule, stepped after every batch; a second one for the discriminators."""
        options = self.preset.optimiser
        of_network = self._adam(self.network, options.learning_rate, options.weight_decay)
        if self.adversary is None:
            return of_network
        return of_network, self._adam(self.adversary, self.preset.adversarial.learning_rate)

    def _adam(self, network: nn.Module, learning_rate: float, weight_decay: float = 0.0) -> dict[str, Any]:
        options = self.preset.optimiser
        optimiser = torch.optim.Adam(
            network.parameters(), lr=learning_rate, betas=options.betas, weight_decay=weight_decay
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda step: learning_rate_factor(step, self.steps, options)
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def plan_step(
    preset: Preset,
    network: nn.Module,
    *,
    allowed: frozenset[str] | None = None,
    device: torch.device | str = "cuda",
    machine: Machine | None = None,
    ranks: int = 1,
) -> MemoryPlan:
    """The memory plan of a preset's training step.

    Args:
        preset: gives input size, batch, precision and `MemoryOptions`; its budget is for everything on the device,
            the averaged weights included.
        network: of the preset.
        allowed: strategies (`memory.strategies.STRATEGIES`), None = the planner's default.
        device: that the step will run on.
        machine: its speeds; None = a GPU that is there is measured once, another device's are from a table.
        ranks: processes that share the batch; the plan and its budget are for the device of each.

    Raises:
        BudgetError: nothing fits the budget.
        UserError: the preset has discriminators and no scheme.
    """
    if preset.adversarial.active and not preset.memory.scheme:
        raise UserError(WHOLE_HEATMAPS, remedy=_USE_SCHEME)
    budget = preset.memory.budget_bytes
    unplanned = unplanned_bytes(preset, network)
    if ranks > 1:
        preset = preset.with_overrides({"run.batch_size": preset.run.batch_size // ranks})
        unplanned += parameter_bytes(network)  # buffers in which gradients are averaged
    rest = None if budget is None else max(1, budget - unplanned)
    try:
        if preset.memory.scheme:
            description = json.dumps(network_config(preset, default_schema().count))
            return _plan_scheme(description, preset.input_size, preset.memory.scheme, preset.run.batch_size, rest)
        return plan_training(
            network,
            preset.input_size,
            budget_bytes=rest,
            max_slowdown=preset.memory.max_slowdown or None,
            allowed=allowed,
            batch=preset.run.batch_size,
            autocast=preset.run.autocast,
            machine=machine or _machine_of(preset, network, device),
        )
    except BudgetError as error:
        smallest = error.smallest_bytes + unplanned
        size = "x".join(str(n) for n in preset.input_size)
        raise BudgetError(
            f"training at {size} does not fit {shown_bytes(budget or 0)}: at least {shown_bytes(smallest)} are needed",
            smallest,
            error.remedy,
        ) from error


def _machine_of(preset: Preset, network: nn.Module, device: torch.device | str) -> Machine:
    """Speeds of the device that a preset trains on."""
    there = torch.device(device).type == "cuda" and torch.cuda.is_available()
    batch, autocast = preset.run.batch_size, preset.run.autocast
    return machine_for(network, preset.input_size, device=device, batch=batch, autocast=autocast, measure=there)


@lru_cache(maxsize=8)
def _plan_scheme(
    description: str, input_size: tuple[int, int, int], scheme: str, batch: int, budget: int | None
) -> MemoryPlan:
    """`plan_framework` for a network description, once for all folds and presets that share it."""
    with torch.device("meta"):
        network = build_network(json.loads(description))
    return plan_framework(network, input_size, scheme, batch=batch, budget_bytes=budget)


def unplanned_bytes(preset: Preset, network: nn.Module) -> int:
    """Device memory of a run, in bytes, that the plan of its step does not count: averaged weights, discriminators."""
    averaged = parameter_bytes(network) if preset.run.average_decay else 0
    return averaged + adversarial_bytes(preset, default_schema().count)


def network_config(preset: Preset, landmarks: int) -> dict[str, object]:
    """The network description (see `build_network`) of a preset.

    Raises:
        UserError: an unknown kind, or no pass that can become reversible although the preset asks for it.
    """
    description: dict[str, object] = {
        "kind": preset.network.kind,
        "in_channels": 1,
        "landmarks": landmarks,
        "widths": list(preset.network.widths),
        "coordinates": preset.network.coordinates,
    }
    if preset.network.kind == "unet-rnn":
        description["edges"] = [[edge.start, edge.end] for edge in default_schema().edges]
        description["part_channels"] = preset.network.part_channels
        description["boosted_level"] = min(preset.network.boosted_level, len(preset.network.widths) - 2)
    if preset.network.reversible:
        description["reversible"] = described_reversible(description, preset.network.reversible)
    return description
