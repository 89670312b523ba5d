"""The parts that need no real computation: peaks at several sizes, the worth of each strategy, the largest input."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .fake import measured, measured_inference
from .records import Records, Row, markdown, size_name
from .schemes import VANILLA, Scheme, Setting, Size

GB = 1e9


def peaks(
    records: Records, size: Size, schemes: Iterable[Scheme], widths: tuple[int, ...], predictions: bool = True
) -> str:
    """One table: each scheme's step at one input size."""
    rows: list[tuple[Scheme, Row]] = []
    for scheme in schemes:
        row = records.row(
            f"{size_name(size)}-{scheme.key}", lambda scheme=scheme: measured(scheme, Setting(size, widths))
        )
        if row is not None:
            rows.append((scheme, row))
    vanilla = next((row for scheme, row in rows if scheme is VANILLA), None)
    if vanilla is None:
        return ""
    header = ["one step at " + size_name(size), "peak GB", "% of vanilla", "operations", "host GB", "PCIe GB"]
    lines = [_line(scheme, row, vanilla, predictions) for scheme, row in rows]
    return markdown([*header, "predicted GB", "error"] if predictions else header, lines)


def _line(scheme: Scheme, row: Row, vanilla: Row, predictions: bool) -> list[str]:
    title = scheme.title if scheme.exact else f"{scheme.title} (not exact)"
    cells = [
        f"**{title}**" if scheme.group == "ours" else title,
        f"{row['peak_bytes'] / GB:.2f}",
        f"{100 * row['peak_bytes'] / vanilla['peak_bytes']:.1f}",
        f"{row['flops'] / vanilla['flops']:.2f}x",
        _amount(row["host_bytes"]),
        _amount(row["transferred_bytes"]),
    ]
    if not predictions:
        return cells
    if "predicted_bytes" not in row:
        return [*cells, "", ""]
    error = row["predicted_bytes"] / row["peak_bytes"] - 1
    return [*cells, f"{row['predicted_bytes'] / GB:.2f}", f"{100 * error:+.1f} %"]


def _amount(count: int) -> str:
    return f"{count / GB:.1f}" if count > 1e7 else ""


def inference(records: Records, size: Size, widths: tuple[int, ...]) -> str:
    """One estimate: the plain forward pass without gradients, and ours at the same speed and at the least memory."""
    lines = []
    for key, title in (("plain", "plain forward pass"), ("fast", "**fastest plan**"), ("least", "**leanest plan**")):
        row = records.row(
            f"{size_name(size)}-inference-{key}", lambda key=key: measured_inference(key, Setting(size, widths))
        )
        if row is not None:
            lines.append([title, f"{row['peak_bytes'] / GB:.2f}", f"{row['flops'] / 1e12:.1f}"])
    return markdown([f"one inference at {size_name(size)}", "peak GB", "TFLOP"], lines)


def growing(aspect: Size, multiple: int) -> Iterator[Size]:
    """Sizes of about an aspect, each once: the longest side grows by half the multiple, all sides are rounded to it."""
    last: Size | None = None
    for step in range(2, 2 * 1024 // multiple + 1):
        scale = step * multiple / 2 / max(aspect)
        k, j, i = (max(multiple, round(n * scale / multiple) * multiple) for n in aspect)
        if (k, j, i) != last:
            last = (k, j, i)
            yield last


def largest(records: Records, schemes: Iterable[Scheme], aspect: Size, budget: float, widths: tuple[int, ...]) -> str:
    """One table: the largest input whose measured peak stays within a budget."""
    lines = []
    for scheme in schemes:
        row = records.row(
            f"largest-{budget / GB:g}GB-{scheme.key}", lambda scheme=scheme: _largest(scheme, aspect, budget, widths)
        )
        if row is not None:
            k, j, i = row["size"]
            title = scheme.title if scheme.exact else f"{scheme.title} (not exact)"
            cells = [size_name((k, j, i)), f"{k * j * i / 1e6:.1f}", f"{row['peak_bytes'] / GB:.2f}"]
            lines.append([f"**{title}**" if scheme.group == "ours" else title, *cells])
    return markdown([f"within {budget / GB:g} GB", "input", "million voxels", "peak GB"], lines)


def _largest(scheme: Scheme, aspect: Size, budget: float, widths: tuple[int, ...]) -> Row:
    sizes = list(growing(aspect, 16))
    best: Row = {"size": [0, 0, 0], "peak_bytes": 0}
    low, high = 0, len(sizes)
    while low < high:
        middle = (low + high) // 2
        row = measured(scheme, Setting(sizes[middle], widths))
        if row["peak_bytes"] <= budget:
            best, low = row, middle + 1
        else:
            high = middle
    return best
