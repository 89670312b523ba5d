"""Training memory and step time of the paper's network: vanilla, other memory savers, the paper's schemes and ours.

A step is forward, cross-entropy over the voxels of 22 heatmaps, backward and Adam. Rows already done are kept under
--output, so a cut costs one row; --fresh measures them again. --page puts the tables into the documentation.

    .venv/bin/python Testing/benchmarks/memory.py peaks | strategies | largest | native | budgets | time | gpu
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from memory_bench import budgets as budget_tables
from memory_bench import device, device_tables, tables, timing
from memory_bench.records import Records, put_between_markers, size_name
from memory_bench.schemes import BY_KEY, SCHEMES, STRATEGY_STEPS, Scheme, Size, available

from FetusMapV2Lib.network.unet import PAPER_WIDTHS

SIZES: tuple[Size, ...] = ((176, 112, 112), (208, 128, 144), (256, 160, 160))
NATIVE: Size = (464, 320, 320)
ASPECT: Size = (208, 128, 144)
CPU_SIZE, CPU_WIDTHS = (96, 64, 64), (16, 32, 64, 128, 256)

_PAPER = ("gcp-valid", "rev", "gcp-rev")
_CPU = ("vanilla", "checkpoint-block", "checkpoint-level", *_PAPER, "lean", "lean-host", "streamed-host", "streamed")
_GPU = (
    "vanilla", "lean", "fast", "checkpoint-level", "vanilla-last", *_PAPER, "streamed-host", "compiled", "compiled-0.5"
)  # fmt: skip
_PROFILED = ("vanilla", "lean", "fast")


def main() -> None:
    """Run one part and print its tables."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    folder = arguments.output / arguments.part
    if arguments.fresh:
        shutil.rmtree(folder, ignore_errors=True)
    records = Records(folder, arguments.time_limit)
    for name, table in PARTS[arguments.part](arguments, records).items():
        print(f"\n{name}\n\n{table}", flush=True)
        if arguments.page is not None:
            put_between_markers(arguments.page, name, table)


def peaks(arguments: argparse.Namespace, records: Records) -> dict[str, str]:
    """Every scheme at three sizes, without doing the work."""
    schemes = available(_chosen(arguments, SCHEMES))
    sizes = [arguments.size] if arguments.size else SIZES
    return {
        f"peaks {size_name(size)}": tables.peaks(records, size, schemes, arguments.widths or PAPER_WIDTHS)
        for size in sizes
    }


def strategies(arguments: argparse.Namespace, records: Records) -> dict[str, str]:
    """What each strategy adds."""
    size, widths = arguments.size or SIZES[0], arguments.widths or PAPER_WIDTHS
    return {"strategies": tables.peaks(records, size, STRATEGY_STEPS, widths, predictions=False)}


def largest(arguments: argparse.Namespace, records: Records) -> dict[str, str]:
    """The largest input within a budget, of the paper's aspect."""
    schemes = available(_chosen(arguments, SCHEMES))
    widths = arguments.widths or PAPER_WIDTHS
    return {"largest": tables.largest(records, schemes, ASPECT, arguments.budget_gb * 1e9, widths)}


def native(arguments: argparse.Namespace, records: Records) -> dict[str, str]:
    """Every scheme, and inference, at the size of the volumes themselves."""
    size, widths = arguments.size or NATIVE, arguments.widths or PAPER_WIDTHS
    schemes = available(_chosen(arguments, SCHEMES))
    return {
        "native": tables.peaks(records, size, schemes, widths),
        "native inference": tables.inference(records, size, widths),
    }


def budgets(arguments: argparse.Namespace, records: Records) -> dict[str, str]:
    """What plans within a dozen budgets are predicted to take."""
    size, widths = arguments.size or SIZES[0], arguments.widths or PAPER_WIDTHS
    return {f"budgets {machine}": budget_tables.table(records, machine, size, widths) for machine in arguments.machines}


def time(arguments: argparse.Namespace, records: Records) -> dict[str, str]:
    """Real step times on this CPU, all schemes in one process."""
    schemes = _chosen(arguments, [BY_KEY[key] for key in _CPU])
    size, widths = arguments.size or CPU_SIZE, arguments.widths or CPU_WIDTHS
    row = records.row("cpu", lambda: timing.on_cpu(schemes, size, widths, arguments.repeats))
    return {"time": timing.cpu_table(row, schemes)} if row is not None else {}


def gpu(arguments: argparse.Namespace, records: Records) -> dict[str, str]:
    """Everything that needs a GPU, in one call; what matters most comes first."""
    schemes = _chosen(arguments, [BY_KEY[key] for key in _GPU])
    sizes = [arguments.size] if arguments.size else [SIZES[0], SIZES[2]]
    widths, on = arguments.widths or PAPER_WIDTHS, arguments.device
    seconds = arguments.measuring
    best = device.ceilings(records, on, arguments.side)
    small, *large = [device.cells([size], widths, on, seconds) for size in sizes]
    rows = [device.run_cell(records, cell, schemes, arguments.rounds) for cell in small if records.time_left]
    room = device.largest(records, arguments.budget_gb * 1e9, arguments.size or ASPECT, widths, on)
    whole = [device.native(records, arguments.size or NATIVE, widths, on, kind) for kind in ("tf32", "bf16")]
    for cells in large:
        rows += [device.run_cell(records, cell, schemes, arguments.rounds) for cell in cells if records.time_left]
    places = [f"{size_name(size)}, {precision}" for size in sizes for precision in device.PRECISIONS]
    return {
        "gpu aims": device_tables.aims(rows, places, whole, room),
        "gpu": device_tables.steps(rows, schemes),
        "gpu native": device_tables.native(whole),
        "gpu largest": device_tables.largest(room),
        "gpu limits": device_tables.limits(rows, best, schemes),
        "gpu profile": device_tables.profiles(rows, _PROFILED),
    }


PARTS: dict[str, Callable[[argparse.Namespace, Records], dict[str, str]]] = {
    part.__name__: part for part in (peaks, strategies, largest, native, budgets, time, gpu)
}


def _chosen(arguments: argparse.Namespace, schemes: tuple[Scheme, ...] | list[Scheme]) -> list[Scheme]:
    return [scheme for scheme in schemes if not arguments.only or scheme.key in ("vanilla", *arguments.only)]


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS, help="what to measure")
    parser.add_argument("--output", type=Path, default=Path("runs/memory"))
    parser.add_argument("--fresh", action="store_true", help="measure again what is there")
    parser.add_argument("--page", type=Path, default=None, help="put the tables between the markers of this page")
    parser.add_argument("--only", nargs="+", choices=BY_KEY, default=None, help="these schemes, and vanilla")
    parser.add_argument("--size", type=_numbers, default=None, help="k,j,i instead of the part's own sizes")
    parser.add_argument("--widths", type=_numbers, default=None, help="channels per level")
    parser.add_argument("--budget-gb", type=float, default=8.0, help="for `largest`, in 10^9 bytes")
    parser.add_argument("--machines", nargs="+", default=["h200", "cpu"], help="for `budgets`, see fetusmap plan")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"], help="for `gpu`")
    parser.add_argument("--measuring", type=float, default=20.0, help="seconds for measuring a network, for `gpu`")
    parser.add_argument("--rounds", type=int, default=device.ROUNDS, help="steps of each scheme, for `gpu`")
    parser.add_argument("--side", type=int, default=8192, help="of matrices that show the device's best, for `gpu`")
    parser.add_argument("--repeats", type=int, default=7, help="for `time`")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--time-limit", type=float, default=float("inf"), help="seconds; rows left over wait")
    return parser.parse_args()


if __name__ == "__main__":
    main()
