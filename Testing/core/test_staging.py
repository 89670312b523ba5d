"""Temporary folders of processes that have died are swept away, those of the living stay."""

from __future__ import annotations

import json
import os
import signal
import stat
import tempfile
import time
from pathlib import Path

import pytest

from FetusMapV2Lib.core import atomic_files, staging
from FetusMapV2Lib.core.atomic_files import write_text
from FetusMapV2Lib.core.process_identity import ProcessIdentity
from FetusMapV2Lib.core.staging import STAGING, owned_folder, remove_abandoned

posix = pytest.mark.skipif(os.name == "nt", reason="needs fork")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def left_by_a_killed_process(parent: Path | None, prefix: str) -> None:
    child = os.fork()
    if not child:
        with owned_folder(parent, prefix) as folder:
            (folder / "volume.npy").write_bytes(b"voxels of a patient")
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


def test_a_folder_is_private_and_goes_with_its_note(tmp_path):
    with owned_folder(tmp_path) as folder:
        assert len(names(tmp_path)) == 2 and not names(folder)
        assert os.name == "nt" or stat.S_IMODE(folder.stat().st_mode) == 0o700
        remove_abandoned(tmp_path, unknown_after_s=0)
        assert folder.is_dir()
        (folder / "a").write_bytes(b"")
    assert names(tmp_path) == []


@posix
def test_what_a_killed_process_left_is_swept_at_the_next_start(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left_by_a_killed_process(None, staging.TEMPORARY)
    assert len(names(tmp_path)) == 2
    with owned_folder() as own:
        assert names(tmp_path) == [own.name, f"{own.name}.owner"]


@posix
def test_what_a_killed_process_was_writing_is_swept_at_the_next_write(tmp_path):
    left_by_a_killed_process(tmp_path, STAGING)
    (tmp_path / f"{STAGING}old").mkdir()  # of a version that left no notes
    (tmp_path / f"{STAGING}old" / "a.csv").write_text("half", encoding="utf-8")
    atomic_files._cleaned.discard(tmp_path)
    write_text(tmp_path / "a.txt", "whole")
    assert names(tmp_path) == ["a.txt"]


def note(folder: Path, text: str, age_s: float = 0.0) -> None:
    folder.mkdir()
    path = folder.with_name(f"{folder.name}.owner")
    path.write_text(text, encoding="utf-8")
    os.utime(path, times=(time.time() - age_s,) * 2)


def test_only_what_has_surely_lost_its_owner_goes(tmp_path):
    elsewhere = {"host": "another computer", "pid": 1, "started": ""}
    here = ProcessIdentity.current()
    again = ProcessIdentity(here.host, here.pid, "long ago").to_dict()
    note(tmp_path / "fetusmap-living", json.dumps(here.to_dict()))
    note(tmp_path / "fetusmap-elsewhere", json.dumps(elsewhere))
    note(tmp_path / "fetusmap-elsewhere-long-ago", json.dumps(elsewhere), age_s=2 * 86400)
    note(tmp_path / "fetusmap-about-to-be-written", "")
    note(tmp_path / "fetusmap-damaged", "{", age_s=60)
    note(tmp_path / "fetusmap-number-given-again", json.dumps(again))
    (tmp_path / "fetusmap-no-note").mkdir()
    (tmp_path / "another-program").mkdir()
    (tmp_path / "fetusmap-orphan.owner").write_text("{", encoding="utf-8")
    os.utime(tmp_path / "fetusmap-orphan.owner", times=(0, 0))
    remove_abandoned(tmp_path)
    stay = ["fetusmap-about-to-be-written", "fetusmap-elsewhere", "fetusmap-living"]
    if here.started:
        assert not (tmp_path / "fetusmap-number-given-again").exists()
    else:
        stay.append("fetusmap-number-given-again")
    assert names(tmp_path) == sorted(
        [*stay, *(f"{name}.owner" for name in stay), "fetusmap-no-note", "another-program"]
    )


def test_a_link_in_the_place_of_a_folder_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_bytes(b"")
    try:
        (tmp_path / "fetusmap-link").symlink_to(tmp_path / "mine", target_is_directory=True)
    except OSError:
        pytest.skip("links are not allowed here")
    remove_abandoned(tmp_path, unknown_after_s=0)
    assert (tmp_path / "mine" / "file").exists() and (tmp_path / "fetusmap-link").is_symlink()
