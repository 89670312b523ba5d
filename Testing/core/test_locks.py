"""Lock files: one owner at a time, the dead have no say, and who owns what is read off the file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from FetusMapV2Lib.core import locks
from FetusMapV2Lib.core.errors import OutputError
from FetusMapV2Lib.core.locks import LockedError, locked
from FetusMapV2Lib.core.process_identity import ProcessIdentity


@pytest.fixture(scope="module")
def ended() -> ProcessIdentity:
    """A process of this computer that is no more."""
    code = "import json; from FetusMapV2Lib.core.process_identity import ProcessIdentity\n"
    code += "print(json.dumps(ProcessIdentity.current().to_dict()))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    owner = ProcessIdentity.from_dict(json.loads(said))
    assert owner is not None
    return owner


def test_a_process_is_known_to_live_or_to_be_gone(ended: ProcessIdentity) -> None:
    mine = ProcessIdentity.current()
    assert mine.is_on_this_computer and not mine.has_ended
    assert ended.is_on_this_computer and ended.has_ended
    assert ProcessIdentity(mine.host, mine.pid, "another time").has_ended == bool(mine.started)
    assert not ProcessIdentity("elsewhere", ended.pid).has_ended
    assert ProcessIdentity.from_dict(json.loads(json.dumps(mine.to_dict()))) == mine
    assert str(os.getpid()) in str(mine)


@pytest.mark.parametrize("data", [None, [], {}, {"host": "a", "pid": "1"}, {"host": 1, "pid": 1},
                                  {"host": "a", "pid": 10**400}, {"host": "a", "pid": True}])  # fmt: skip
def test_what_is_no_owner_is_none(data: object) -> None:
    assert ProcessIdentity.from_dict(data) is None


@pytest.mark.skipif(os.name != "posix", reason="zombies of POSIX")
def test_a_process_that_nobody_has_asked_after_is_gone_too() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.read()  # it has ended, or is about to
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert ProcessIdentity(ProcessIdentity.current().host, child.pid).has_ended
    child.wait()
    child.stdout.close()


def test_a_lock_is_held_by_one_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "Ordner ü" / "run.lock"
    with locked(path, "this folder"):
        said = f"this folder is in use by process {os.getpid()}"
        with pytest.raises(LockedError, match=said) as refused, locked(path, "this folder"):
            pass
        assert "\n" not in str(refused.value)
        assert path.exists()
    assert list(path.parent.iterdir()) == []
    with locked(path, "this folder"):
        pass


def test_a_lock_is_given_back_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "lock", "it"):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "{", "[1]", "9" * 5000, "[" * 3000])
def test_a_lock_that_says_nothing_is_held_until_it_is_old(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lock"
    path.write_text(text)
    with pytest.raises(LockedError), locked(path, "it"):
        pass
    os.utime(path, (1, 1))
    with locked(path, "it"):
        pass


def test_the_lock_of_a_dead_owner_is_taken_over(tmp_path: Path, ended: ProcessIdentity) -> None:
    path = tmp_path / "lock"
    path.write_text(json.dumps(ended.to_dict()))
    with locked(path, "it"):
        assert json.loads(path.read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_another_computers_lock_holds_as_long_as_it_is_touched(tmp_path: Path, ended: ProcessIdentity) -> None:
    path = tmp_path / "lock"
    path.write_text(json.dumps(ProcessIdentity("elsewhere", ended.pid).to_dict()))
    with pytest.raises(LockedError, match="elsewhere"), locked(path, "it"):
        pass
    os.utime(path, (1, 1))
    with locked(path, "it"):
        pass


def test_a_living_owner_touches_its_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_TOUCH_S", 0.001)
    path, touched = tmp_path / "lock", threading.Event()
    monkeypatch.setattr(os, "utime", lambda where, *_: touched.set() if where == path else None)
    with locked(path, "it"):
        assert touched.wait(10.0)


def test_many_who_find_a_dead_lock_work_one_after_the_other(tmp_path: Path, ended: ProcessIdentity) -> None:
    path, count = tmp_path / "lock", tmp_path / "count"
    path.write_text(json.dumps(ended.to_dict()))
    count.write_text("0")

    def work() -> None:
        for _ in range(5):
            with locked(path, "it", wait_s=60.0):
                count.write_text(str(int(count.read_text()) + 1))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count.read_text() == "30"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["count"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="a folder that cannot be written")
def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="permission"), locked(tmp_path / "lock", "it"):
        pass
