"""The paper's figures are whole, and their counterparts put ours beside them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from anatomy.bodies import bodies
from evaluation.test_comparison import answers, cases_of

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.evaluation.comparison import compare
from FetusMapV2Lib.evaluation.page_blocks import fill_page
from FetusMapV2Lib.evaluation.paper.tables import (
    PLANNER,
    MemoryFact,
    RunFact,
    memory_rows,
    page,
    paper_figures,
    paper_tables,
)
from FetusMapV2Lib.training.preset import load_preset, preset_names


def test_means_of_the_paper_are_those_of_its_landmarks():
    checked = 0
    for number in ("2", "3", "5", "6", "7"):
        table = paper_figures()["tables"][number]
        for name, figures in table["methods"].items():
            for key in ("ed_mm", "auc_percent"):
                if key in figures:
                    assert len(figures[key]) == len(table["landmarks"])
                    mean = np.mean(figures[key])
                    assert mean == pytest.approx(figures[f"mean_{key}"], abs=0.011), (number, name, key)
                    checked += 1
    assert checked == 10 + 10 + 8 + 8 + 8


def test_ablations_repeat_the_main_tables():
    tables = paper_figures()["tables"]
    for number in ("5", "6", "7"):
        for name, figures in tables[number]["methods"].items():
            if name in tables["2"]["methods"]:
                for mark, ed, area in zip(
                    tables[number]["landmarks"], figures["ed_mm"], figures["auc_percent"], strict=True
                ):
                    assert ed == tables["2"]["methods"][name]["ed_mm"][mark - 1]
                    assert area == tables["3"]["methods"][name]["auc_percent"][mark - 1]


def test_headline_of_the_paper():
    tables = paper_figures()["tables"]
    assert tables["2"]["methods"]["FetusMapV2"]["mean_ed_mm"] == 3.46
    assert tables["3"]["methods"]["FetusMapV2"]["mean_auc_percent"] == 83.23
    assert tables["4"]["rows"][5]["memory_gb"] == 4.5
    assert tables["8"]["methods"]["FetusMapV2"][tables["8"]["keys"].index("crl")] == 6.28


def test_presets_are_the_methods_of_the_paper():
    there = set(preset_names())
    compared = [one for one in paper_figures()["methods"].values() if one["preset"] in there]
    for one in compared:
        preset = load_preset(one["preset"])
        assert (preset.refinement.mode == "full") == one["ssl"], preset.name
        assert (preset.loss == "pair") == one["pair_loss"], preset.name
        assert list(preset.input_size) == one["input_size"], preset.name
    assert {"unet", "up", "ugcp", "unet-l"} <= {one["preset"] for one in compared}


@pytest.fixture
def tables():
    truths = bodies(3, 8)
    off = {"unet": "off", "mine": "off"}
    comparison = compare(
        cases_of(truths),
        {"unet": answers(truths + np.array([2.0, 0, 0])), "mine": answers(truths + np.array([4.0, 0, 0]))},
        off,
    )
    runs = {"unet": RunFact((176, 112, 112), 1.25, 6_000_000_000), "mine": RunFact((64, 48, 48), 0.5, None)}
    memory = {("", (176, 112, 112)): MemoryFact(6_000_000_000, 148_000_000)}
    memory[PLANNER, (176, 112, 112)] = MemoryFact(1_500_000_000, 148_000_000)
    made = paper_tables(comparison, runs, memory)
    return {table.number: table for table in made}, page(comparison, made)


def cell(table, row: str, column: str, by: str = "") -> str:
    (found,) = [cells for cells in table.rows if cells[0] == row and (not by or cells[1] == by)]
    return found[table.head.index(column)]


def test_counterparts_of_the_accuracy_tables(tables):
    made, _ = tables
    assert cell(made[2], "UNet", "L1", "paper") == "4.07"
    assert cell(made[2], "UNet", "L1", "ours") == "2.00"
    assert cell(made[2], "UNet", "mean", "ours").startswith("2.00 [")
    assert cell(made[2], "mine", "L22", "ours") == "4.00"
    assert cell(made[2], "UREV", "L1", "ours") == "not run"
    assert cell(made[3], "UNet", "L1", "ours") == "90.00"
    assert cell(made[7], "mean", "ED (mm) UNet, ours") == "2.00"
    assert cell(made[7], "mean", "ED (mm) FetusMapV2, ours") == "not run"
    assert [row[0] for row in made[6].rows] == [*(f"L{n}" for n in range(11, 23)), "mean"]


def test_counterpart_of_the_resources(tables):
    made, _ = tables
    plain = made[4].rows[1]
    column = dict(zip(made[4].head, plain, strict=True))
    assert (column["Method"], column["memory, ours"], column["% of UNet, ours"]) == ("UNet", "6.00", "100")
    assert (column["trained by us at"], column["s per volume, ours"]) == ("176x112x112", "1.25")
    assert cell(made[4], "our planner", "% of UNet, ours") == "25"
    assert cell(made[4], "UNet-L", "memory, ours") == "not run"
    assert ("gcp+rev", (208, 128, 144)) in memory_rows()


def test_counterpart_of_the_applications(tables):
    made, _ = tables
    assert cell(made[8], "Crown-rump length (mm)", "UNet, paper") == "9.13"
    assert cell(made[8], "Crown-rump length (mm)", "UNet, ours").startswith("0.00")  # a shift changes no length
    assert cell(made[8], "Crown-rump length (mm)", "mine, ours").startswith("0.00")


def test_every_table_says_on_what_it_was_measured(tables):
    made, text = tables
    assert sorted(made) == [2, 3, 4, 5, 6, 7, 8]
    assert all("simulated volumes" in table.heading for table in made.values())
    assert text.startswith("# The paper's tables, on simulated volumes\n\nResearch use only.")


def test_tables_go_into_a_page(tmp_path: Path, tables):
    made, _ = tables
    path = tmp_path / "Seite mit Leerzeichen.md"
    before = "# Ours\n\n<!-- reproduce table-2 -->\nnot run yet\n<!-- /reproduce table-2 -->\n\nend\n"
    path.write_text(before, encoding="utf-8")
    blocks = {f"reproduce table-{number}": table.markdown() for number, table in made.items()}
    assert fill_page(path, blocks) == ["reproduce table-2"]
    once = path.read_text(encoding="utf-8")
    assert "not run yet" not in once and "| UNet | ours | 2.00" in once and once.endswith("\n\nend\n")
    fill_page(path, blocks)
    assert path.read_text(encoding="utf-8") == once
    with pytest.raises(InputError, match="no place for these results"):
        fill_page(path, {"nothing": "text"})
    with pytest.raises(InputError, match="cannot be read"):
        fill_page(tmp_path / "none.md", blocks)
