"""Scene files from anywhere: nothing is written outside of their folder, nothing stays, numbers have points."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from core.locales import comma_locale

from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.scene.scene_files import load_scene, open_scene, save_scene
from FetusMapV2Lib.scene.volume_nodes import add_volume_node, volume_from_node


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty scene."""
    path = tmp_path_factory.mktemp("good") / "good.mrb"
    with open_scene() as scene:
        save_scene(scene, path)
    return path


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's temporary folder, of this test alone and deep enough to be climbed out of."""
    folder = tmp_path / "a" / "b" / "temporary"
    folder.mkdir(parents=True)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def entry(name: str, mode: int = 0) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo("x")
    made.filename = made.orig_filename = name
    made.create_system, made.external_attr = 3, mode << 16
    return made


BAD_NAMES = ["../out", "a/../../out", "/out", "//host/out", "..", "..\\out", "a\\..\\..\\b", "C:\\out", "c:/b"]


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("nested", [False, True])
def test_names_that_point_elsewhere_are_refused(
    good: Path, tmp_path: Path, temporary: Path, name: str, nested: bool
) -> None:
    bad, inner = tmp_path / "bad.mrb", tmp_path / "inner.mrb"
    shutil.copyfile(good, bad)
    if nested:
        with zipfile.ZipFile(inner, "w") as archive:
            archive.writestr(entry(name), "x")
    with zipfile.ZipFile(bad, "a") as archive:
        if nested:
            archive.write(inner, "scene/Data/moving.seq.mrb")
        else:
            archive.writestr(entry(name), "x")
    before = set(tmp_path.rglob("*"))
    with pytest.raises(InputError, match="no name for a file"):
        load_scene(bad)
    assert set(tmp_path.rglob("*")) == before


def test_links_are_refused(good: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mrb"
    shutil.copyfile(good, bad)
    with zipfile.ZipFile(bad, "a") as archive:
        archive.writestr(entry("scene/link", stat.S_IFLNK | 0o777), "/etc")
    with pytest.raises(InputError, match="scene/link"):
        load_scene(bad)


def test_an_archive_that_claims_too_much_is_refused(good: Path, tmp_path: Path, temporary: Path) -> None:
    bad = tmp_path / "bomb.mrb"
    shutil.copyfile(good, bad)
    with zipfile.ZipFile(bad, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("scene/zeros", b"\0" * 2**20)
        for number in range(1100):  # the same bytes, entered again and again
            again = entry(f"scene/zeros{number}")
            one = archive.getinfo("scene/zeros")
            again.header_offset, again.compress_type, again.CRC = one.header_offset, one.compress_type, one.CRC
            again.file_size, again.compress_size = one.file_size, one.compress_size
            archive.filelist.append(again)
    with pytest.raises(InputError, match=r"claims to hold 1\.1 GiB"):
        load_scene(bad)
    assert not list(temporary.iterdir())


def test_damage_and_other_archives_are_one_line(good: Path, tmp_path: Path, temporary: Path) -> None:
    content = good.read_bytes()
    middle = content.index(b"<MRML")
    damaged = {
        "bit.mrb": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "cut.mrb": content[:-100],
        "empty.mrb": b"",
    }
    for name, data in damaged.items():
        (tmp_path / name).write_bytes(data)
    with zipfile.ZipFile(tmp_path / "xml.mrb", "w") as archive:
        archive.writestr("scene/scene.mrml", "<MRML>")
    with zipfile.ZipFile(tmp_path / "twice.mrb", "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("scene/scene.mrml", "<MRML/>")
        archive.writestr("scene/scene.mrml", "<MRML/>")
    for name in (*damaged, "xml.mrb", "twice.mrb"):
        with pytest.raises(InputError):
            load_scene(tmp_path / name)
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("name", ["12:30 100%.mrb", "back\\slash.mrb", os.fsdecode(b"M\xfcller.mrb"), "Größe 中.mrb"])
@pytest.mark.skipif(os.name == "nt", reason="names that Windows does not have")
def test_a_scene_file_may_have_any_name(good: Path, tmp_path: Path, temporary: Path, name: str) -> None:
    for path in (tmp_path / name, tmp_path / f"in {name}" / "case.mrb"):
        with open_scene() as scene:
            scene.AddNewNodeByClass("vtkMRMLModelNode", "known")
            save_scene(scene, path)
        with open_scene(path) as loaded:
            assert loaded.GetFirstNodeByName("known") is not None
    assert not list(temporary.iterdir())


def test_volumes_whose_names_share_a_file_name_keep_their_voxels(scene: Any, tmp_path: Path) -> None:
    names = ["a/1", "b/1", "a\\1", "1", "1"]
    for number, name in enumerate(names):
        add_volume_node(scene, Volume(np.full((2, 2, 2), number, np.uint8), np.eye(4)), name="x").SetName(name)
    save_scene(scene, tmp_path / "five.mrb")
    with open_scene(tmp_path / "five.mrb") as loaded:
        found = [loaded.GetNthNodeByClass(index, "vtkMRMLScalarVolumeNode") for index in range(5)]
        assert [(node.GetName(), int(volume_from_node(node).array.max())) for node in found] == [
            (name, number) for number, name in enumerate(names)
        ]


_COMMA = """
import locale, sys
import numpy as np
from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.imaging.volume import Volume
from FetusMapV2Lib.scene.scene_files import open_scene
from FetusMapV2Lib.scene.scene_writing import write_pose_scene
from FetusMapV2Lib.scene.pose_scene import PoseScene
from FetusMapV2Lib.scene.volume_nodes import volume_from_node
locale.setlocale(locale.LC_ALL, "")
assert locale.localeconv()["decimal_point"] == ","
volume = Volume(np.ones((3, 3, 3), np.uint8), np.diag([0.5, 0.5, 0.5, 1]))
write_pose_scene(sys.argv[1], volume, Pose(np.full((22, 3), 1.25)))
with open_scene(sys.argv[1]) as loaded:
    (fetus,) = PoseScene.attach_all(loaded, default_schema())
    print(volume_from_node(fetus.volume_node).ijk_to_ras[0, 0], fetus.pose().positions[3].tolist())
assert locale.localeconv()["decimal_point"] == ","
"""


def test_a_decimal_comma_changes_nothing(tmp_path: Path) -> None:
    comma = comma_locale(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", _COMMA, str(tmp_path / "comma.mrb")],
        env={**os.environ, **comma},
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines()[-1:] == ["0.5 [1.25, 1.25, 1.25]"], done.stderr
    with zipfile.ZipFile(tmp_path / "comma.mrb") as bundle:
        (header,) = [bundle.read(name)[:400] for name in bundle.namelist() if name.endswith(".nrrd")]
    assert b"0,5" not in header and b"0.5" in header
