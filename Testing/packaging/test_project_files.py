"""What several files of the project state is stated alike: the version, the lowest versions, the Debian packages."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from packaging.version import Version

from FetusMapV2Lib import __version__

ROOT = Path(__file__).resolve().parents[2]
PACKAGING = ROOT / "Testing" / "packaging"


def _text(*parts: str) -> str:
    return ROOT.joinpath(*parts).read_text(encoding="utf-8")


def _debian_packages() -> list[str]:
    return re.sub(r"#.*", "", _text("Testing", "packaging", "debian-packages.txt")).split()


def _extra(name: str) -> list[str]:
    """The requirements of an extra of pyproject.toml, or of the project itself ("")."""
    pattern = rf"^{name} = \[(.*?)\]$" if name else r"^dependencies = \[(.*?)^\]"
    (body,) = re.findall(pattern, _text("pyproject.toml"), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r'"([^"]+)"', body)


# ---- the version


def test_the_version_is_written_once():
    assert not re.search(r"^version\s*=", _text("pyproject.toml"), flags=re.MULTILINE)
    citation = yaml.safe_load(_text("CITATION.cff"))
    assert citation["version"] == __version__
    assert (citation["license"], citation["title"]) == ("Apache-2.0", "FetusMapV2")
    assert citation["repository-code"] in _text("CMakeLists.txt")


# ---- requirements


def test_the_lowest_versions_are_those_that_are_tested():
    stated = {}
    for requirement in [*_extra(""), *_extra("train"), *_extra("evaluate")]:
        name, lowest = re.match(r"([\w-]+)>=([\d.]+)", requirement).groups()
        stated[name] = Version(lowest)
    pinned = re.findall(r"^([\w-]+)==([\d.]+)", _text("constraints-lowest.txt"), flags=re.MULTILINE)
    tested = {name: Version(version) for name, version in pinned}
    assert {name: tested.get(name) for name in stated} == stated


def test_every_requirement_has_the_version_that_is_tested():
    pinned = {name.lower() for name in re.findall(r"^([\w.-]+)==", _text("constraints.txt"), flags=re.MULTILINE)}
    wanted = {re.match(r"[\w.-]+", one).group().lower() for name in ("", "train", "evaluate") for one in _extra(name)}
    assert wanted <= pinned


# ---- the system's packages


def test_the_readme_names_the_debian_packages():
    assert "make system-packages" in _text("README.md")
    assert " ".join(_debian_packages()) in _text("README.md")


def _packages_script(tmp_path: Path, word: str, *, have: list[str], root: bool) -> subprocess.CompletedProcess[str]:
    """The script in a system whose dpkg-query, apt-get and id are made up."""
    commands = {
        "dpkg-query": f'for one; do case " {" ".join(have)} " in *" $one "*) echo "install ok installed";; esac; done',
        "apt-get": f'echo "$@" >> "{tmp_path}/installed"',
        "id": f"echo {0 if root else 1000}",
    }
    for name, body in commands.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin"}
    script = PACKAGING / "system_packages.sh"
    return subprocess.run(["sh", script, word], env=environment, capture_output=True, text=True)


posix = pytest.mark.skipif(os.name != "posix" or shutil.which("sh") is None, reason="a script for Debian")


@posix
def test_missing_packages_are_named_in_one_line(tmp_path):
    have = [name for name in _debian_packages() if name not in ("libegl1", "libglib2.0-0")]
    done = _packages_script(tmp_path, "check", have=have, root=False)
    line = "Debian packages are missing: libegl1 libglib2.0-0. Install them with: make system-packages\n"
    assert (done.returncode, done.stderr) == (0, line)
    done = _packages_script(tmp_path, "check", have=[*have, "libegl1", "libglib2.0-0t64"], root=False)
    assert (done.returncode, done.stderr) == (0, "")


@posix
def test_missing_packages_are_installed_by_root_alone(tmp_path):
    have = _debian_packages()[:-1]
    done = _packages_script(tmp_path, "install", have=have, root=False)
    assert (
        done.returncode == 1
        and done.stderr.count("\n") == 1
        and "sudo apt-get install fonts-dejavu-core" in done.stderr
    )
    assert not (tmp_path / "installed").exists()
    assert _packages_script(tmp_path, "install", have=have, root=True).returncode == 0
    assert (tmp_path / "installed").read_text().endswith("--no-install-recommends fonts-dejavu-core\n")


# ---- continuous integration


def test_the_workflow_runs_what_the_project_has():
    jobs = yaml.safe_load(_text(".github", "workflows", "tests.yml"))["jobs"]
    assert "bash .ci/run" in [step.get("run") for step in jobs["linux"]["steps"]]
    commands = " ".join(step.get("run", "") for step in jobs["quick"]["steps"])
    assert "-m quick" in commands and "constraints.txt" in commands
    assert jobs["quick"]["strategy"]["matrix"]["os"] == ["windows-latest", "macos-latest"]
    assert "system_packages.sh install" in _text(".ci", "run")
