"""`fetusmap serve`: what is refused before anything is served, and that Ctrl-C ends it. The page: Testing/serving."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("trame", reason="needs trame (extra serve)")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--host", "0.0.0.0"], "--host 0.0.0.0: other computers could open the page without a token"),
        (["--host", "0.0.0.0", "--token", "short"], "Give --token with at least 12 characters"),
        (["--host", "0.0.0.0", "--pacs", "PACS@archive:104"], "other computers could open the page without a token"),
        (["--pacs", "PACS@archive:104", "--dicomweb", "http://archive"], "where to send is not clear"),
        (["--pacs", "archive"], "it is no address of a PACS"),
        (["lost.nrrd"], "lost.nrrd: no such file or folder"),
        (["."], "no volume is in this folder"),
        (["--memory-budget", "8"], "names no unit of memory"),
    ],
)
def test_mistakes_are_one_line(fetusmap, tmp_path: Path, monkeypatch, arguments, problem) -> None:
    monkeypatch.chdir(tmp_path)
    answer = fetusmap("serve", *arguments)
    assert answer.code == 2 and len(answer.errors()) == 1 and problem in answer.errors()[0]
    assert not list(tmp_path.iterdir())


def test_without_trame_one_line_says_how_to_get_it(fetusmap, monkeypatch) -> None:
    from FetusMapV2Lib.core import packages

    found = packages.find_spec
    monkeypatch.setattr(packages, "find_spec", lambda name: None if name == "trame" else found(name))
    answer = fetusmap("serve")
    assert answer.code == 2
    assert 'pip install ".[serve]"' in answer.errors()[0]


@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to a process alone")
def test_it_answers_on_this_computer_and_ends_with_ctrl_c() -> None:
    command = [sys.executable, "-m", "FetusMapV2Lib.cli", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        address = re.search(r"http://127\.0\.0\.1:\d+/", server.stdout.readline())[0]
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(address)
        server.send_signal(signal.SIGINT)
        _, errors = server.communicate(timeout=60)
    assert server.returncode == 130 and "Traceback" not in errors and "Stopped" in errors


def test_the_command_line_loads_trame_for_this_command_alone() -> None:
    code = (
        "import sys, FetusMapV2Lib.cli.app; print(sorted({'trame', 'aiohttp', 'slicer', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "[]", done.stderr
