"""`fetusmap simulate`: the same seed gives the same files, sequences can be read back, bad wishes are refused."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from core.folders import visible

from FetusMapV2Lib.imaging.markups import read_markups
from FetusMapV2Lib.imaging.reading import read_sequence, read_volume
from FetusMapV2Lib.phantom import motion, simulated_case
from FetusMapV2Lib.phantom.motion import simulate_sequence
from FetusMapV2Lib.phantom.simulated_case import SimulatedCase

#: Coarse and large enough for any fetus of 10-15 weeks.
SMALL = ("--size", "56,40,40", "--spacing", "2.5", "--device", "cpu")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in visible(folder)}


@pytest.fixture(scope="module")
def moving() -> list[SimulatedCase]:
    return simulate_sequence(5, 0, 2, shape_kji=(56, 40, 40), spacing_mm=2.5)


@pytest.fixture
def already_simulated(moving: list[SimulatedCase], monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what becomes of a case: one that is at hand, in no time."""
    monkeypatch.setattr(simulated_case, "simulate_case", lambda *_, **__: moving[0])
    monkeypatch.setattr(motion, "simulate_sequence", lambda *_, **__: moving)


def test_the_same_seed_gives_the_same_files(fetusmap, tmp_path: Path) -> None:
    assert fetusmap("simulate", tmp_path / "a", "--count", 2, "--seed", 7, *SMALL).code == 0
    assert fetusmap("simulate", tmp_path / "b", "--start", 1, "--seed", 7, *SMALL).code == 0
    first, again = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert list(first) == [f"case-{n:04d}{s}" for n in (0, 1) for s in (".json", ".mrk.json", ".nrrd")]
    assert again == {name: data for name, data in first.items() if name.startswith("case-0001")}
    assert first["case-0000.nrrd"] != first["case-0001.nrrd"]


def test_a_case_is_a_volume_its_landmarks_and_the_truth(fetusmap, tmp_path: Path) -> None:
    answer = fetusmap("simulate", tmp_path, "--start", 3, "--seed", 1, *SMALL)
    assert answer.code == 0 and "1 case(s)" in answer.err
    volume = read_volume(tmp_path / "case-0003.nrrd")
    assert volume.shape == (56, 40, 40)
    assert volume.spacing == pytest.approx((2.5, 2.5, 2.5))
    positions = read_markups(tmp_path / "case-0003.mrk.json").positions
    index = positions @ volume.ras_to_ijk[:3, :3].T + volume.ras_to_ijk[:3, 3]
    assert ((index > -0.5) & (index < np.array(volume.shape[::-1]) - 0.5)).all()
    truth = json.loads((tmp_path / "case-0003.json").read_text(encoding="utf-8"))
    assert truth["crl_mm"] == pytest.approx(np.linalg.norm(positions[0] - positions[9]), rel=0.1)
    assert (truth["seed"], truth["index"]) == (1, 3)
    markup = json.loads((tmp_path / "case-0003.mrk.json").read_text(encoding="utf-8"))["markups"][0]
    assert markup["coordinateSystem"] == "RAS"


def test_cases_without_a_fetus(fetusmap, tmp_path: Path) -> None:
    assert fetusmap("simulate", tmp_path, "--start", 1, "--empty", 2, *SMALL).code == 0
    assert json.loads((tmp_path / "case-0001.json").read_text(encoding="utf-8"))["fetus_present"] is False
    assert not read_markups(tmp_path / "case-0001.mrk.json").present.any()


def test_negatives_take_turns_and_other_scenes_come_in_their_cases(fetusmap, monkeypatch, moving, tmp_path) -> None:
    asked = []

    def case(*_, **options):
        asked.append(options["scene"])
        return moving[0]

    monkeypatch.setattr(simulated_case, "simulate_case", case)
    others = ("--twins", 4, "--partial", 5, "--clinging", 7)
    options = ("--count", 12, "--empty", 3, "--negatives", "any", *others, "--annotated")
    assert fetusmap("simulate", tmp_path, *options, "--anatomy", "2026-1", *SMALL).code == 0
    assert [scene.shows for scene in asked] == [
        "fetus", "fetus", "empty", "twins", "partial", "head", "clinging", "twins", "organs", "partial", "fetus",
        "spine",
    ]  # fmt: skip
    assert {(scene.anatomy, scene.annotated) for scene in asked} == {("2026-1", True)}


def test_a_sequence_can_be_read_back(fetusmap, tmp_path: Path) -> None:
    assert fetusmap("simulate", tmp_path, "--sequence", 2, "--seed", 2, *SMALL).code == 0
    frames = read_sequence(tmp_path / "case-0000.seq.nrrd")
    assert len(frames) == 2
    assert frames[0].shape == (56, 40, 40)
    assert not np.array_equal(frames[0].array, frames[1].array)
    poses = [read_markups(tmp_path / f"{frame.name}.mrk.json").positions for frame in frames]
    moved = np.linalg.norm(poses[1] - poses[0], axis=1)
    assert 0 < moved.max() < 60
    assert [path.name for path in visible(tmp_path)] == [
        "case-0000.json", "case-0000.seq.nrrd", *(f"case-0000_000{n}.mrk.json" for n in range(2)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "options, clue",
    [
        (("--size", "460"), "three whole numbers"),
        (("--size", "460,313,x"), "three whole numbers"),
        (("--size", "1,2,3,4"), "three whole numbers"),
        (("--size", "460,313,8"), "16 voxels"),
        (("--size=-64,64,64",), "16 voxels"),
        (("--size", "16,16,16"), "does not fit"),
        (("--spacing", "0"), "--spacing"),
        (("--spacing=-0.3",), "--spacing"),
        (("--spacing", "nan"), "--spacing"),
        (("--styles", "D"), "no vendor style"),
        (("--device", "tpu"), "unknown device"),
        (("--anatomy", "1999"), "no anatomy"),
        (("--negatives", "cats"), "no scene"),
        (("--negatives", "twins"), "shows a fetus"),
        (("--renderer", "paint"), "no renderer"),
        (("--sequence", "2", "--twins", "1"), "whole fetus"),
    ],
)
def test_bad_wishes(fetusmap, tmp_path: Path, options, clue: str) -> None:
    answer = fetusmap("simulate", tmp_path / "out", *options)
    assert answer.code == 2
    assert answer.err.count("\n") == 1, answer.err
    assert len(answer.errors()) == 1 and clue in answer.err
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("options", [("--seed", "-1"), ("--count", "0"), ("--start", "-2"), ("--sequence", "-1")])
def test_numbers_out_of_range_are_wrong_usage(fetusmap, tmp_path: Path, options) -> None:
    answer = fetusmap("simulate", tmp_path / "out", *options)
    assert answer.code == 2 and options[0] in answer.err
    assert not (tmp_path / "out").exists()


def test_existing_cases_are_kept_before_any_work(fetusmap, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "case-0002.mrk.json").write_text("mine", encoding="utf-8")
    monkeypatch.setattr(simulated_case, "simulate_case", lambda *_, **__: pytest.fail("simulated in vain"))
    answer = fetusmap("simulate", tmp_path, "--count", 4, *SMALL)
    assert answer.code == 2
    assert "case-0002.mrk.json" in answer.errors()[0] and "--overwrite" in answer.err
    assert contents(tmp_path) == {"case-0002.mrk.json": b"mine"}


def test_overwriting_on_request(fetusmap, already_simulated, tmp_path: Path) -> None:
    (tmp_path / "case-0000.json").write_text("mine", encoding="utf-8")
    assert fetusmap("simulate", tmp_path, "--overwrite", *SMALL).code == 0
    assert b"mine" not in contents(tmp_path)["case-0000.json"]


def test_an_output_folder_that_is_a_file(fetusmap, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine", encoding="utf-8")
    answer = fetusmap("simulate", tmp_path / "out", *SMALL)
    assert answer.code == 2 and "not a folder" in answer.errors()[0]


@pytest.mark.parametrize("sequence", [0, 2])
def test_a_full_disk_leaves_no_half_case(
    fetusmap, already_simulated, tmp_path: Path, monkeypatch, sequence: int
) -> None:
    write_text = Path.write_text

    def full(self: Path, data: str, *args, **options) -> int:
        if self.name.endswith(".mrk.json"):
            write_text(self, data[:50], *args, **options)
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_text(self, data, *args, **options)

    monkeypatch.setattr(Path, "write_text", full)
    answer = fetusmap("simulate", tmp_path / "out", "--sequence", sequence, *SMALL)
    assert answer.code == 2
    assert len(answer.errors()) == 1 and "the disk is full" in answer.err
    assert contents(tmp_path / "out") == {}


def test_a_disk_that_is_full_when_the_volume_is_flushed(
    fetusmap, already_simulated, tmp_path: Path, monkeypatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    answer = fetusmap("simulate", tmp_path / "out", *SMALL)
    assert answer.code == 2 and "the disk is full" in answer.errors()[0]
    assert contents(tmp_path / "out") == {}
