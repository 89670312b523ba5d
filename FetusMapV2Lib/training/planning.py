"""`plan_memory`: how the network of a preset is run within a memory budget, before anything is trained."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.memory.plan import MemoryPlan
from FetusMapV2Lib.memory.planner import plan_inference
from FetusMapV2Lib.models.architectures import build_network
from FetusMapV2Lib.training.pose_module import network_config, plan_step
from FetusMapV2Lib.training.preset import Preset, load_preset


def plan_memory(
    preset: str | os.PathLike[str] | Preset = "unet",
    overrides: Mapping[str, Any] | None = None,
    *,
    inference: bool = False,
    device: str = "cuda",
) -> MemoryPlan:
    """Plan a training step, or an inference, of a preset's network; nothing is run.

    Args:
        preset: name, file or `Preset`.
        overrides: preset fields by dotted path, e.g. ``{"memory.budget": "8GiB", "input_size": [176, 112, 112]}``.
        inference: plan an estimate instead of a training step.
        device: that the predicted durations are for.

    Returns:
        The plan: predicted peak in bytes and counted operations, and what is kept or recomputed of each unit.

    Raises:
        BudgetError: nothing fits the budget; it says the least that is needed.
        UserError: a preset that cannot be used.

    Examples:
        >>> plan = fm.plan_memory("unet", {"memory.budget": "4GiB", "input_size": [112, 80, 80]})
        >>> plan.purpose, plan.prediction.peak_bytes <= 4 * 2**30
        ('training', True)
    """
    chosen = preset if isinstance(preset, Preset) else load_preset(preset)
    chosen = chosen.with_overrides(overrides or {})
    network = build_network(network_config(chosen, default_schema().count))
    if not inference:
        return plan_step(chosen, network, device=device)
    return plan_inference(network, chosen.input_size, budget_bytes=chosen.memory.budget_bytes)
