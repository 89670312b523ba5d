"""Every bad volume, met by a user of the command line: one clear line, exit code 2, nothing written, no traceback."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from core.folders import visible
from imaging.samples import blobs, encrypted_us, kretz_file, multiframe, sample, save

from FetusMapV2Lib.imaging.writing import write_volume


def missing(folder: Path) -> Path:
    return folder / "missing.nrrd"


def empty(folder: Path) -> Path:
    (folder / "v.nrrd").touch()
    return folder / "v.nrrd"


def truncated(folder: Path) -> Path:
    write_volume(folder / "v.nrrd", sample())
    data = (folder / "v.nrrd").read_bytes()
    (folder / "v.nrrd").write_bytes(data[: len(data) // 2])
    return folder / "v.nrrd"


def text(folder: Path) -> Path:
    (folder / "v.nrrd").write_text("Dear colleague, the volume is attached.\n" * 20, encoding="utf-8")
    return folder / "v.nrrd"


def flat(folder: Path) -> Path:
    sitk.WriteImage(sitk.GetImageFromArray(blobs()[0]), str(folder / "v.nrrd"))
    return folder / "v.nrrd"


def constant(folder: Path) -> Path:
    volume = sample()
    volume.array[:] = 7
    write_volume(folder / "v.nrrd", volume)
    return folder / "v.nrrd"


def not_numbers(value: float) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        volume = sample(dtype=np.float32)
        volume.array[5, 6, 7] = value
        write_volume(folder / "v.mha", volume)
        return folder / "v.mha"

    return write


def geometry(lines: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        header = f"NRRD0004\ntype: unsigned char\ndimension: 3\nsizes: 24 32 40\nencoding: raw\n{lines}\n\n"
        (folder / "v.nrrd").write_bytes(header.encode() + blobs().tobytes())
        return folder / "v.nrrd"

    return write


def wavelet(folder: Path) -> Path:
    angles = np.linspace(-0.5, 0.5, 20)
    data = kretz_file(np.zeros((20, 20, 20), np.uint8), 1.0, 30.0, 5.0, angles, angles)
    (folder / "v.vol").write_bytes(data[: data.rindex(struct.pack("<HH", 0xD000, 1))])
    return folder / "v.vol"


def encrypted(folder: Path) -> Path:
    random = np.random.default_rng(0).bytes(20000)
    (folder / "v.dcm").write_bytes(b"\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03" + random)
    return folder / "v.dcm"


def encrypted_attributes(folder: Path) -> Path:
    save(encrypted_us(), folder / "v.dcm")
    return folder / "v.dcm"


def computed_tomography(folder: Path) -> Path:
    save(multiframe(blobs(), "1.2.840.10008.5.1.4.1.1.2.1", "CT"), folder / "v.dcm")
    return folder / "v.dcm"


def small(folder: Path) -> Path:
    write_volume(folder / "v.nrrd", sample((15, 40, 40)))
    return folder / "v.nrrd"


def bare_folder(folder: Path) -> Path:
    (folder / "series").mkdir()
    return folder / "series"


SPACE = "space: left-posterior-superior\nspace directions: "
CASES = {
    "missing": (missing, "no such file"),
    "empty": (empty, "empty"),
    "truncated": (truncated, "truncated"),
    "text": (text, "not a volume"),
    "2D": (flat, "2D image"),
    "constant": (constant, "every voxel is 7"),
    "NaN": (not_numbers(np.nan), "NaN or infinite"),
    "Inf": (not_numbers(np.inf), "NaN or infinite"),
    "zero spacing": (geometry("spacings: 0.5 0 0.5"), "not positive"),
    "negative spacing": (geometry("spacings: 0.5 -1 0.5"), "not positive"),
    "singular": (geometry(SPACE + "(1,0,0) (1,0,0) (0,0,1)"), "singular"),
    "zero direction": (geometry(SPACE + "(1,0,0) (0,0,0) (0,0,1)"), "not positive"),
    "wavelet": (wavelet, "wavelet-compressed"),
    "encrypted": (encrypted, "encrypted"),
    "encrypted attributes": (encrypted_attributes, "encrypted"),
    "CT": (computed_tomography, "not ultrasound"),
    "small": (small, "too small"),
    "folder": (bare_folder, "no DICOM"),
}


@pytest.mark.parametrize("build, clue", CASES.values(), ids=CASES.keys())
def test_one_line_and_nothing_written(fetusmap, model_file, tmp_path: Path, build, clue: str) -> None:
    path = build(tmp_path)
    answer = fetusmap("estimate", path, "--output", tmp_path / "out", "--model", model_file)
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err.count("\n") == 1, answer.err
    (line,) = answer.errors()
    assert clue in line and path.name in line
    assert line.endswith(".")
    assert list((tmp_path / "out").iterdir()) == []


def test_all_of_them_at_once(fetusmap, model_file, tmp_path: Path) -> None:
    paths = []
    for name, (build, _) in CASES.items():
        (tmp_path / name).mkdir()
        paths.append(build(tmp_path / name))
    write_volume(tmp_path / "good.nrrd", sample())
    paths.insert(4, tmp_path / "good.nrrd")
    answer = fetusmap("estimate", *paths, "--output", tmp_path / "out", "--model", model_file)
    assert answer.code == 2
    assert len(answer.errors()) == len(CASES)
    assert f"1 of {len(paths)} files done: 1 without a fetus; {len(CASES)} refused:" in answer.err
    assert {path.name.split(".")[0] for path in visible(tmp_path / "out")} == {"good"}


def test_a_folder_without_permission(fetusmap, model_file, tmp_path: Path, monkeypatch) -> None:
    write_volume(tmp_path / "v.nrrd", sample())

    def denied(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", denied)
    answer = fetusmap("estimate", tmp_path / "v.nrrd", "--output", tmp_path / "out", "--model", model_file)
    assert answer.code == 2
    assert len(answer.errors()) == 1 and "no permission" in answer.err
