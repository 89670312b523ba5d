"""The head of a Ray cluster is lost during a batch: one sentence, nothing half-written, and the next start goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from FetusMapV2Lib.batch.journal import Journal

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")]
TESTING = Path(__file__).resolve().parents[1]
#: The driver, which gives a silent head up sooner.
DRIVER = """
from FetusMapV2Lib.cli.console import print_error
from FetusMapV2Lib.core import ray_cluster
from FetusMapV2Lib.core.errors import UserError
ray_cluster._LOOK_S, ray_cluster._SILENT_S = 0.2, 1.0
from batch import ray_driver
try:
    ray_driver.main()
except UserError as error:
    print_error(error)
    raise SystemExit(1)
"""


def test_a_lost_head_ends_the_batch_with_one_sentence(tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTING.parent), str(TESTING)]))
    from ray.cluster_utils import Cluster

    options = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 80 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args=options)
    command = [sys.executable, "-c", DRIVER, cluster.address, str(tmp_path), "a", "wait", "b"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as driver:
        assert driver.stdout.readline() == "a\n"
        cluster.head_node.kill_all_processes(check_alive=False, allow_graceful=False)
        out, err = driver.communicate(timeout=300)
    assert driver.returncode == 1 and not out
    said = [line for line in err.splitlines() if "Error:" in line]  # Ray may say something of its own before it
    assert len(said) == 1 and "the head of the Ray cluster does not answer any more" in said[0]
    assert "The same command goes on when the cluster is back" in said[0] and "Traceback" not in err
    records = [json.loads(line) for line in (tmp_path / "batch.jsonl").read_text().splitlines()]
    assert [record["case"] for record in records] == ["a"]
    with Journal(tmp_path / "batch.jsonl") as journal:
        assert [journal.outcome(name) is None for name in ("a", "wait", "b")] == [False, True, True]
