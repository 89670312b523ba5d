"""`fetusmap batch`: many volumes by several processes, whatever some of them are, and again after a stop."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from cli.synthetic_balls import ball_volume

from FetusMapV2Lib.batch import worker_pool
from FetusMapV2Lib.imaging.writing import write_volume


@pytest.fixture
def study(tmp_path: Path, monkeypatch) -> Path:
    """A folder with volumes, one of which is no volume; the current folder is the one above."""
    volume, _ = ball_volume()
    for name in ("a", "site/b", "site/c"):
        path = tmp_path / "study" / f"{name}.nrrd"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_volume(path, volume)
    (tmp_path / "study" / "broken.nrrd").write_text("no volume")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table(path: str) -> dict[str, dict[str, str]]:
    with Path(path).open(newline="", encoding="utf-8") as stream:
        return {row["case"]: row for row in csv.DictReader(stream)}


@pytest.fixture
def ball_workers(monkeypatch) -> None:
    """Processes whose engine knows the balls."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[1]))
    monkeypatch.setattr(worker_pool, "_WORKER", "batch.ball_worker")


@pytest.mark.slow
def test_a_study_with_a_broken_file_and_again(fetusmap, study, ball_workers) -> None:
    from pyarrow import parquet

    answer = fetusmap("batch", "study", "-o", "out", "--jobs", "2")
    assert answer.code == 2, answer.err
    assert "4 cases: 4 to do" in answer.err and "3 found, 1 refused" in answer.err
    rows = table("out/cases.csv")
    assert {name: row["outcome"] for name, row in rows.items()} == {
        "a": "found", "broken": "refused", "site/b": "found", "site/c": "found",
    }  # fmt: skip
    assert "broken.nrrd" in rows["broken"]["reason"]
    written = json.loads(Path("out/site/b.measurements.json").read_text(encoding="utf-8"))
    assert float(rows["site/b"]["crl_mm"]) == pytest.approx(written["measurements"][0]["value_mm"], abs=0.006)
    columns = parquet.read_table("out/cases.parquet").to_pydict()
    assert columns["case"] == list(rows) and columns["frames"] == [1, None, 1, 1]
    page = Path("out/summary.html").read_text(encoding="utf-8")
    assert page.index("Cannot be used") < page.index("<h2>Found") and page.count("data:image/png") == 3
    if os.name == "posix":
        every = [path for path in Path("out").rglob("*") if path.parent.name != ".fetusmap"]
        assert [path for path in every if path.stat().st_mode & 0o077] == []

    before = Path("out/site/b.measurements.json").stat().st_mtime_ns
    Path("out/batch.jsonl").unlink()  # as if an earlier command had written the results
    again = fetusmap("batch", "study", "-o", "out", "--json")
    events = [json.loads(line) for line in again.out.splitlines()]
    assert again.code == 2 and events[0] == {"event": "start", "cases": 4, "to_do": 1, "done_before": 3, "jobs": 1}
    assert events[-1]["outcomes"] == {"refused": 1, "lost": 0} and events[-1]["done_before"] == 3
    assert Path("out/site/b.measurements.json").stat().st_mtime_ns == before
    assert table("out/cases.csv")["site/b"] | {"seconds": ""} == rows["site/b"] | {"seconds": ""}


@pytest.mark.slow
def test_results_without_identifiers_name_no_file(fetusmap, study, ball_workers) -> None:
    Path("cases.csv").write_text("path,name\nstudy/a.nrrd,p1\nstudy/broken.nrrd,p2\n")
    answer = fetusmap("batch", "cases.csv", "-o", "out", "--without-identifiers")
    assert answer.code == 2 and table("out/cases.csv")["p1"]["outcome"] == "found"
    for path in Path("out").rglob("*"):
        if path.is_file() and path.suffix != ".png":
            content = path.read_bytes()
            assert b"study" not in content and b"a.nrrd" not in content and b"broken" not in content, path


def test_a_dry_run_writes_nothing(fetusmap, study) -> None:
    answer = fetusmap("batch", "study", "-o", "out", "--dry-run", "--shard", "1/2")
    rest = fetusmap("batch", "study", "-o", "out", "--dry-run", "--shard", "2/2")
    counts = [int(one.err.split(" cases")[0].split()[-1]) for one in (answer, rest)]
    assert answer.code == rest.code == 0 and sum(counts) == 4
    assert not Path("out").exists()


@pytest.mark.parametrize(
    "options, problem",
    [
        (("--shard", "3/2"), "--shard 3/2: not a part of a batch"),
        (("--without-identifiers",), "names of their own"),
        (("--memory-budget", "8"), "names no unit"),
        (("--refine", "twice"), "unknown refinement"),
        (("--kretz-handedness", "both"), "unknown convention"),
    ],
)
def test_wrong_options_are_one_line(fetusmap, study, options, problem) -> None:
    answer = fetusmap("batch", "study", "-o", "out", *options)
    assert answer.code == 2 and problem in answer.errors()[0] and len(answer.errors()) == 1
    assert not Path("out/a.mrk.json").exists()


def test_a_sequence_has_medians_in_the_table() -> None:
    from dataclasses import replace

    from FetusMapV2Lib.anatomy.pose import Pose
    from FetusMapV2Lib.batch.rows import row_of, row_of_document, row_of_sequence
    from FetusMapV2Lib.estimation.estimate import Estimate
    from FetusMapV2Lib.exporting.result_document import results_document

    positions = ball_volume()[1]
    pose = Pose(positions, np.linspace(0.2, 0.9, 22), np.full(22, 2.0))
    estimate = replace(Estimate.given(pose, "m"), timings={"a": 1.0})
    larger = replace(estimate, pose=Pose(positions * 1.2, pose.confidence, pose.radius90_mm), warnings=("wide",))
    nothing = replace(estimate, pose=Pose(np.full((22, 3), np.nan)), status="none", reason="No fetus found.")
    row = row_of_sequence([nothing, estimate, larger])
    assert row["crl_mm"] == pytest.approx(row_of(estimate)["crl_mm"] * 1.1, abs=0.01)
    assert (row["frames"], row["seconds"], row["warnings"]) == (3, 3.0, "wide")
    assert row_of_sequence([nothing, nothing])["reason"] == "No fetus found."
    for one in (estimate, nothing):
        again = row_of_document(results_document(one))
        assert {name: again[name] for name in row_of(one)} == pytest.approx(row_of(one), abs=0.01)
