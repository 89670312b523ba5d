"""What the panel says in words about an estimate: warnings in one line, details as HTML."""

from __future__ import annotations

from html import escape

import numpy as np

from FetusMapV2Lib.anatomy.pose import Pose, shown_confidence
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Panel import durations
from FetusMapV2Panel.parameters import Settings
from FetusMapV2Panel.translations import translator
from FetusMapV2Panel.widget_widths import wrappable

_ = translator(__name__)

_LOW_SIDE_CONFIDENCE = 0.5
_LEAST_CERTAIN = 3


def warningsText(estimate) -> str:
    """The engine's warnings and doubtful sides, one per line; empty if all is well."""
    lines = list(estimate.warnings)
    sides = estimate.pose.laterality
    if sides is not None and min(sides.arms_confidence, sides.legs_confidence) < _LOW_SIDE_CONFIDENCE:
        lines.append(_("Left and right are uncertain in this pose; check the sides."))
    return "\n".join(lines)


def durationKey(where, settings: Settings) -> str:
    """What estimates that take about equally long have in common; `where` is an Outlook or an Estimate."""
    return f"{where.device} | {where.model} | {settings.refine.value} | {settings.memoryBudget:g}"


def resourceText(resource_estimate, usualSeconds: float | None) -> str:
    """Where an estimate will run, why, how long and with how much memory."""
    device = _("the processor (CPU)") if resource_estimate.device == "cpu" else resource_estimate.device
    lines = [_("Runs on {0}: {1}.").format(device, resource_estimate.device_reason)]
    if usualSeconds is not None:
        lines.append(_("Takes about {0}.").format(durations.durationText(usualSeconds)))
    else:
        lines.append(_("How long it takes will be known after the first estimate."))
    if resource_estimate.memory_bytes is not None and resource_estimate.device_bytes is not None:
        text = _("Memory: about {0:.1f} of {1:.1f} GiB.")
        lines.append(text.format(resource_estimate.memory_bytes / 2**30, resource_estimate.device_bytes / 2**30))
    elif resource_estimate.memory_bytes is not None:
        lines.append(_("Memory: about {0:.1f} GiB.").format(resource_estimate.memory_bytes / 2**30))
    return " ".join(lines)


def detailsHtml(pose: Pose | None, estimate, model: str) -> str:
    """Model, device, time, certainty and sides of the pose on show."""
    if pose is None:
        return _("No pose yet.")
    lines = [(_("Landmarks"), _("{0} of {1}").format(int(pose.present.sum()), len(pose.present)))]
    lines += _certainty(pose)
    if pose.laterality is not None:
        sides = pose.laterality.arms_confidence, pose.laterality.legs_confidence
        text = _("arms {0}, legs {1} certain").format(*map(shown_confidence, sides))
        lines.append((_("Sides"), text))
    if model:
        lines.append((_("Model"), model))
    if estimate is not None:
        lines.append((_("Device"), f"{estimate.device} ({estimate.device_reason})"))
        lines.append((_("Time"), _("{0:.1f} s").format(sum(estimate.timings.values()))))
        if getattr(estimate, "memory_plan", ""):
            lines.append((_("Memory"), estimate.memory_plan))
    return "<table cellspacing='3'>" + "".join(_line(*line) for line in lines) + "</table>"


def _certainty(pose: Pose) -> list[tuple[str, str]]:
    if pose.confidence is None:
        return []
    landmarks = default_schema().landmarks
    order = np.argsort(np.nan_to_num(pose.confidence, nan=2.0))[:_LEAST_CERTAIN]
    least = ", ".join(f"{landmarks[row].name} {shown_confidence(pose.confidence[row])}" for row in order)
    return [(_("Least certain"), least)]


def _line(name: str, text: str) -> str:
    return f"<tr><td><b>{escape(name)}</b></td><td>{escape(wrappable(text))}</td></tr>"
