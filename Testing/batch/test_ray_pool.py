"""A batch on a real Ray cluster of two nodes: every case is processed, whatever engines, nodes and driver do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from batch.pool_tasks import outcomes, tasks
from remote.processes import wait_until

from FetusMapV2Lib.batch.case_work import BatchSettings
from FetusMapV2Lib.batch.cases import BatchCase
from FetusMapV2Lib.batch.ray_pool import EngineRoom, RayPool
from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.core.ray_cluster import ray_cluster

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")]
TESTING = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes in processes of this computer, with one core each."""
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_AUTH_MODE", "disabled")  # no token in the home of whoever runs the tests
        patch.setenv("PYTHONPATH", os.pathsep.join([str(TESTING.parent), str(TESTING)]))
        from ray.cluster_utils import Cluster

        options = {"object_store_memory": 80 * 2**20}
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False, **options})
        nodes.second = nodes.add_node(num_cpus=1, **options)
        nodes.options = options
        ray.init(nodes.address, namespace="fetusmap", log_to_driver=False, logging_level="error")
        yield nodes
        ray.shutdown()
        nodes.shutdown()


@pytest.fixture
def pool_of(cluster, tmp_path):
    """A pool of scripted engines, one on each node."""
    from batch.scripted_ray_engine import ScriptedEngine

    def make(patience_s: float = 600.0, model: str | None = None) -> RayPool:
        settings = BatchSettings(tmp_path, model=model)
        return RayPool(settings, cluster.address, EngineRoom(1), patience_s=patience_s, engine=ScriptedEngine)

    return make


def tries(folder: Path, name: str) -> list[str]:
    return (folder / f"{name}.tries").read_text().splitlines()


def test_an_engine_that_is_killed_repeats_only_its_case_and_a_poisonous_one_is_given_up(pool_of, tmp_path) -> None:
    with pool_of(patience_s=5.0) as pool:
        records = list(pool.run(tasks("a", "kill", "b", "crash once", "hang once", "bad", "c")))
    assert outcomes(records) == {
        "a": ["found"], "b": ["found"], "c": ["found"], "bad": ["refused"],
        "kill": ["lost", "lost"], "crash once": ["lost", "found"],
        "hang once": ["lost", "found"],
    }  # fmt: skip
    problems = {record["case"]: record["problem"] for record in records if record["outcome"] == "lost"}
    assert "tried twice and is given up" in problems["kill"] and "\n" not in problems["kill"]
    assert "no progress" in problems["hang once"]
    assert {len(tries(tmp_path, name)) for name in "abc"} == {1}


def test_a_node_that_is_lost_repeats_its_case_without_blame(cluster, pool_of, tmp_path) -> None:
    names = [f"wait-{number}" for number in range(4)]
    with pool_of() as pool:
        started: list[str] = []

        def on_stage(case: BatchCase, _stage: str) -> None:
            started.append(case.name)
            if len(started) == 2:
                assert wait_until(lambda: all((tmp_path / f"{name}.tries").exists() for name in started))
                cluster.remove_node(cluster.second, allow_graceful=False)
                (tmp_path / "go").touch()

        records = list(pool.run(tasks(*names), on_stage))
    cluster.second = cluster.add_node(num_cpus=1, **cluster.options)
    assert outcomes(records) == {name: ["found"] for name in names}
    assert sorted(len(tries(tmp_path, name)) for name in names) in ([1, 1, 1, 1], [1, 1, 1, 2])
    assert len({line.split()[1] for name in names for line in tries(tmp_path, name)}) == 2


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("missing", "no such model"),
        ("old", "a computer of the cluster has FetusMapV2 0.0.1, this one"),
        ("broken", "no engine can be started .*No module named 'FetusMapV2Lib'"),
    ],
)
def test_engines_that_cannot_work_end_the_batch_with_their_reason(pool_of, model, message) -> None:
    with pool_of(model=model) as pool, pytest.raises(UserError, match=message):
        list(pool.run(tasks("a")))


def test_a_driver_that_was_killed_goes_on_when_started_again(cluster, tmp_path) -> None:
    names = ["a", "b", "c", "wait", "d"]
    command = [sys.executable, "-m", "batch.ray_driver", cluster.address, str(tmp_path), *names]
    with subprocess.Popen(command, cwd=TESTING, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as first:
        done = {first.stdout.readline().decode().strip() for _ in range(3)}
        first.kill()
    (tmp_path / "go").touch()
    again = subprocess.run(command, cwd=TESTING, capture_output=True, text=True, check=True).stdout.split()
    assert done.isdisjoint(again) and "wait" in again
    records = [json.loads(line) for line in (tmp_path / "batch.jsonl").read_text().splitlines()]
    assert sorted(record["case"] for record in records) == sorted(names)


def test_what_ray_prints_is_not_among_the_results(cluster, capsys) -> None:
    from ray._private.utils import push_error_to_driver
    from ray._private.worker import global_worker

    said: list[str] = []

    def is_told() -> bool:
        # said again and again, as Ray begins to listen some time after it has connected
        push_error_to_driver(global_worker, "lost", "a computer is gone")
        printed = capsys.readouterr()
        assert not printed.out
        said.append(printed.err)
        return "a computer is gone" in "".join(said)

    with ray_cluster(cluster.address):
        assert wait_until(is_told)


def test_the_command_writes_the_results_of_the_cluster(cluster, tmp_path) -> None:
    from cli.synthetic_balls import ball_volume
    from typer.testing import CliRunner

    from FetusMapV2Lib.cli.app import app
    from FetusMapV2Lib.imaging.writing import write_volume

    write_volume(tmp_path / "one.nrrd", ball_volume()[0])
    (tmp_path / "two.nrrd").write_text("no volume")
    options = ["--ray", cluster.address, "--engine-cpus", "1", "--device", "cpu", "--json"]
    done = CliRunner().invoke(app, ["batch", str(tmp_path), "-o", str(tmp_path / "out"), *options])
    assert done.exit_code == 2, done.output
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert {event["case"]: event["outcome"] for event in events if event["event"] == "case"}.keys() == {"one", "two"}
    assert (tmp_path / "out" / "one.measurements.json").exists() and (tmp_path / "out" / "cases.csv").exists()
    assert events[0]["ray"] == cluster.address


@pytest.mark.parametrize(
    ("address", "message"),
    [("127.0.0.1:1", "the Ray cluster cannot be reached"), ("ray://head:10001", "not the address of a Ray cluster")],
)
def test_an_address_without_a_cluster_is_one_sentence(tmp_path, monkeypatch, address, message) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)  # other tests of this file may be connected
    with pytest.raises(UserError, match=message), RayPool(BatchSettings(tmp_path), address):
        pass


def test_a_home_that_cannot_be_written_is_one_sentence(tmp_path, monkeypatch) -> None:
    ray = pytest.importorskip("ray")

    def init(*_: object, **__: object) -> None:  # as Ray, which keeps a token there, for a user without a home
        raise PermissionError(13, "Permission denied", "/project/.ray")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)  # other tests of this file may be connected
    monkeypatch.setattr(ray, "init", init)
    pool = RayPool(BatchSettings(tmp_path), "local")
    with pytest.raises(UserError, match=r"/project/\.ray: Ray cannot write into the home folder .*HOME"), pool:
        pass
