"""docs/systems.md tells of every preset what the preset says."""

from __future__ import annotations

from pathlib import Path

import pytest

from FetusMapV2Lib.evaluation.paper.recipes import memory_scheme
from FetusMapV2Lib.evaluation.paper.tables import paper_methods
from FetusMapV2Lib.training.preset import load_preset, preset_names

PAGE = Path(__file__).resolve().parents[3] / "docs" / "systems.md"


def rows() -> dict[str, dict[str, str]]:
    lines = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith(("| Preset", "| `"))]
    head, *body = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {cells[0].strip("`"): dict(zip(head, cells, strict=True)) for cells in body}


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_is_as_the_page_says(name: str) -> None:
    row, preset = rows()[name], load_preset(name)
    assert row["Input size"] == "x".join(map(str, preset.input_size))
    assert row["Memory"] == memory_scheme(preset)
    assert row["Loss"] == preset.loss
    refined = "-" if preset.refinement.mode == "off" else preset.refinement.refined
    assert row["Refinement"] == refined
    assert row["Network"].startswith("small UNet" if name == "bundled" else "UNet")
    assert ("reversible" in row["Network"]) == bool(preset.network.reversible)


def test_every_system_of_the_paper_has_a_row() -> None:
    named = {row["Paper's name"]: preset for preset, row in rows().items()}
    assert {method.name: method.preset for method in paper_methods()}.items() <= named.items()
