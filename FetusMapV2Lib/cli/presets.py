"""`fetusmap presets`: the training presets."""

from __future__ import annotations

from rich.table import Table

from FetusMapV2Lib.cli.console import (
    print_table,
)


def presets() -> None:
    """List the training presets."""
    from FetusMapV2Lib.training.preset import load_preset, preset_names

    table = Table("preset", "input size", "description")
    for preset in map(load_preset, preset_names()):
        table.add_row(preset.name, "x".join(map(str, preset.input_size)), preset.description)
    print_table(table)
