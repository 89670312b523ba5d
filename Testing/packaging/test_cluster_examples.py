"""The examples for clusters: their commands are run here, as a cluster would, on a folder with one broken volume."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "cluster"

pytestmark = pytest.mark.skipif(os.name != "posix", reason="scripts for a shell")


@pytest.fixture
def study(tmp_path: Path) -> dict[str, str]:
    """The environment of a pod or job: `fetusmap` on the path, and places for volumes and results."""
    commands, volumes = tmp_path / "bin", tmp_path / "volumes"
    commands.mkdir()
    volumes.mkdir()
    command = commands / "fetusmap"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m FetusMapV2Lib.cli "$@"\n')
    command.chmod(0o755)
    for number in range(6):
        (volumes / f"case-{number}.nrrd").write_text("broken")
    return {
        **os.environ,
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "VOLUMES": str(volumes),
        "RESULTS": str(tmp_path / "results"),
    }


def cases_of(output: str) -> set[str]:
    return {line.partition(":")[0] for line in output.splitlines() if ": refused." in line}


def test_the_parts_of_a_slurm_array_are_the_batch(study) -> None:
    script = EXAMPLES / "slurm-array.sh"
    parts = []
    for number in (1, 2):
        slurm = {"SLURM_ARRAY_TASK_ID": str(number), "SLURM_ARRAY_TASK_COUNT": "2", "SLURM_ARRAY_TASK_MIN": "1"}
        done = subprocess.run(
            ["bash", str(script), "--dry-run"], env=study | slurm, capture_output=True, text=True, check=True
        )
        parts.append(int((done.stdout + done.stderr).partition(" cases:")[0].split()[-1]))
    assert sum(parts) == 6 and all(parts)


def test_the_container_of_the_kubernetes_job_runs_its_part(study) -> None:
    job = yaml.safe_load((EXAMPLES / "kubernetes-job.yaml").read_text(encoding="utf-8"))["spec"]
    (container,) = job["template"]["spec"]["containers"]
    given = {one["name"]: one["value"] for one in container["env"]}
    assert int(given["PARTS"]) == job["completions"] and {"VOLUMES", "RESULTS"} < given.keys()
    pod = study | {"PARTS": "1", "JOB_COMPLETION_INDEX": "0"}
    done = subprocess.run(container["command"], env=pod, capture_output=True, text=True, check=False)
    (rule,) = job["podFailurePolicy"]["rules"]
    assert [done.returncode] == rule["onExitCodes"]["values"], done.stderr
    assert len(cases_of(done.stdout + done.stderr)) == 6
    assert (Path(study["RESULTS"]) / "cases.1-of-1.csv").exists()


def test_the_image_is_made_by_the_script_and_runs_without_rights() -> None:
    lines = (EXAMPLES / "Dockerfile").read_text(encoding="utf-8").splitlines()
    assert any(line.startswith("RUN ") and "sh /src/examples/cluster/install.sh /src" in line for line in lines)
    assert lines.index("USER fetusmap") < lines.index('ENTRYPOINT ["fetusmap"]')
    assert "useradd" in (EXAMPLES / "install.sh").read_text(encoding="utf-8")
