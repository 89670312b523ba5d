"""Predicted memory of training steps, for the paper's network and for presets as they are run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.atomic_files import write_json
from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.core.json_files import read_json_object
from FetusMapV2Lib.core.serialisation import from_json, to_json
from FetusMapV2Lib.evaluation.paper.tables import PLANNER, MemoryFact, Size, memory_rows
from FetusMapV2Lib.memory.cost_model import step_without_data
from FetusMapV2Lib.memory.meter import on_meta
from FetusMapV2Lib.memory.paper.framework import plan_framework
from FetusMapV2Lib.memory.planner import plan_training
from FetusMapV2Lib.network.unet import PAPER_WIDTHS, UNet3d, parameter_bytes
from FetusMapV2Lib.training.pose_module import PoseModule, plan_step, unplanned_bytes
from FetusMapV2Lib.training.preset import Preset


def memory_facts(kept_in: Path) -> dict[tuple[str, Size], MemoryFact]:
    """Predicted memory for the rows of table 4: the paper's network at the paper's sizes.

    Takes minutes the first time; later calls read the results.

    Args:
        kept_in: JSON file with the predictions of earlier calls.
    """
    kept = _kept(kept_in)
    facts = {}
    for scheme, size in memory_rows():
        key = f"{scheme or 'plain'} {'x'.join(map(str, size))}"
        if key not in kept:
            kept[key] = predicted_memory(scheme, size)
            write_json(kept_in, to_json(kept))
        facts[scheme, size] = kept[key]
    return facts


def _kept(path: Path) -> dict[str, MemoryFact]:
    """The predictions of an earlier call; none if they cannot be read, as they are recomputed quickly."""
    try:
        return from_json(dict[str, MemoryFact], read_json_object(path))
    except UserError:
        return {}


def predicted_memory(scheme: str, size: Size, widths: Sequence[int] | None = None) -> MemoryFact:
    """Predicted memory of a training step of the UNet.

    Args:
        scheme: "", a scheme of the paper, or `paper.PLANNER`.
        size: (k, j, i).
        widths: channels per level; None = those of the paper.
    """
    network = UNet3d(landmarks=default_schema().count, widths=widths or PAPER_WIDTHS)
    if not scheme:
        peak = step_without_data(on_meta(network), (1, 1, *size)).peak_bytes
    else:
        plan = plan_training(network, size) if scheme == PLANNER else plan_framework(network, size, scheme)
        peak = plan.prediction.peak_bytes
    return MemoryFact(peak, parameter_bytes(network))


def peak_as_trained(preset: Preset) -> int | None:
    """Bytes predicted for a step as the preset runs it; None where its network cannot be planned for."""
    network = PoseModule(preset, default_schema().count, steps=1).network
    try:
        if preset.memory.manages:
            peak = plan_step(preset, network).prediction.peak_bytes
        else:
            peak = step_without_data(on_meta(network), (preset.run.batch_size, 1, *preset.input_size)).peak_bytes
    except UserError:
        return None
    return peak + unplanned_bytes(preset, network)
