"""`fetusmap plan`: what training or inference of a network takes, and how it fits a memory budget.

Heavy libraries are imported where they are needed, as in `cli`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer
from rich.table import Table

from FetusMapV2Lib.cli_support import out, parsed_size, require_package, say

if TYPE_CHECKING:
    from torch import nn

    from FetusMapV2Lib.memory.plan import MemoryPlan


def plan(
    preset: Annotated[str, typer.Option("--preset", help="Preset name or path of a preset file.")] = "unet",
    input_size: Annotated[
        Optional[str], typer.Option("--input-size", help="k,j,i voxels; by custom the preset's.")
    ] = None,
    memory_budget: Annotated[
        Optional[str], typer.Option("--memory-budget", help="Greatest peak, e.g. 8GiB, 8GB or 512MiB.")
    ] = None,
    max_slowdown: Annotated[
        float, typer.Option("--max-slowdown", min=0, help="Most operations, relative to none managed (0: custom).")
    ] = 0.0,
    allow: Annotated[
        Optional[list[str]], typer.Option("--allow", help="Also use this strategy (may be given more than once).")
    ] = None,
    without: Annotated[
        Optional[list[str]], typer.Option("--without", help="Do not use this strategy (more than once).")
    ] = None,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Volumes at once.")] = 1,
    inference: Annotated[bool, typer.Option("--inference", help="Plan an estimate, not a training step.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON and nothing else.")] = False,
    picture: Annotated[
        Optional[Path], typer.Option("--picture", help="Write memory over the step, with and without the plan (PNG).")
    ] = None,
) -> None:
    """Show how a preset's network is run within a memory budget, and what that costs."""
    from FetusMapV2Lib.anatomy.schema import default_schema
    from FetusMapV2Lib.memory.plan import parse_bytes
    from FetusMapV2Lib.memory.planner import ON_DEVICE, check_strategies, largest_input, plan_inference, plan_training
    from FetusMapV2Lib.network.unet import build_network, check_input_size

    if picture is not None:
        require_package("matplotlib", "the picture", "evaluate")
    config, custom_size = _network_of(preset, default_schema().count)
    size = parsed_size(input_size, "--input-size") if input_size else custom_size
    network = build_network(config)
    check_input_size(size, network.multiple)
    budget = parse_bytes(memory_budget) if memory_budget else None
    check_strategies([*(allow or ()), *(without or ())])
    chosen = frozenset([*ON_DEVICE, *(allow or ())]) - frozenset(without or ()) if allow or without else None
    if inference:
        found = plan_inference(network, size, budget_bytes=budget, batch=batch)
    else:
        found = plan_training(
            network, size, budget_bytes=budget, max_slowdown=max_slowdown or None, allowed=chosen, batch=batch
        )
    if picture is not None:
        from FetusMapV2Lib.evaluation.memory_figure import write_memory_figure

        write_memory_figure(picture, found, budget)
    if as_json:
        print(json.dumps(found.to_dict(), indent=1))
        return
    out.print(_table(found))
    _tell_cost(found, network)
    if budget is not None and not inference:
        largest = largest_input(
            network, budget_bytes=budget, aspect=size, max_slowdown=max_slowdown or None, batch=batch
        )
        shown = "x".join(str(n) for n in largest.input_size)
        say(f"Largest input of this shape that trains in the budget: {shown}.")
    if picture is not None:
        say(f"Picture written to {picture}")


def _network_of(preset: str, landmarks: int) -> tuple[dict[str, object], tuple[int, int, int]]:
    """Network description and input size of a preset."""
    require_package("lightning", "a training preset", "train")
    from FetusMapV2Lib.training.module import network_config
    from FetusMapV2Lib.training.preset import load_preset

    found = load_preset(preset)
    return network_config(found, landmarks), found.input_size


def _table(plan: MemoryPlan) -> Table:
    """One line per unit."""
    from FetusMapV2Lib.memory.plan import shown_bytes

    size = "x".join(str(n) for n in plan.input_size)
    table = Table("unit", "technique", "saved", "done again", title=f"Memory plan for {plan.purpose} at {size}")
    table.columns[2].justify = table.columns[3].justify = "right"
    for segment in plan.segments:
        saved = shown_bytes(segment.bytes_saved) if segment.bytes_saved else ""
        again = f"{segment.flops_added / 1e9:.1f} GFLOP" if segment.flops_added else ""
        table.add_row(segment.name, segment.technique, saved, again)
    return table


def _tell_cost(plan: MemoryPlan, network: nn.Module) -> None:
    """Peak, operations, time, traffic, and what the figures leave out."""
    from FetusMapV2Lib.memory.plan import shown_bytes

    cost = plan.prediction
    out.print(f"Peak: {shown_bytes(cost.peak_bytes)} ({100 * cost.peak_share:.1f} % of "
              f"{shown_bytes(cost.vanilla_peak_bytes)} without a plan)")  # fmt: skip
    out.print(f"Operations: {cost.flops / 1e12:.2f} TFLOP ({cost.flops_ratio:.2f}x)")
    if cost.seconds is not None and cost.vanilla_seconds is not None:
        ratio = cost.seconds / cost.vanilla_seconds
        out.print(f"Predicted step time: {cost.seconds:.2f} s ({ratio:.2f}x), at 20 TFLOP/s and 1 TB/s")
    if cost.transferred_bytes:
        out.print(
            f"Host memory: {shown_bytes(cost.host_bytes)}, moved each step: {shown_bytes(cost.transferred_bytes)}"
        )
    weights = sum(p.numel() * p.element_size() for p in network.parameters())
    out.print(f"Weights: {shown_bytes(weights)}; weights, gradients and Adam are part of the peak")
    out.print("The workspace of convolutions is not: leave 10-25 % of a GPU's memory for it.")
    exact = not any(choice.reduced for choice in plan.choices.units.values())
    out.print(
        "Gradients: those of plain autograd up to rounding." if exact else "Gradients: NOT exact (bfloat16 storage)."
    )
