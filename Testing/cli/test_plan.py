"""`fetusmap plan`: a table for people, JSON for programs, a picture, and one line for every mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from FetusMapV2Lib.cli.app import app
from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.memory.plan import MemoryPlan


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A preset whose plans are made in a second."""
    path = tmp_path_factory.mktemp("presets") / "small.json"
    path.write_text('{"extends": "bundled", "input_size": [48, 32, 32], "network": {"widths": [8, 16]}}')
    return path


@pytest.fixture
def run(small: Path):
    """`fetusmap plan` for that preset."""
    return lambda *arguments: CliRunner().invoke(app, ["plan", "--preset", str(small), *arguments])


def test_table_names_every_unit_and_the_cost(run):
    result = run()
    assert result.exit_code == 0, result.output
    told = (
        "Peak:",
        "TFLOP",
        "workspace of convolutions is part of the peak",
        "In short:",
        "plain network",
        "1.72x",
        "not time",
        "from table, NVIDIA H200",
    )
    for word in ("down.0.first", "up.0.convs.second", "from table, NVIDIA H200", *told):
        assert word in result.output


def test_json_is_a_plan_and_nothing_else(run):
    result = run("--json", "--max-slowdown", "2")
    plan = MemoryPlan.from_dict(json.loads(result.stdout))
    assert plan.input_size == (48, 32, 32)
    assert plan.prediction.seconds <= 2 * plan.prediction.vanilla_seconds


@pytest.mark.parametrize("machine,basis", [("h100", "from table, NVIDIA H100 80GB"), ("cpu", "measured, ")])
def test_a_machine_is_chosen(run, monkeypatch, machine, basis):
    monkeypatch.setattr("FetusMapV2Lib.memory.measured_machine.LIMIT_S", 0.3)
    plan = MemoryPlan.from_dict(json.loads(run("--json", "--machine", machine).stdout))
    assert plan.prediction.basis.startswith(basis)


def test_a_budget_tells_the_largest_input_and_a_picture_shows_it(run, tmp_path: Path):
    path = tmp_path / "Bild mit Leerzeichen.png"
    result = run("--memory-budget", "8MiB", "--picture", str(path))
    assert result.exit_code == 0, result.output
    assert "Largest input" in result.output
    assert path.read_bytes().startswith(b"\x89PNG")


def test_inference(run):
    result = run("--inference", "--json")
    assert MemoryPlan.from_dict(json.loads(result.stdout)).purpose == "inference"


def test_strategies_are_switched(run):
    result = run("--without", "channel-chunks", "--allow", "reduced-storage")
    assert "slices" not in result.output
    assert "NOT exact" in result.output


def test_a_scheme_of_the_paper(run):
    plan = MemoryPlan.from_dict(json.loads(run("--scheme", "gcp", "--json").stdout))
    assert plan.executor == "segments"
    assert {line.technique for line in plan.segments} == {"checkpoint", "kept"}


@pytest.mark.parametrize(
    "arguments,words",
    [
        (("--scheme", "magic"), "unknown memory scheme"),
        (("--scheme", "gcp", "--memory-budget", "1MiB"), "does not fit"),
        (("--scheme", "gcp", "--without", "checkpoint"), "planned as it is"),
        (("--memory-budget", "1MiB"), "at least"),
        (("--memory-budget", "apples"), "not an amount of memory"),
        (("--input-size", "101,64,64"), "does not fit the network"),
        (("--without", "magic"), "unknown strategy"),
        (("--machine", "magic"), "unknown machine"),
        (("--preset", "nothing-of-the-kind"), "nothing-of-the-kind"),
    ],
)
def test_mistakes_are_one_sentence(run, arguments, words):
    result = run(*arguments)
    assert isinstance(result.exception, UserError)
    assert words in str(result.exception)
