"""What memory buys: predicted peaks and durations of the plans within a dozen budgets, by a machine's speeds."""

from __future__ import annotations

from FetusMapV2Lib.memory.cost_model import CostModel
from FetusMapV2Lib.memory.machine_files import machine_named
from FetusMapV2Lib.memory.plan import MemoryPlan
from FetusMapV2Lib.memory.plan_search import PlanSearch
from FetusMapV2Lib.memory.unit_builder import build_units
from FetusMapV2Lib.network.unet import UNet3d

from .records import Records, Row, markdown, size_name
from .schemes import Size

GB = 1e9
_BUDGETS = 14


def table(records: Records, machine: str, size: Size, widths: tuple[int, ...]) -> str:
    """One line per budget, from nine tenths of plain PyTorch's peak down to the least that a plan needs."""
    row = records.row(f"{size_name(size)}-{machine}", lambda: priced(machine, size, widths))
    if row is None:
        return ""
    name, plain = row["machine"], row["plain_peak_bytes"]
    header = [f"budget GB at {size_name(size)}, {name}", "peak GB", "% of plain", "seconds", "x plain", "PCIe GB"]
    lines = [
        [
            f"{budget / GB:.2f}",
            f"{found['peak_bytes'] / GB:.2f}",
            f"{100 * found['peak_bytes'] / plain:.0f}",
            f"{found['seconds']:.3f}",
            f"{found['seconds'] / row['plain_seconds']:.2f}",
            f"{found['transferred_bytes'] / GB:.1f}" if found["transferred_bytes"] else "",
        ]
        for budget, found in row["plans"]
    ]
    return markdown(header, lines)


def priced(machine: str, size: Size, widths: tuple[int, ...]) -> Row:
    """Plans of one search."""
    speeds = machine_named(machine, "fp32" if machine == "cpu" else "tf32")
    model = CostModel(build_units(UNet3d(widths=widths)), size, machine=speeds)
    search = PlanSearch(model, 1, None, None)
    high, low = 0.9 * search.vanilla.peak_bytes, model.price(search.front.ways[0]).peak
    plans = []
    for number in range(_BUDGETS):
        budget = high * (low / high) ** (number / (_BUDGETS - 1)) + 0.5
        search.budget = int(budget)
        plans.append((budget, _costs(search.plan())))
    return {
        "machine": f"{speeds.name}, {speeds.basis}",
        "plain_peak_bytes": search.vanilla.peak_bytes,
        "plain_seconds": model.plain_seconds(),
        "plans": plans,
    }


def _costs(plan: MemoryPlan) -> Row:
    cost = plan.prediction
    return {"peak_bytes": cost.peak_bytes, "seconds": cost.seconds, "transferred_bytes": cost.transferred_bytes}
