"""`fetusmap plan`: what training or inference of a network takes, and how it fits a memory budget.

Heavy libraries are imported where they are needed, as in `cli`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer
from rich.table import Table

from FetusMapV2Lib.cli.console import out, parsed_size, print_message, print_table
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.core.packages import require_package

if TYPE_CHECKING:
    from torch import nn

    from FetusMapV2Lib.memory.machine import Machine
    from FetusMapV2Lib.memory.plan import MemoryPlan
    from FetusMapV2Lib.training.preset import Preset

MaxSlowdownOption = Annotated[
    Optional[float],
    typer.Option("--max-slowdown", min=1, help="Longest that a step may take, relative to plain PyTorch."),
]


def plan(
    preset: Annotated[str, typer.Option("--preset", help="Preset name or path of a preset file.")] = "unet",
    input_size: Annotated[
        Optional[str], typer.Option("--input-size", help="k,j,i voxels; default: the preset's.")
    ] = None,
    memory_budget: Annotated[
        Optional[str], typer.Option("--memory-budget", help="Greatest peak, e.g. 8GiB, 8GB or 512MiB.")
    ] = None,
    max_slowdown: MaxSlowdownOption = None,
    allow: Annotated[
        Optional[list[str]], typer.Option("--allow", help="Also use this strategy (may be given more than once).")
    ] = None,
    without: Annotated[
        Optional[list[str]], typer.Option("--without", help="Do not use this strategy (more than once).")
    ] = None,
    scheme: Annotated[
        str, typer.Option("--scheme", help="A scheme of the paper instead of the best plan: gcp, rev or gcp+rev.")
    ] = "",
    machine: Annotated[
        str,
        typer.Option(
            "--machine",
            help="What the plan is for: auto (this computer's GPU, measured once; an H200 where there is none), cpu "
            "(this computer's, measured once), h100, h200, or a file of speeds.",
        ),
    ] = "auto",
    batch: Annotated[int, typer.Option("--batch", min=0, help="Volumes at once (0: the preset's).")] = 0,
    inference: Annotated[bool, typer.Option("--inference", help="Plan an estimate, not a training step.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON and nothing else.")] = False,
    picture: Annotated[
        Optional[Path], typer.Option("--picture", help="Write memory over the step, with and without the plan (PNG).")
    ] = None,
) -> None:
    """Show how a preset's network is run within a memory budget, and what that costs."""
    from FetusMapV2Lib.memory.machine import Machine
    from FetusMapV2Lib.memory.planner import plan_inference

    if picture is not None:
        require_package("matplotlib", "the picture", "evaluate")
    if inference and (allow or without or max_slowdown):
        remedy = "Leave out --inference, or --allow, --without and --max-slowdown"
        raise InputError("an estimate is planned by the budget alone", where="--inference", remedy=remedy)
    if scheme and (inference or allow or without or max_slowdown):
        remedy = "Leave out --scheme, or --inference, --allow, --without and --max-slowdown"
        raise InputError("a scheme of the paper is planned as it is", where="--scheme", remedy=remedy)
    chosen, network = _chosen(preset, input_size, memory_budget, max_slowdown, batch)
    if machine == "cpu":
        import torch

        chosen = chosen.computed_on(torch.device("cpu"))
    budget = chosen.memory.budget_bytes
    speeds = Machine() if scheme else _machine(machine, network, chosen)
    allowed: frozenset[str] | None = None
    if inference:
        found = plan_inference(network, chosen.input_size, budget_bytes=budget, batch=max(1, batch), machine=speeds)
    elif scheme:
        found = _plan_scheme(chosen, network, scheme)
    else:
        found, allowed = _plan_training(chosen, network, allow or [], without or [], speeds)
    if picture is not None:
        from FetusMapV2Lib.evaluation.memory_figure import write_memory_figure

        write_memory_figure(picture, found, budget)
    if as_json:
        print(json.dumps(found.to_dict(), indent=1))
        return
    if found.segments:
        print_table(_table(found))
    _print_cost(found, network, chosen, speeds)
    if allowed is not None and budget is not None:
        size = "x".join(str(n) for n in _largest(chosen, network, found, allowed, speeds))
        print_message(f"Largest input of this shape that trains in the budget: {size}.")
    if picture is not None:
        print_message(f"Picture written to {picture}")


def _chosen(
    preset: str, input_size: str | None, budget: str | None, max_slowdown: float | None, batch: int
) -> tuple[Preset, nn.Module]:
    """The preset with what the options change, and its network."""
    require_package("lightning", "a training preset", "train")
    from FetusMapV2Lib.anatomy.schema import default_schema
    from FetusMapV2Lib.models.architectures import build_network
    from FetusMapV2Lib.training.pose_module import network_config
    from FetusMapV2Lib.training.preset import load_preset

    changes: dict[str, object] = {}
    if input_size is not None:
        changes["input_size"] = list(parsed_size(input_size, "--input-size"))
    if budget is not None:
        changes["memory.budget"] = budget
    if max_slowdown is not None:
        changes["memory.max_slowdown"] = max_slowdown
    if batch:
        changes["run.batch_size"] = batch
    found = load_preset(preset).with_overrides(changes)
    return found, build_network(network_config(found, default_schema().count))


def _machine(name: str, network: nn.Module, preset: Preset) -> Machine:
    """The speeds that a plan rests on."""
    from FetusMapV2Lib.memory.machine_files import machine_named, precision_name
    from FetusMapV2Lib.memory.measured_machine import machine_for

    if name in ("auto", "cpu"):
        return machine_for(
            network,
            preset.input_size,
            device="cpu" if name == "cpu" else "cuda",
            batch=preset.run.batch_size,
            autocast=preset.run.autocast,
            tell=print_message,
        )
    return machine_named(name, precision_name("cuda", preset.run.autocast))


def _plan_training(
    preset: Preset, network: nn.Module, allow: list[str], without: list[str], machine: Machine
) -> tuple[MemoryPlan, frozenset[str]]:
    """The plan and its allowed strategies: those on the device, or all exact ones if these do not suffice."""
    from FetusMapV2Lib.memory.plan import BudgetError
    from FetusMapV2Lib.memory.strategies import EXACT, ON_DEVICE, check_strategies
    from FetusMapV2Lib.training.pose_module import plan_step

    check_strategies([*allow, *without])
    gentle, all_exact = (names.union(allow) - set(without) for names in (ON_DEVICE, EXACT))
    try:
        return plan_step(preset, network, allowed=gentle, machine=machine), gentle
    except BudgetError:
        return plan_step(preset, network, allowed=all_exact, machine=machine), all_exact


def _plan_scheme(preset: Preset, network: nn.Module, scheme: str) -> MemoryPlan:
    """A scheme of the paper for a preset's network."""
    from FetusMapV2Lib.memory.paper.framework import plan_framework
    from FetusMapV2Lib.training.pose_module import unplanned_bytes

    budget = preset.memory.budget_bytes
    rest = None if budget is None else budget - unplanned_bytes(preset, network)
    return plan_framework(network, preset.input_size, scheme, batch=preset.run.batch_size, budget_bytes=rest)


def _largest(
    preset: Preset, network: nn.Module, plan: MemoryPlan, allowed: frozenset[str], machine: Machine
) -> tuple[int, int, int]:
    """The largest input of the plan's shape that trains in the preset's budget; the plan's own at least."""
    from FetusMapV2Lib.memory.planner import largest_size
    from FetusMapV2Lib.training.pose_module import unplanned_bytes

    found = largest_size(
        network,
        budget_bytes=(preset.memory.budget_bytes or 0) - unplanned_bytes(preset, network),
        aspect=plan.input_size,
        max_slowdown=preset.memory.max_slowdown or None,
        allowed=allowed,
        batch=plan.batch,
        autocast=preset.run.autocast,
        machine=machine,
    )
    return max(found, plan.input_size)


def _table(plan: MemoryPlan) -> Table:
    """One line per unit."""
    from FetusMapV2Lib.memory.plan import shown_bytes

    size = "x".join(str(n) for n in plan.input_size)
    table = Table("unit", "technique", "saved", "recomputed", title=f"Memory plan for {plan.purpose} at {size}")
    table.columns[2].justify = table.columns[3].justify = "right"
    for segment in plan.segments:
        saved = shown_bytes(segment.bytes_saved) if segment.bytes_saved else ""
        again = f"{segment.flops_added / 1e9:.1f} GFLOP" if segment.flops_added else ""
        table.add_row(segment.name, segment.technique, saved, again)
    return table


#: From the table "What a GPU measured" of docs/memory.md.
_MEASURED = (
    "Measured for the paper's network at 176x112x112 on an NVIDIA H200 (TF32): checkpoints per level 1.30x the time of "
    "plain PyTorch at 69 % of its memory, GCP + REV 1.72x at 69 % (the paper: 1.24x at 57 %)."
)
_DERIVED = "The table's speeds are derived from measured steps of plain PyTorch; slabs were not measured on a GPU."


def _print_cost(plan: MemoryPlan, network: nn.Module, preset: Preset, machine: Machine) -> None:
    """Peak, operations, times, transfers, and what the figures do not include."""
    from FetusMapV2Lib.memory.plan import shown_bytes
    from FetusMapV2Lib.network.unet import parameter_bytes
    from FetusMapV2Lib.training.pose_module import unplanned_bytes

    cost, training = plan.prediction, plan.purpose == "training"
    out.print(f"In short: {plan.summary()}", soft_wrap=True)
    out.print(f"Peak: {shown_bytes(cost.peak_bytes)} ({100 * cost.peak_share:.1f} % of "
              f"{shown_bytes(cost.vanilla_peak_bytes)} without a plan)")  # fmt: skip
    out.print(f"Operations: {cost.flops / 1e12:.2f} TFLOP ({cost.flops_ratio:.2f}x), counted, which is not time")
    if cost.told_seconds:
        out.print(f"Time: {cost.told_seconds}", soft_wrap=True)
    if training and not machine.measured:
        out.print(f"{_DERIVED if cost.told_seconds else ''} {_MEASURED}".strip(), soft_wrap=True)
    if cost.transferred_bytes:
        out.print(
            f"Host memory: {shown_bytes(cost.host_bytes)}, moved each step: {shown_bytes(cost.transferred_bytes)}"
        )
    part = "weights, gradients and Adam are" if training else "they are"
    out.print(f"Weights: {shown_bytes(parameter_bytes(network))}; {part} part of the peak")
    if training and (beside := unplanned_bytes(preset, network)):
        wanted = {"averaged weights": preset.run.average_decay > 0, "discriminators": preset.adversarial.active}
        what = " and ".join(name for name, there in wanted.items() if there).capitalize()
        out.print(f"{what} of this preset: {shown_bytes(beside)} more, taken from the budget beforehand")
    if machine.measured or machine.workspace_share:
        most = f", at most {shown_bytes(cost.workspace_bytes)}" if cost.workspace_bytes else ""
        out.print(f"The workspace of convolutions is part of the peak ({machine.basis}{most})")
    else:
        out.print(
            "The workspace of convolutions is not counted: leave 10-25 % of a GPU's memory for it.", soft_wrap=True
        )
    if plan.reversible:
        out.print(
            f"Passes to be made reversible, which changes the network: {', '.join(plan.reversible)}", soft_wrap=True
        )
    exact = not any(choice.reduced for choice in plan.choices.units.values())
    what = "Gradients" if training else "Heatmaps"
    of = "this network with reversible blocks" if plan.reversible else "the plain network"
    same = f"those of {of} up to rounding" if exact else "NOT exact (bfloat16 storage)"
    out.print(f"{what}: {same}.")
