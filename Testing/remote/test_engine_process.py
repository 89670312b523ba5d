"""The process of the engine, of any quality: whatever it does or leaves undone has an end, and costs one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
from remote.processes import SOON_S, is_alive, posix, script, wait_until
from training.toy_cases import BODY

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.estimation.requests import EstimateRequest
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.remote import messages
from FetusMapV2Lib.remote.client import RemoteEngine
from FetusMapV2Lib.remote.engine_process import EngineLostError, EngineProcess

GREY = EstimateRequest(Volume(np.zeros((4, 5, 6), np.uint8), np.eye(4)))


@posix
def test_it_ends_when_its_owner_is_killed():
    code = (
        "import sys, time; from FetusMapV2Lib.remote.engine_process import EngineProcess\n"
        "process = EngineProcess(sys.executable, 600)\n"
        "while process._next() is None: time.sleep(0.02)\n"  # it is ready
        "print(process.pid, flush=True); time.sleep(60)"
    )
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    assert is_alive(pid)
    owner.kill()
    owner.wait()
    assert wait_until(lambda: not is_alive(pid))


@posix
@pytest.mark.parametrize(
    "code,words",
    [
        ("print('Segmentation fault :-)', flush=True); time.sleep(60)", "unreadable"),
        ("sys.stderr.write('no space left'); sys.exit(3)", "ended with code 3 \\(no space left\\)"),
        ("sys.stdout.close(); os.close(1); time.sleep(60)", "closed its output"),
    ],
)
def test_garbage_is_one_sentence(tmp_path, code, words):
    remote = RemoteEngine(None, "cpu", python=script(tmp_path, f"import os, sys, time\n{code}"))
    with pytest.raises(EngineLostError, match=words) as lost:
        remote.submit(GREY).result()
    assert "\n" not in str(lost.value)
    assert remote.pid is None


ALIVE = messages.encoded(messages.Heartbeat())
PROGRESS = messages.encoded(messages.Progress(1, 0.1, "looking"))


@posix
@pytest.mark.parametrize(
    ("code", "words"),
    [
        (f"while True: print('{ALIVE}', flush=True); time.sleep(0.01)", "makes no progress"),
        (f"while True: print('{PROGRESS}', flush=True); time.sleep(0.01)", "makes no progress"),
        (f"while True: sys.stderr.write('x' * 70 + chr(10)); print('{ALIVE}', flush=True); time.sleep(0.001)",
         "makes no progress"),
        (f"while True: os.write(1, b'{ALIVE}' * 100 + bytes([10]))", "unreadable"),
        (f"while True: os.write(1, b'{ALIVE}' + bytes([10]))", "messages without end"),
        ("while True: os.write(1, b'x' * 2**16)", "a line without end"),
        ("while True: os.write(1, b'{'); time.sleep(0.1)", "does not answer"),
        ("while True: os.write(2, b'x' * 2**16)", "does not answer"),
        ("os.write(1, bytes([255, 254, 10])); time.sleep(60)", "unreadable"),
        ("print('{\"version\":3,\"id\":1,\"event\":\"result\"}', flush=True)", "unreadable|ended"),
        ("print('{\"version\":3,\"id\":1,\"event\":\"progress\",\"fraction\":\"x\",\"stage\":1}', flush=True); "
         "time.sleep(60)", "unreadable"),
        ("print('{\"version\":3,\"event\":\"error\"}', flush=True); time.sleep(60)", "unreadable"),
        ("os.close(0); os.close(1); os.close(2); time.sleep(60)", "closed its output"),
    ],
)  # fmt: skip
def test_a_faulty_process_has_an_end(tmp_path, code, words, capsys):
    remote = RemoteEngine(
        None,
        "cpu",
        python=script(tmp_path, f"import os, sys, time\n{code}"),
        hung_s=0.5 if words == "does not answer" else SOON_S,
        stalled_s=0.5 if words == "makes no progress" else SOON_S,
    )
    with pytest.raises(EngineLostError, match=words) as lost:
        remote.submit(GREY).result()
    assert "\n" not in str(lost.value)
    assert remote.pid is None
    assert capsys.readouterr().err.count("\n") <= 2000
    assert not [thread for thread in threading.enumerate() if "_read_lines" in thread.name or "_write" in thread.name]


@posix
def test_a_request_that_nobody_reads_does_not_block(tmp_path):
    """It is larger than what a pipe holds."""
    warnings = tuple("x" * 1000 for _ in range(300))
    remote = RemoteEngine(None, python=script(tmp_path, "import time\ntime.sleep(60)"), hung_s=0.5)
    with pytest.raises(EngineLostError, match="does not answer"):
        remote.submit(replace(GREY, before=replace(Estimate.given(Pose(BODY)), warnings=warnings))).result()
    assert remote.pid is None


def test_no_module_of_the_current_folder_is_run(tmp_path, monkeypatch):
    for name in ("queue", "json", "numpy", "FetusMapV2Lib", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write('{name}')\nraise ImportError")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep)  # empty entries mean the current folder
    process = EngineProcess(sys.executable, 600)
    try:
        seen = []
        assert wait_until(lambda: seen.append(process._next()) or seen[-1] is not None)
        assert isinstance(seen[-1], messages.Ready)
    finally:
        process.end()
    assert not (tmp_path / "ran").exists()


def test_no_interpreter(tmp_path):
    with pytest.raises(UserError, match="cannot be started"):
        RemoteEngine(python=tmp_path / "python").submit(GREY).result()


def test_no_torch(tmp_path, monkeypatch):
    (tmp_path / "torch.py").write_text("raise ImportError('No module named torch')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with RemoteEngine() as remote, pytest.raises(UserError, match=r"cannot start .*torch"):
        remote.submit(GREY).result()
