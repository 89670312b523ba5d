"""The memory benchmark compares what it says it compares: a smoke run of its parts on a tiny network."""

from __future__ import annotations

import functools
import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from benchmarks import gpu
from benchmarks.memory_bench import device, device_tables, tables, timing
from benchmarks.memory_bench.fake import measured, measured_inference
from benchmarks.memory_bench.records import Records, Row, put_between_markers
from benchmarks.memory_bench.schemes import BY_KEY, STRATEGY_STEPS, VANILLA, Scheme, Setting
from memory.networks import error, gradient_vector

SIZE, WIDTHS = (16, 16, 16), (4, 8)
FAKE, DEEPER = Setting(SIZE, WIDTHS), Setting(SIZE, (4, 8, 8))  # host memory pays in the deeper one
SAME_NETWORK = [
    "checkpoint-block",
    "checkpoint-level",
    "budget-0.2",
    "gcp-time",
    "gcp-searched",
    "gcp-valid",
    "lean",
    "streamed-host",
]
OTHERS = [*SAME_NETWORK, "rev", "gcp-rev", "bf16-storage"]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Tensors this small are slower on several."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@functools.cache
def vanilla_row(setting: Setting = FAKE) -> Row:
    return measured(VANILLA, setting)


@pytest.fixture(scope="module")
def vanilla_gradient():
    return gradient_of("vanilla")


def gradient_of(key: str) -> torch.Tensor:
    setting = Setting(SIZE, WIDTHS, device="cpu")
    job = BY_KEY[key].prepare(setting)
    volume, truth = job.inputs(setting)
    job.loss(volume, truth).backward()
    return gradient_vector(job.network)


@pytest.mark.parametrize("key", SAME_NETWORK)
def test_all_schemes_train_the_same_network(key, vanilla_gradient):
    assert error(gradient_of(key), vanilla_gradient) < 2e-4


@pytest.mark.parametrize("key", OTHERS)
def test_peaks_are_measured_beside_vanilla(key):
    setting = DEEPER if BY_KEY[key].host else FAKE
    row, vanilla = measured(BY_KEY[key], setting), vanilla_row(setting)
    assert row["flops"] >= 0.99 * vanilla["flops"]
    assert row["parameter_bytes"] == pytest.approx(vanilla["parameter_bytes"], rel=0.03)
    if BY_KEY[key].group == "ours":
        assert row["peak_bytes"] < 0.5 * vanilla["peak_bytes"]
        assert row["predicted_bytes"] == pytest.approx(row["peak_bytes"], rel=0.1)


def test_host_memory_and_traffic_are_seen():
    row, vanilla = measured(BY_KEY["streamed-host"], DEEPER), vanilla_row(DEEPER)
    assert vanilla["host_bytes"] == vanilla["transferred_bytes"] == 0
    assert row["host_bytes"] > 0
    assert row["transferred_bytes"] >= 1.9 * row["host_bytes"]  # there and back


def test_each_further_strategy_never_costs_memory():
    peaks = [measured(scheme, FAKE)["peak_bytes"] for scheme in STRATEGY_STEPS[::3]]
    assert all(after <= 1.01 * before for before, after in itertools.pairwise(peaks))


def test_leanest_inference_takes_less_than_the_plain_one():
    assert measured_inference("least", FAKE)["peak_bytes"] < measured_inference("plain", FAKE)["peak_bytes"]


def test_sizes_grow_along_the_aspect_to_the_budget(tmp_path):
    sizes = list(tables.growing((208, 128, 144), 16))
    assert (208, 128, 144) in sizes
    voxels = [k * j * i for k, j, i in sizes]
    assert voxels == sorted(set(voxels))
    budget = 1.01 * measured(VANILLA, Setting((64, 32, 48), WIDTHS))["peak_bytes"]
    table = tables.largest(Records(tmp_path), [VANILLA], (208, 128, 144), budget, WIDTHS)
    assert "| 64x32x48 |" in table


def test_cpu_times_are_interleaved():
    schemes = [VANILLA, BY_KEY["lean"]]
    row = timing.on_cpu(schemes, SIZE, WIDTHS, repeats=2)
    assert [len(values) for values in row["seconds"].values()] == [2, 2]
    assert "| vanilla | " in timing.cpu_table(row, schemes)


def test_the_gpu_part_runs_here_and_goes_on_where_it_was_cut(tmp_path, monkeypatch):
    """The same code on a CPU: every table, failures of single schemes, and a call without time."""
    monkeypatch.setenv("FETUSMAPV2_DATA", str(tmp_path / "cache"))
    broken = Scheme("compiled", "torch.compile", lambda setting: 1 / 0, "peer")
    schemes = [VANILLA, BY_KEY["lean"], BY_KEY["fast"], BY_KEY["vanilla-last"], broken]
    cell = device.cells([SIZE], WIDTHS, "cpu", 0.05)[0]
    none = device.run_cell(Records(tmp_path, seconds=0), cell, schemes)
    assert not none["schemes"]
    row = device.run_cell(Records(tmp_path), cell, schemes, rounds=1)
    stored = json.loads((tmp_path / "16x16x16-tf32.json").read_text())
    assert stored["schemes"].keys() == row["schemes"].keys() == {scheme.key for scheme in schemes}
    again = device.run_cell(Records(tmp_path), cell, schemes, rounds=2)
    for key, found in again["schemes"].items():
        if key != "compiled":
            assert len(found["seconds"]) == 2 and found["seconds"][0] == row["schemes"][key]["seconds"][0]
            assert found["profile"] and found["peak_bytes"] > 0
    lean = again["schemes"]["lean"]
    assert lean["basis"].startswith("measured") and lean["predicted_s"] > 0
    assert lean["predicted_bytes"] == pytest.approx(lean["peak_bytes"], rel=0.2)  # one tensor of so few
    table = device_tables.steps([again], schemes)
    assert table.count("\n") == 2 + len(schemes)
    assert "ZeroDivisionError: division by zero" in table
    assert device_tables.profiles([again], ["lean"]).count("\n") == 2 + 6
    best = device.ceilings(Records(tmp_path), "cpu", side=32)
    assert device_tables.limits([again], best, schemes).count("\n") >= 4
    assert "16x16x16, tf32" in device_tables.native([device.native(Records(tmp_path), SIZE, WIDTHS, "cpu", "tf32")])
    budget = 3 * lean["peak_bytes"]
    found = device.largest(Records(tmp_path), budget, SIZE, WIDTHS, "cpu")
    assert 0 < found["peak_bytes"] <= budget
    assert "million voxels" in device_tables.largest(found)


def test_the_aims_say_what_is_not_measured_and_take_what_is():
    row = {"size": [16, 16, 16], "precision": "tf32", "schemes": {"vanilla": {"seconds": [2.0], "peak_bytes": 100}}}
    row["schemes"]["lean"] = {"seconds": [1.0, 3.0, 5.0], "peak_bytes": 30}
    table = device_tables.aims([row], ["16x16x16, tf32", "16x16x16, bf16"], [None], None)
    assert "| default plan | 34 % at 1.66x | 25 % at 1.10x | 30 % at 1.50x | not measured yet |" in table
    assert "| a step at 464x320x320 | never run | TF32 and bf16 | not measured yet |" in table


def test_what_a_gpu_has_to_say_goes_on_where_it_was_cut(tmp_path, capsys):
    """A step that is done is not done again; one that hangs, fails or has more to do is left, with its log."""
    there = tmp_path / "there"
    steps = [
        gpu.Step("good", ("-c", "print('said')"), 60),
        gpu.Step("bad", ("-c", "1 / 0"), 60),
        gpu.Step("hangs", ("-c", "import threading; threading.Event().wait()"), 0.3),
        gpu.Step("long", ("-c", f"import pathlib; p = pathlib.Path({str(there)!r}); "
                          "print('' if p.exists() else 'no time left, call again'); p.touch()"), 60),
    ]  # fmt: skip
    assert gpu.run(steps, tmp_path, 1000) == ["bad", "hangs", "long"]
    assert (tmp_path / "good.log").read_text() == "said\n" and "ZeroDivisionError" in (tmp_path / "bad.log").read_text()
    assert gpu.run(steps, tmp_path, 1000) == ["bad", "hangs"]
    assert gpu.run(steps, tmp_path, 0) == ["bad", "hangs"]
    told = capsys.readouterr().out
    assert all(
        words in told for words in ("good: done before", "hangs: took too long", "long: to go on", "no time left")
    )
    tried = gpu.rehearsal(tmp_path, tmp_path)
    assert all(
        few.arguments[0] == all_.arguments[0] for few, all_ in zip(tried, gpu.steps(tmp_path, tmp_path), strict=True)
    )
    assert sum(step.limit_s for step in gpu.steps(tmp_path, tmp_path)) <= 840


def test_rows_are_kept_and_time_is_limited(tmp_path):
    first = Records(tmp_path).row("a", lambda: {"value": 1})
    assert Records(tmp_path).row("a", lambda: {"value": 2}) == first
    assert Records(tmp_path, seconds=0).row("b", lambda: {"value": 3}) is None


def test_a_page_without_the_place_is_refused(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("nothing", encoding="utf-8")
    with pytest.raises(ValueError, match="no place"):
        put_between_markers(page, "peaks", "table")


def test_command_writes_its_table_into_the_page(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- peaks 16x16x16 -->\nold\n<!-- /peaks 16x16x16 -->\nafter\n", encoding="utf-8")
    script = Path(__file__).parents[1] / "benchmarks" / "memory.py"
    options = ["peaks", "--size", "16,16,16", "--widths", "4,8", "--only", "checkpoint-level"]
    subprocess.run([sys.executable, script, *options, "--output", tmp_path / "out", "--page", page], check=True)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n<!-- peaks 16x16x16 -->\n| one step at 16x16x16 |")
    assert "old" not in text
    assert text.count("\n| ") == 4
