"""The files of a case come together: who dies on the way leaves the old case, the new one, or one that says so."""

from __future__ import annotations

import errno
import os
import signal
import stat
from pathlib import Path

import pytest

from FetusMapV2Lib.core import atomic_files, publishing
from FetusMapV2Lib.core.errors import OutputError
from FetusMapV2Lib.core.manifests import manifest_path, read_manifest
from FetusMapV2Lib.core.publishing import ensure_replaceable, finish_interrupted, is_complete, published

OLD = {"a.csv": "old csv", "a.json": "old json", "a.mrb": "old scene"}
NEW = {"a.csv": "new csv", "a.json": "new json", "a.png": "new picture"}
posix = pytest.mark.skipif(os.name == "nt", reason="needs fork and modes")


def publish(folder: Path, content: dict[str, str], *, fail: Exception | None = None, **options) -> None:
    with published(folder, "a", expected=tuple(content), **options) as staging:
        for name, text in content.items():
            (staging / name).write_text(text, encoding="utf-8")
        if fail is not None:
            raise fail


def seen(folder: Path) -> dict[str, str]:
    """What a user sees: the files that are not hidden."""
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir() if path.name[0] != "."}


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name[0] == ".")


def as_a_new_process() -> None:
    publishing._finished.clear()
    atomic_files._cleaned.clear()


@pytest.fixture(autouse=True)
def _fresh_process():
    as_a_new_process()


def test_files_come_together_with_a_manifest_and_replace_the_earlier_ones(tmp_path):
    folder = tmp_path / "neu" / "Fälle"
    publish(folder, OLD)
    assert seen(folder) == OLD and hidden(folder) == [".fetusmap"]
    assert is_complete(folder, "a", OLD) and not is_complete(folder, "a", [*OLD, "a.png"])
    publish(folder, NEW, overwrite=True)
    assert seen(folder) == NEW  # the old scene does not stay beside the new estimate
    assert [path.name for path in (folder / ".fetusmap").iterdir()] == ["a.json"]


def test_a_complete_case_is_kept_unless_told(tmp_path):
    publish(tmp_path, OLD)
    with pytest.raises(OutputError, match=r"a\.csv: the output exists already.*--overwrite"):
        publish(tmp_path, NEW)
    assert seen(tmp_path) == OLD and hidden(tmp_path) == [".fetusmap"]


def test_files_of_nobody_known_are_kept_unless_told(tmp_path):
    (tmp_path / "a.csv").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="exists already"):
        publish(tmp_path, NEW)
    assert seen(tmp_path) == {"a.csv": "mine"} and hidden(tmp_path) == []
    assert not is_complete(tmp_path, "a", ["a.csv"])
    publish(tmp_path, NEW, overwrite=True)
    assert seen(tmp_path) == NEW


def test_a_case_that_lost_a_file_is_made_again_but_work_in_it_is_kept(tmp_path):
    publish(tmp_path, OLD)
    (tmp_path / "a.json").unlink()
    assert not is_complete(tmp_path, "a", OLD)
    publish(tmp_path, OLD)
    assert seen(tmp_path) == OLD
    (tmp_path / "a.json").write_bytes(b"")  # nothing is in it that could be lost
    publish(tmp_path, OLD)
    assert seen(tmp_path) == OLD
    (tmp_path / "a.json").unlink()
    (tmp_path / "a.csv").write_text("corrected by hand", encoding="utf-8")
    with pytest.raises(OutputError, match=r"a\.csv: .*changed since"):
        publish(tmp_path, OLD)
    assert seen(tmp_path)["a.csv"] == "corrected by hand"


def test_a_file_that_was_changed_and_is_not_asked_for_stays(tmp_path):
    publish(tmp_path, OLD)
    (tmp_path / "a.mrb").write_text("my scene", encoding="utf-8")
    publish(tmp_path, NEW, overwrite=True)
    assert seen(tmp_path) == {**NEW, "a.mrb": "my scene"}


def test_what_there_is_nothing_to_write_for_goes_and_is_not_missed(tmp_path):
    publish(tmp_path, OLD)
    with published(tmp_path, "a", expected=tuple(OLD), overwrite=True) as staging:
        (staging / "a.json").write_text("no fetus", encoding="utf-8")
    assert seen(tmp_path) == {"a.json": "no fetus"}
    assert is_complete(tmp_path, "a", OLD)


@pytest.mark.parametrize("fail", [OSError(errno.ENOSPC, "full"), RuntimeError("writer")])
def test_a_writer_that_fails_leaves_everything_as_it_was(tmp_path, fail):
    publish(tmp_path, OLD)
    with pytest.raises((OutputError, RuntimeError)) as caught:
        publish(tmp_path, NEW, overwrite=True, fail=fail)
    if isinstance(fail, OSError):
        assert str(caught.value).startswith(f"{tmp_path}: the disk is full")
    assert seen(tmp_path) == OLD and hidden(tmp_path) == [".fetusmap"] and is_complete(tmp_path, "a", OLD)


@pytest.mark.parametrize("step", range(7))
def test_a_file_that_cannot_be_moved_leaves_everything_as_it_was(tmp_path, monkeypatch, step):
    """As when a spreadsheet has the old table open, on Windows."""
    publish(tmp_path, OLD)
    calls = iter(range(100))
    real = publishing.move

    def move(source, target):
        if next(calls) == step:
            raise PermissionError(errno.EACCES, "open elsewhere")
        real(source, target)

    monkeypatch.setattr(publishing, "move", move)
    if step == 6:  # three old files out, three new ones in: nothing is left to fail
        publish(tmp_path, NEW, overwrite=True)
        assert seen(tmp_path) == NEW
        return
    with pytest.raises(OutputError, match="no permission"):
        publish(tmp_path, NEW, overwrite=True)
    assert seen(tmp_path) == OLD and is_complete(tmp_path, "a", OLD) and hidden(tmp_path) == [".fetusmap"]


_STEPS = ("replace", "rename", "unlink", "rmdir", "mkdir", "fsync", "chmod", "open")


def killed_at(step: int, folder: Path, content: dict[str, str], **options) -> bool:
    """Publish in a process that is killed before its `step`-th change of the disk; false if it had fewer."""
    child = os.fork()
    if not child:
        left = iter(range(step))

        def counted(real):
            def call(*arguments, **keywords):
                if next(left, None) is None:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments, **keywords)

            return call

        for name in _STEPS:
            setattr(os, name, counted(getattr(os, name)))
        try:
            publish(folder, content, **options)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@posix
@pytest.mark.parametrize(("before", "stride"), [({}, 3), (OLD, 1)], ids=["a new case", "over an old case"])
def test_a_process_killed_at_any_step_leaves_the_old_case_the_new_one_or_one_that_says_so(tmp_path, before, stride):
    told, step, killed = set(), 0, True
    while killed:
        folder = tmp_path / str(step)
        folder.mkdir()
        if before:
            publish(folder, before)
        killed = killed_at(step, folder, NEW, overwrite=True)
        manifest, now = read_manifest(folder, "a"), seen(folder)
        whole = manifest is None or manifest.is_complete(folder)
        told.add((whole, now == before, now == NEW))
        assert now in (before, NEW) if whole else manifest.staging
        # the next process, without a flag: the old case is kept, any other one is made whole
        as_a_new_process()
        finished = finish_interrupted(folder)
        assert (not finished and seen(folder) in (before, NEW)) or (finished == {"a"} and seen(folder) == NEW)
        assert hidden(folder) in ([], [".fetusmap"])
        assert read_manifest(folder, "a") is None or is_complete(folder, "a", [])
        if before and seen(folder) == before:
            with pytest.raises(OutputError, match="exists already"):
                publish(folder, NEW)
        elif finished or not seen(folder):
            publish(folder, NEW)
            assert seen(folder) == NEW
        assert {path.name for path in (folder / ".fetusmap").glob("[!.]*")} <= {"a.json"}
        step += stride
    assert step > 20
    assert {(True, True, False), (False, False, False), (True, False, True)} <= told


def test_a_disk_that_fails_for_good_on_the_way_loses_nothing_either(tmp_path, monkeypatch):
    """Neither can the files move on, nor back; the same process tries again once the disk is well."""
    replace, step, failed = os.replace, 0, True
    while failed:
        folder = tmp_path / str(step)
        publish(folder, OLD)
        calls = iter(range(step))

        def gone(source, target, calls=calls):
            if next(calls, None) is None:
                raise OSError(errno.EIO, "Input/output error")
            replace(source, target)

        monkeypatch.setattr(os, "replace", gone)
        try:
            publish(folder, NEW, overwrite=True)
            failed = False
        except OutputError:
            everything = {path.read_text(encoding="utf-8") for path in folder.rglob("a.*") if path.is_file()}
            assert set(OLD.values()) <= everything or seen(folder) == NEW  # wherever they lie
        monkeypatch.setattr(os, "replace", replace)
        manifest = read_manifest(folder, "a")
        if failed and not manifest.staging:
            assert seen(folder) == OLD and manifest.is_complete(folder)
        elif failed:
            publish(folder, NEW)
        assert (failed and not manifest.staging) or seen(folder) == NEW
        step += 1
    assert step > 6


@posix
def test_a_cut_publication_whose_files_are_gone_is_partial_and_made_again_without_a_flag(tmp_path):
    step = 0
    while True:  # to the first kill at which files were moving
        folder = tmp_path / str(step)
        assert killed_at(step, folder, NEW)
        manifest = read_manifest(folder, "a")
        if manifest is not None and manifest.staging and 0 < len(seen(folder)) < len(NEW):
            break
        step += 1
    for path in (folder / manifest.staging / "new").iterdir():
        path.unlink()
    as_a_new_process()
    assert not is_complete(folder, "a", NEW) and not finish_interrupted(folder)
    publish(folder, NEW)
    assert seen(folder) == NEW and is_complete(folder, "a", NEW)


def test_what_a_living_process_is_writing_is_left_alone(tmp_path):
    with published(tmp_path, "b") as staging:
        (staging / "b.json").write_text("b", encoding="utf-8")
        as_a_new_process()
        publish(tmp_path, NEW)
        assert (staging / "b.json").exists()
    assert seen(tmp_path) == {**NEW, "b.json": "b"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"files": []}',
        '{"files": {"../a": {"size": 1, "sha256": ""}}}',
        '{"files": {}, "staging": "../elsewhere"}',
        '{"files": {}, "staging": "documents"}',
        '{"files": {}, "removed": ["/etc/passwd"]}',
        '{"files": {}, "removed": [3], "staging": ".writing-1"}',
        '{"files": {"a.csv": {"size": "1"}}}',
    ],
)
def test_a_manifest_that_anybody_wrote_moves_and_removes_nothing(tmp_path, text):
    for name in OLD:
        (tmp_path / name).write_text("mine", encoding="utf-8")
    manifest_path(tmp_path, "a").parent.mkdir()
    manifest_path(tmp_path, "a").write_text(text, encoding="utf-8")
    finish_interrupted(tmp_path)
    with pytest.raises(OutputError, match="exists already"):
        publish(tmp_path, OLD)
    assert seen(tmp_path) == dict.fromkeys(OLD, "mine")


@posix
def test_files_and_new_folders_are_private_unless_told(tmp_path):
    publish(tmp_path / "x" / "y", OLD)
    publish(tmp_path / "open", OLD, private=False)

    def mode(path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)

    assert {mode(tmp_path / "x"), mode(tmp_path / "x" / "y")} == {0o700}
    assert {mode(tmp_path / "x" / "y" / name) for name in OLD} == {0o600}
    usual = 0o777 & ~(mask := os.umask(0o022))
    os.umask(mask)
    assert mode(tmp_path / "open") == usual
    assert {mode(tmp_path / "open" / name) for name in OLD} == {usual & 0o666}


@posix
def test_a_folder_that_was_there_keeps_its_rights(tmp_path):
    tmp_path.chmod(0o750)
    publish(tmp_path, OLD)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o750
    assert stat.S_IMODE((tmp_path / ".fetusmap").stat().st_mode) == 0o750


def test_a_folder_in_the_place_of_a_file_is_one_line(tmp_path):
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(OutputError, match=r"a\.csv: this is a folder"):
        publish(tmp_path, NEW, overwrite=True)
    assert hidden(tmp_path) == []


def test_within_a_publication_files_of_another_are_part_of_it(tmp_path):
    with published(tmp_path, "all") as staging:
        publish(staging, NEW)
    assert seen(tmp_path) == NEW and [path.name for path in (tmp_path / ".fetusmap").iterdir()] == ["all.json"]


def test_a_manifest_lists_sizes_and_checksums(tmp_path):
    publish(tmp_path, {"a.csv": "x"}, source="sha")
    manifest = read_manifest(tmp_path, "a")
    assert manifest.source == "sha" and manifest.files["a.csv"].size == 1
    assert manifest.files["a.csv"].sha256 == "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"


def test_checking_does_not_make_a_folder(tmp_path):
    ensure_replaceable(tmp_path / "none", "a", NEW, overwrite=False)
    assert not is_complete(tmp_path / "none", "a", NEW)
    assert not list(tmp_path.iterdir())
