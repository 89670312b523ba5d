"""`fetusmap estimate`: right files at the right place, for one volume, many, and sequences."""

from __future__ import annotations

import csv
import errno
import json
from pathlib import Path

import numpy as np
import pytest
from cli.synthetic_balls import ball_volume
from imaging.samples import sample
from training.toy_cases import write_toy_cases

from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.core.errors import InputError
from FetusMapV2Lib.imaging.markups import read_markups
from FetusMapV2Lib.imaging.writing import write_sequence, write_volume

RESULTS = (".measurements.csv", ".measurements.json", ".mrk.json")


def files(folder: Path) -> list[str]:
    """Every name below a folder, hidden ones too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if ".fetusmap" not in path.parts)


@pytest.fixture
def balls(tmp_path: Path) -> tuple[Path, np.ndarray]:
    volume, truth = ball_volume()
    write_volume(tmp_path / "balls.nrrd", volume)
    return tmp_path / "balls.nrrd", truth


def test_from_file_to_files(fetusmap, sees_balls, balls, tmp_path: Path) -> None:
    path, truth = balls
    answer = fetusmap("estimate", path, "--output", tmp_path / "out")
    assert answer.code == 0
    assert "CRL" in answer.err and "mm" in answer.err and "cpu" in answer.err
    assert files(tmp_path / "out") == [f"balls{suffix}" for suffix in RESULTS]
    pose = read_markups(tmp_path / "out" / "balls.mrk.json")
    assert np.linalg.norm(pose.positions - truth, axis=1).max() < 1.5
    rows = list(csv.reader((tmp_path / "out" / "balls.measurements.csv").open(encoding="utf-8")))
    assert float(rows[1][1]) == pytest.approx(np.linalg.norm(truth[0] - truth[9]), abs=1.5)


def test_a_mirrored_file_is_put_right(fetusmap, sees_balls, tmp_path: Path) -> None:
    volume, truth = ball_volume()
    write_volume(tmp_path / "m.nrrd", volume.mirrored())
    assert fetusmap("estimate", tmp_path / "m.nrrd", "-o", tmp_path / "out", "--mirrored").code == 0
    pose = read_markups(tmp_path / "out" / "m.mrk.json")
    assert np.linalg.norm(pose.positions - truth, axis=1).max() < 1.8


def test_spacing_overrides_the_file(fetusmap, sees_balls, tmp_path: Path) -> None:
    volume, truth = ball_volume()
    write_volume(tmp_path / "v.nrrd", volume.with_spacing(1.0))
    answer = fetusmap("estimate", tmp_path / "v.nrrd", "-o", tmp_path / "a")
    assert "--spacing" in answer.err or "spacing" in answer.err
    assert "1.0 mm" in answer.err
    answer = fetusmap("estimate", tmp_path / "v.nrrd", "-o", tmp_path / "b", "--spacing", "1.2,1.5,1.3")
    assert answer.code == 0 and "voxel size" not in answer.err
    document = json.loads((tmp_path / "b" / "v.measurements.json").read_text(encoding="utf-8"))
    expected = np.linalg.norm(truth[0] - truth[9])
    assert document["measurements"][0]["value_mm"] == pytest.approx(expected, abs=1.5)


@pytest.mark.parametrize("spacing", [(0.2, 0.2, 0.2), (20.0, 20.0, 20.0)])
def test_an_extent_that_cannot_be_a_fetus_is_a_warning(fetusmap, model_file, tmp_path: Path, spacing) -> None:
    write_volume(tmp_path / "v.nrrd", sample(spacing=spacing))
    answer = fetusmap("estimate", tmp_path / "v.nrrd", "-o", tmp_path / "out", "--model", model_file)
    assert answer.code == 0 and not answer.errors()
    assert "10-15 week fetus" in answer.err
    document = json.loads((tmp_path / "out" / "v.measurements.json").read_text(encoding="utf-8"))
    assert any("10-15 week fetus" in warning for warning in document["warnings"])
    answer = fetusmap(
        "estimate", tmp_path / "v.nrrd", "-o", tmp_path / "again", "--model", model_file, "--spacing", "2.5"
    )
    assert answer.code == 0 and "10-15 week fetus" not in answer.err.replace("No fetus found", "")


def test_one_bad_file_does_not_stop_the_others(fetusmap, model_file, tmp_path: Path) -> None:
    for name in ("a", "c"):
        write_volume(tmp_path / f"{name}.nrrd", sample())
    (tmp_path / "b.nrrd").write_text("not a volume", encoding="utf-8")
    paths = [tmp_path / f"{name}.nrrd" for name in "abcd"]  # d is missing
    answer = fetusmap("estimate", *paths, "--output", tmp_path / "out", "--model", model_file)
    assert answer.code == 2
    errors = answer.errors()
    assert len(errors) == 2
    assert "b.nrrd" in errors[0] and "d.nrrd" in errors[1]
    assert "2 of 4 files done: 2 without a fetus; 2 refused:" in answer.err
    assert {name.split(".")[0] for name in files(tmp_path / "out")} == {"a", "c"}
    assert not [name for name in files(tmp_path / "out") if name.startswith(".")]


def test_a_sequence_gives_results_for_every_frame(fetusmap, sees_balls, tmp_path: Path) -> None:
    volume, truth = ball_volume()
    moved = volume.with_(array=np.roll(volume.array, 2, axis=0))
    write_sequence(tmp_path / "moving.seq.nrrd", [volume, moved])
    assert fetusmap("estimate", tmp_path / "moving.seq.nrrd", "-o", tmp_path / "out").code == 0
    first, second = (read_markups(tmp_path / "out" / f"moving_{n:04d}.mrk.json").positions for n in (0, 1))
    assert np.linalg.norm(first - truth, axis=1).max() < 1.5
    assert (second - first).mean(axis=0) == pytest.approx([0, 0, 2 * volume.spacing[2]], abs=0.3)


def moving_balls(tmp_path: Path, times: list[float] | None = None) -> Path:
    """A sequence of three frames; the body is carried to the head, and the second shows nothing."""
    volume, _ = ball_volume()
    rolled = [np.roll(volume.array, shift, axis=0) for shift in (0, 0, 4)]
    rolled[1] = np.zeros_like(volume.array)
    rolled[1][0, 0, 0] = 1
    write_sequence(tmp_path / "moving.seq.nrrd", [volume.with_(array=array) for array in rolled], times_s=times)
    return tmp_path / "moving.seq.nrrd"


MOVEMENT = ("moving.movement.csv", "moving.movement.json")


def test_a_sequence_gives_a_movement_table(fetusmap, sees_only_balls, tmp_path: Path) -> None:
    answer = fetusmap("estimate", moving_balls(tmp_path, [0.0, 0.5, 1.0]), "-o", tmp_path / "out")
    assert answer.code == 0
    assert "moving: " in answer.err and "--frame-interval" not in answer.err
    assert set(MOVEMENT) < set(files(tmp_path / "out"))
    rows = list(csv.DictReader((tmp_path / "out" / MOVEMENT[0]).open(encoding="utf-8")))
    assert [row["frame"] for row in rows] == ["0", "1", "2"]
    assert [float(row["time_s"]) for row in rows] == [0.0, 0.5, 1.0]
    assert "Research use only" in rows[0]["note"]
    shift = 4 * ball_volume()[0].spacing[2]
    assert float(rows[0]["body_speed_mm_per_s"]) == pytest.approx(shift, abs=1.0)
    assert float(rows[0]["left_arm_speed_mm_per_s"]) < 1.0  # carried along
    assert float(rows[0]["left_elbow_flexion_deg"]) == pytest.approx(float(rows[2]["left_elbow_flexion_deg"]), abs=5)
    document = json.loads((tmp_path / "out" / MOVEMENT[1]).read_text(encoding="utf-8"))
    assert document["time_unit"] == "s" and document["speed_unit"] == "mm/s"
    assert [frame["time"] for frame in document["frames"]] == [0.0, 0.5, 1.0]
    assert {angle["key"] for angle in document["angles"]} >= {"neck_flexion", "right_knee_flexion"}
    assert document["notice"].startswith("Research use only")


def test_a_frame_without_a_fetus_is_a_gap_in_the_table(fetusmap, sees_only_balls, tmp_path: Path) -> None:
    answer = fetusmap("estimate", moving_balls(tmp_path), "-o", tmp_path / "out")
    assert answer.code == 0 and "moving_0001: No fetus found" in answer.err
    assert "moving_0001.mrk.json" not in files(tmp_path / "out")
    rows = list(csv.DictReader((tmp_path / "out" / MOVEMENT[0]).open(encoding="utf-8")))
    values = {name: value for name, value in rows[1].items() if name not in ("frame", "time_frames", "note")}
    assert set(values.values()) == {""}
    document = json.loads((tmp_path / "out" / MOVEMENT[1]).read_text(encoding="utf-8"))
    assert [frame["found"] for frame in document["frames"]] == [True, False, True]
    assert document["frames"][1]["reason"].startswith("No fetus found")


def test_times_that_are_not_known_are_said_and_can_be_given(fetusmap, sees_only_balls, tmp_path: Path) -> None:
    path = moving_balls(tmp_path)
    answer = fetusmap("estimate", path, "-o", tmp_path / "a")
    assert "--frame-interval" in answer.err and "per frame" in answer.err
    assert "mm_per_frame" in (tmp_path / "a" / MOVEMENT[0]).read_text(encoding="utf-8").splitlines()[0]
    answer = fetusmap("estimate", path, "-o", tmp_path / "b", "--frame-interval", "0.25")
    assert "--frame-interval" not in answer.err
    speeds = [
        float(next(csv.DictReader((tmp_path / name / MOVEMENT[0]).open(encoding="utf-8")))[f"body_speed_mm_per_{unit}"])
        for name, unit in (("a", "frame"), ("b", "s"))
    ]
    assert speeds[1] == pytest.approx(4 * speeds[0], abs=0.05)
    for wrong in ("0", "-1", "nan"):
        answer = fetusmap("estimate", path, "-o", tmp_path / "c", f"--frame-interval={wrong}")
        assert answer.code == 2 and "--frame-interval" in answer.errors()[0]


def test_a_sequence_with_scene_and_pictures(fetusmap, sees_only_balls, tmp_path: Path) -> None:
    from FetusMapV2Lib.scene.pose_sequence import PoseSequence
    from FetusMapV2Lib.scene.scene_files import close_scene, load_scene
    from FetusMapV2Lib.scene.volume_sequences import browsers_of_volumes

    volume, truth = ball_volume()
    write_sequence(tmp_path / "moving.seq.nrrd", [volume, volume])
    answer = fetusmap("estimate", tmp_path / "moving.seq.nrrd", "-o", tmp_path / "out", "--scene", "--picture")
    assert answer.code == 0
    pictures = ["moving.movement.png", "moving_0000.png", "moving_0001.png"]
    results = [f"moving_{n:04d}{suffix}" for n in (0, 1) for suffix in RESULTS]
    assert files(tmp_path / "out") == sorted([*MOVEMENT, *pictures, *results, "moving.mrb"])
    assert all((tmp_path / "out" / name).read_bytes().startswith(b"\x89PNG") for name in pictures)
    scene = load_scene(tmp_path / "out" / "moving.mrb")
    fetus = PoseSequence.attach(browsers_of_volumes(scene)[0], default_schema())
    assert fetus.frame_count == 2
    assert np.linalg.norm(fetus.poses()[1].positions - truth, axis=1).max() < 1.5
    close_scene(scene)


def test_an_existing_movement_is_kept_and_costs_no_estimate(fetusmap, model_file, tmp_path: Path, monkeypatch) -> None:
    from FetusMapV2Lib.estimation.engine import PoseEngine

    path = moving_balls(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / MOVEMENT[0]).write_text("mine", encoding="utf-8")
    monkeypatch.setattr(PoseEngine, "estimate", lambda *_, **__: pytest.fail("estimated in vain"))
    answer = fetusmap("estimate", path, "-o", tmp_path / "out", "--model", model_file)
    assert answer.code == 2 and MOVEMENT[0] in answer.errors()[0]
    assert files(tmp_path / "out") == [MOVEMENT[0]]


def test_a_sequence_is_written_whole_or_not_at_all(fetusmap, sees_only_balls, tmp_path: Path, monkeypatch) -> None:
    write = Path.write_text

    def full(self: Path, *args, **options) -> int:
        if self.name.endswith(MOVEMENT[1]):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, *args, **options)

    monkeypatch.setattr(Path, "write_text", full)
    answer = fetusmap("estimate", moving_balls(tmp_path), "-o", tmp_path / "out")
    assert answer.code == 2 and "the disk is full" in answer.errors()[0]
    assert files(tmp_path / "out") == []


def test_names_in_any_writing_and_with_brackets(fetusmap, sees_balls, balls, tmp_path: Path) -> None:
    path, _ = balls
    odd = path.with_name("Фетус [bold] [x] :smile: é.nrrd")
    path.rename(odd)
    out = tmp_path / "[" / "red] ü"  # "[/red]" would close a tag
    answer = fetusmap("estimate", odd, tmp_path / "[" / "b] missing.nrrd", "-o", out)
    assert answer.code == 2
    assert "Фетус [bold] [x] :smile: é: CRL" in answer.err
    assert "[/b] missing.nrrd" in answer.errors()[0].replace("\\", "/")
    assert (out / "Фетус [bold] [x] :smile: é.mrk.json").exists()


def test_existing_results_are_kept_unless_told(fetusmap, sees_balls, balls, tmp_path: Path, monkeypatch) -> None:
    path, _ = balls
    out = tmp_path / "out"
    out.mkdir()
    (out / "balls.measurements.csv").write_text("mine", encoding="utf-8")
    answer = fetusmap("estimate", path, "-o", out)
    assert answer.code == 2
    assert len(answer.errors()) == 1 and "--overwrite" in answer.err
    assert files(out) == ["balls.measurements.csv"]
    assert (out / "balls.measurements.csv").read_text(encoding="utf-8") == "mine"
    assert fetusmap("estimate", path, "-o", out, "--overwrite").code == 0
    assert files(out) == [f"balls{suffix}" for suffix in RESULTS]
    assert "mine" not in (out / "balls.measurements.csv").read_text(encoding="utf-8")


def test_existing_results_cost_no_estimate(fetusmap, model_file, balls, tmp_path: Path, monkeypatch) -> None:
    from FetusMapV2Lib.estimation.engine import PoseEngine

    (tmp_path / "balls.mrk.json").write_text("mine", encoding="utf-8")
    monkeypatch.setattr(PoseEngine, "estimate", lambda *_, **__: pytest.fail("estimated in vain"))
    assert fetusmap("estimate", balls[0], "-o", tmp_path, "--model", model_file).code == 2


def test_two_files_of_one_name_do_not_overwrite_each_other(fetusmap, model_file, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        write_volume(tmp_path / folder / "case.nrrd", sample())
    paths = [tmp_path / folder / "case.nrrd" for folder in ("one", "two")]
    answer = fetusmap("estimate", *paths, "-o", tmp_path / "out", "--model", model_file, "--overwrite")
    assert answer.code == 2
    assert len(answer.errors()) == 1
    assert answer.errors()[0].startswith(f"Error: {paths[1]}: its results would have the names of those of {paths[0]}.")


def test_no_fetus_is_an_answer(fetusmap, monkeypatch, balls, tmp_path: Path) -> None:
    from dataclasses import replace

    from cli.synthetic_balls import ball_engine

    from FetusMapV2Lib.estimation.engine import PoseEngine
    from FetusMapV2Lib.models.calibration import uncalibrated

    out = tmp_path / "out"
    monkeypatch.setattr(PoseEngine, "load", classmethod(lambda cls, *_: ball_engine()))
    assert fetusmap("estimate", balls[0], "-o", out).code == 0
    strict = ball_engine(calibration=replace(uncalibrated(), detection_threshold=1.2))
    monkeypatch.setattr(PoseEngine, "load", classmethod(lambda cls, *_: strict))
    answer = fetusmap("estimate", balls[0], "-o", out, "--overwrite", "--scene", "--picture")
    assert answer.code == 0 and not answer.errors()
    assert "No fetus found" in answer.err
    assert files(out) == ["balls.measurements.json"]


@pytest.fixture
def doubts_balls(monkeypatch) -> None:
    """`estimate` gets an engine that doubts the fetus of the balls, and finds none where there are no balls."""
    from dataclasses import replace

    from cli.synthetic_balls import ball_engine

    from FetusMapV2Lib.estimation.engine import PoseEngine
    from FetusMapV2Lib.models.calibration import uncalibrated

    calibration = replace(uncalibrated(), detection_threshold=1.1, doubtful_threshold=0.2)
    monkeypatch.setattr(PoseEngine, "load", classmethod(lambda cls, *_: ball_engine(calibration=calibration)))


def presence_of(folder: Path, name: str) -> tuple[bool, str]:
    document = json.loads((folder / f"{name}.measurements.json").read_text(encoding="utf-8"))
    return document["found"], document["status"]


def test_a_doubtful_fetus_is_written_said_and_counted_as_doubtful(fetusmap, doubts_balls, balls, tmp_path) -> None:
    write_volume(tmp_path / "noise.nrrd", sample())
    out = tmp_path / "out"
    answer = fetusmap("estimate", balls[0], tmp_path / "noise.nrrd", "-o", out)
    assert answer.code == 0 and not answer.errors()
    assert "balls: doubtful. It is doubtful" in answer.err and "below the 1.10" in answer.err
    assert "2 of 2 files done: 1 doubtful, 1 without a fetus." in answer.err
    assert answer.err.count("--show-seen") == 1
    assert files(out) == [*(f"balls{suffix}" for suffix in sorted(RESULTS)), "noise.measurements.json"]
    assert presence_of(out, "balls") == (False, "doubtful")


def test_doubtful_fetuses_may_be_accepted_and_others_shown(fetusmap, doubts_balls, balls, tmp_path) -> None:
    write_volume(tmp_path / "noise.nrrd", sample())
    out = tmp_path / "out"
    answer = fetusmap("estimate", balls[0], tmp_path / "noise.nrrd", "-o", out, "--accept-doubtful", "--show-seen")
    assert answer.code == 0 and "accepted as found" in answer.err
    assert "1 with a fetus, 1 doubtful." in answer.err
    assert presence_of(out, "balls") == (True, "found")
    assert presence_of(out, "noise") == (False, "doubtful")
    assert "Shown on request. No fetus found" in (out / "noise.mrk.json").read_text(encoding="utf-8")


def test_the_presence_threshold_is_an_option(fetusmap, doubts_balls, balls, tmp_path) -> None:
    assert fetusmap("estimate", balls[0], "-o", tmp_path / "out", "--presence-threshold", "0.5").code == 0
    assert presence_of(tmp_path / "out", "balls") == (True, "found")
    answer = fetusmap("estimate", balls[0], "-o", tmp_path / "out", "--presence-threshold", "1.5")
    assert answer.code == 2 and "between 0 and 1" in answer.errors()[0]


def test_an_output_folder_that_is_a_file(fetusmap, model_file, balls, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine", encoding="utf-8")
    for folder in (tmp_path / "out", tmp_path / "out" / "deeper"):
        answer = fetusmap("estimate", balls[0], "-o", folder, "--model", model_file)
        assert answer.code == 2
        assert len(answer.errors()) == 1 and "not a folder" in answer.err
    assert (tmp_path / "out").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("suffix", RESULTS)
def test_a_full_disk(fetusmap, sees_balls, balls, tmp_path: Path, monkeypatch, suffix: str) -> None:
    write_text = Path.write_text

    def full(self: Path, data: str, *args, **options) -> int:
        if self.name.endswith(suffix):
            write_text(self, data[:50], *args, **options)
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_text(self, data, *args, **options)

    monkeypatch.setattr(Path, "write_text", full)
    answer = fetusmap("estimate", balls[0], "-o", tmp_path / "out")
    assert answer.code == 2
    assert len(answer.errors()) == 1 and "the disk is full" in answer.err
    assert f"out/balls{suffix}" in answer.err.replace("\\", "/")
    assert files(tmp_path / "out") == []


def test_a_scene_that_fails_takes_the_other_files_with_it(
    fetusmap, sees_balls, balls, tmp_path: Path, monkeypatch
) -> None:
    scene = pytest.importorskip("FetusMapV2Lib.scene.scene_writing")

    def broken(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(scene, "write_pose_scene", broken)
    answer = fetusmap("estimate", balls[0], "-o", tmp_path / "out", "--scene")
    assert answer.code == 2 and "the disk is full" in answer.err
    assert files(tmp_path / "out") == []


def test_scene_and_picture_on_request(fetusmap, sees_balls, balls, tmp_path: Path) -> None:
    pytest.importorskip("slicer")
    answer = fetusmap("estimate", balls[0], "-o", tmp_path / "out", "--scene", "--picture")
    assert answer.code == 0, answer.err
    assert files(tmp_path / "out") == sorted(f"balls{suffix}" for suffix in (*RESULTS, ".mrb", ".png"))


def test_memory_that_is_not_enough_for_one_file(fetusmap, model_file, tmp_path: Path, monkeypatch) -> None:
    from FetusMapV2Lib.estimation.engine import PoseEngine

    for name in "ab":
        write_volume(tmp_path / f"{name}.nrrd", sample())
    estimate = PoseEngine.estimate

    def greedy(self, volume, **options):
        if volume.name == "a":
            raise MemoryError
        return estimate(self, volume, **options)

    monkeypatch.setattr(PoseEngine, "estimate", greedy)
    answer = fetusmap(
        "estimate", tmp_path / "a.nrrd", tmp_path / "b.nrrd", "-o", tmp_path / "out", "--model", model_file
    )
    assert answer.code == 2
    assert len(answer.errors()) == 1 and "a.nrrd" in answer.err and "memory" in answer.err
    assert (tmp_path / "out" / "b.measurements.json").exists()


@pytest.mark.parametrize(
    "options, clue",
    [
        (("--spacing", "0"), "--spacing"),
        (("--spacing", "wide"), "--spacing"),
        (("--spacing", "1,2"), "--spacing"),
        (("--spacing", "nan"), "--spacing"),
        (("--device", "gpu"), "unknown device"),
        (("--device", "cuda:99"), "GPU"),
        (("--device", "cuda:999"), "GPU"),
        (("--kretz-handedness", "left"), "slicerheart or plooney"),
        (("--model", "no-such-model"), "no such model"),
        (("--model", "no/such.safetensors"), "no such model"),
    ],
)
def test_bad_options(fetusmap, model_file, tmp_path: Path, options, clue: str) -> None:
    write_volume(tmp_path / "v.nrrd", sample())
    model = () if "--model" in options else ("--model", model_file)
    answer = fetusmap("estimate", tmp_path / "v.nrrd", "-o", tmp_path / "out", *model, *options)
    assert answer.code == 2
    assert len(answer.errors()) == 1 and clue in answer.err
    assert answer.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_reading_errors_of_a_later_frame_keep_the_earlier_ones(fetusmap, model_file, tmp_path, monkeypatch) -> None:
    from FetusMapV2Lib.imaging import reading

    write_sequence(tmp_path / "s.seq.nrrd", [sample(), sample(seed=1)])
    read = reading.Frames._read

    def second_is_bad(self, number: int):
        if number == 1:
            raise InputError("the volume is truncated", where="s.seq.nrrd", remedy="Export it again")
        return read(self, number)

    monkeypatch.setattr(reading.Frames, "_read", second_is_bad)
    answer = fetusmap("estimate", tmp_path / "s.seq.nrrd", "-o", tmp_path / "out", "--model", model_file)
    assert answer.code == 2 and len(answer.errors()) == 1
    assert "s_0001: 1 of 2 frames cannot be used" in answer.errors()[0]
    assert {name.split(".")[0] for name in files(tmp_path / "out")} == {"s_0000", "s"}
    document = json.loads((tmp_path / "out" / "s.movement.json").read_text(encoding="utf-8"))
    assert "the volume is truncated" in document["frames"][1]["reason"]


def test_an_estimate_is_refined(fetusmap, tmp_path: Path) -> None:
    write_toy_cases(tmp_path / "cases", 1)
    volume = tmp_path / "cases" / "case-00.nrrd"
    answer = fetusmap("estimate", volume, "-o", tmp_path / "out", "--device", "cpu", "--refine", "prior")
    assert answer.code == 0, answer.err
    document = json.loads((tmp_path / "out" / "case-00.measurements.json").read_text())
    assert document["refinement"]["mode"] == ("prior" if document["found"] else "off")
    answer = fetusmap("estimate", volume, "-o", tmp_path / "out2", "--refine", "perhaps")
    assert answer.code == 2
    assert "unknown refinement" in answer.errors()[0]


def test_dates_of_the_pregnancy_belong_to_one_patient(fetusmap, sees_balls, tmp_path) -> None:
    volume, _ = ball_volume()
    for name in ("a", "b"):
        write_volume(tmp_path / f"{name}.nrrd", volume)
    known = ("--last-period", "2025-12-07", "--examined", "2026-03-01")
    answer = fetusmap("estimate", tmp_path / "a.nrrd", "-o", tmp_path / "out", *known)
    assert answer.code == 0, answer.err
    written = json.loads((tmp_path / "out" / "a.measurements.json").read_text(encoding="utf-8"))
    assert written["dates"]["ages"][0]["days"] == 84 and written["dates"]["examined"] == "2026-03-01"
    both = fetusmap("estimate", tmp_path / "a.nrrd", tmp_path / "b.nrrd", "-o", tmp_path / "both", *known)
    assert both.code == 2 and "belongs to one patient" in both.errors()[0]
    unknown = fetusmap("estimate", tmp_path / "a.nrrd", "-o", tmp_path / "no", "--conceived", "2026-01-01")
    assert unknown.code == 2 and "--examined" in unknown.errors()[0]
    hidden = fetusmap("estimate", tmp_path / "a.nrrd", "-o", tmp_path / "hidden", *known, "--without-identifiers")
    assert hidden.code == 0
    assert b"2026-03-01" not in b"".join(path.read_bytes() for path in (tmp_path / "hidden").glob("*.json"))
