"""The documentation's tables of what a GPU measured."""

from __future__ import annotations

from collections.abc import Iterable

from .device import median_s, plain_of
from .records import Row, markdown, size_name
from .schemes import Scheme

GB = 1e9


def steps(rows: Iterable[Row], schemes: Iterable[Scheme]) -> str:
    """Step time and peak beside vanilla's of the same size and precision, and beside the prediction."""
    lines = []
    for row in rows:
        place = f"{size_name(row['size'])}, {row['precision']}"
        plain = plain_of(row)
        for scheme in schemes:
            if scheme.key in row["schemes"]:
                title = f"**{scheme.title}**" if scheme.group == "ours" else scheme.title
                lines.append([f"{place}: {title}", *_cells(row["schemes"][scheme.key], plain)])
    header = ["one step", "s", "x vanilla", "peak GB", "% of vanilla", "predicted s", "error", "predicted GB", "error"]
    return markdown(header, lines)


def _cells(found: Row, plain: Row) -> list[str]:
    if "failed" in found:
        return [found["failed"], *[""] * 7]
    seconds, reference = median_s(found), median_s(plain)
    return [
        "" if seconds is None else f"{seconds:.3f}",
        f"{seconds / reference:.2f}" if seconds and reference else "",
        f"{found['peak_bytes'] / GB:.2f}",
        f"{100 * found['peak_bytes'] / plain['peak_bytes']:.0f}" if plain.get("peak_bytes") else "",
        *_beside(found.get("predicted_s"), seconds, 1, 3),
        *_beside(found.get("predicted_bytes"), found["peak_bytes"], GB, 2),
    ]


def _beside(predicted: float | None, measured: float | None, unit: float, digits: int) -> list[str]:
    if not predicted:
        return ["", ""]
    error = f"{100 * (predicted / measured - 1):+.0f} %" if measured else ""
    return [f"{predicted / unit:.{digits}f}", error]


def limits(rows: Iterable[Row], ceilings: Row | None, schemes: Iterable[Scheme]) -> str:
    """Work done per second beside what the device reaches at best."""
    if ceilings is None:
        return ""
    titles = {scheme.key: scheme.title for scheme in schemes}
    lines = []
    for row in rows:
        best = ceilings[f"{row['precision']}_flops"]
        for key, found in row["schemes"].items():
            seconds = median_s(found)
            if seconds and found.get("flops") and key in titles:
                rate, traffic = found["flops"] / seconds, found["moved_bytes"] / seconds
                lines.append(
                    [
                        f"{size_name(row['size'])}, {row['precision']}: {titles[key]}",
                        f"{rate / 1e12:.1f}",
                        f"{100 * rate / best:.0f}",
                        f"{traffic / GB:.0f}",
                        f"{100 * traffic / ceilings['bytes']:.0f}",
                    ]
                )
    return markdown(["one step", "TFLOP/s", "% of a matrix product", "GB/s beside convolutions", "% of a copy"], lines)


def profiles(rows: Iterable[Row], keys: Iterable[str]) -> str:
    """The kernels that a step spends most of its time in."""
    keys, lines = set(keys), []
    for row in rows:
        for key, found in row["schemes"].items():
            for kernel, milliseconds, calls in found.get("profile", ())[:6] if key in keys else ():
                place = f"{size_name(row['size'])}, {row['precision']}, {key}: `{kernel}`"
                lines.append([place.replace("|", "/"), f"{milliseconds:.1f}", str(calls)])
    return markdown(["kernel", "ms", "calls"], lines)


def native(rows: Iterable[Row | None]) -> str:
    """One step at the size of the volumes."""
    lines = [
        [
            f"{size_name(row['size'])}, {row['precision']}",
            f"{row['seconds']:.2f}",
            f"{row['peak_bytes'] / GB:.1f}",
            *_beside(row["predicted_s"], row["seconds"], 1, 2),
            *_beside(row["predicted_bytes"], row["peak_bytes"], GB, 1),
        ]
        for row in rows
        if row is not None
    ]
    return markdown(["one step", "s", "peak GB", "predicted s", "error", "predicted GB", "error"], lines)


def largest(row: Row | None) -> str:
    """The largest input within a budget as the allocator counts it."""
    if row is None:
        return ""
    k, j, i = row["size"]
    cells = [size_name((k, j, i)), f"{k * j * i / 1e6:.1f}", f"{row['peak_bytes'] / GB:.2f}", f"{row['seconds']:.2f}"]
    return markdown(["within", "input", "million voxels", "peak GB", "s"], [[f"{row['budget'] / GB:g} GB", *cells]])


NOT_MEASURED = "not measured yet"
#: Of schemes: what an earlier state measured on an H200 or H100 in TF32, and what is to be reached (peak and time).
_AIMS = (
    ("lean", "default plan", "34 % at 1.66x", "25 % at 1.10x"),
    ("fast", "no convolution twice", "52 % at 1.35x", "45 % at 0.85x"),
    ("streamed-host", "streamed through host memory", "16 % at 29x", "17 % at 1.6x"),
    ("gcp-valid", "GCP, by our executor", "68 % at 1.30x", "75 % at 1.24x"),
    ("rev", "REV, by our executor", "97 % at 1.78x", "66 % at 1.47x"),
    ("gcp-rev", "GCP + REV, by our executor", "69 % at 1.72x", "57 % at 1.24x"),
)


def aims(rows: Iterable[Row], places: Iterable[str], whole: Iterable[Row | None], room: Row | None) -> str:
    """What is to be reached beside what is measured; says so where nothing is.

    Args:
        rows: of cells.
        places: size and precision of every cell that is to be measured, as "176x112x112, tf32".
        whole: steps at the size of the volumes.
        room: the largest input within a budget.
    """
    known = {f"{size_name(row['size'])}, {row['precision']}": row for row in rows}
    places = list(places)
    lines = [
        [title, earlier, aim, *(_reached(known.get(place), key) for place in places)]
        for key, title, earlier, aim in _AIMS
    ]
    rest = [""] * (len(places) - 1)
    steps = [
        f"{row['precision']}: {row['seconds']:.2f} s, {row['peak_bytes'] / GB:.1f} GB"
        for row in whole
        if row is not None
    ]
    lines.append(["a step at 464x320x320", "never run", "TF32 and bf16", "; ".join(steps) or NOT_MEASURED, *rest])
    largest = NOT_MEASURED if room is None else f"{size_name(tuple(room['size']))} in {room['budget'] / GB:g} GB"
    lines.append(["largest input within 8 GB", "", "288x176x192", largest, *rest])
    return markdown(["peak and time of vanilla's", "earlier, measured", "to reach", *places], lines)


def _reached(row: Row | None, key: str) -> str:
    found, plain = ({}, {}) if row is None else (row["schemes"].get(key, {}), plain_of(row))
    if "failed" in found:
        return "failed"
    seconds, reference = median_s(found), median_s(plain)
    if not seconds or not reference:
        return NOT_MEASURED
    return f"{100 * found['peak_bytes'] / plain['peak_bytes']:.0f} % at {seconds / reference:.2f}x"
