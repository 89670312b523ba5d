"""Small whole files of every format that the product reads, most of them written by other programs.

Each specimen is a set of files in memory; `Specimen.kind` says which reader of the product opens it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel
import nrrd
import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813
import torch
from imaging.samples import blobs, enhanced_us, kretz_file, kretz_in_dicom, philips, sample, save, slices_of
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.core.resources import resource_path
from FetusMapV2Lib.estimation.estimate import Estimate
from FetusMapV2Lib.estimation.requests import EstimateRequest
from FetusMapV2Lib.imaging.markups import write_markups
from FetusMapV2Lib.imaging.writing import write_sequence, write_volume
from FetusMapV2Lib.models.index_file import file_sha256
from FetusMapV2Lib.models.model_file import Model, ModelInfo, save_model
from FetusMapV2Lib.network.unet import UNet3d
from FetusMapV2Lib.remote import messages, payloads
from FetusMapV2Lib.training.checkpoints import write_checkpoint

#: Long enough for a fetus at this spacing, so that a whole file gives no warning.
_SHAPE, _SPACING = (18, 17, 16), (4.0, 4.5, 5.0)


@dataclass(frozen=True)
class Specimen:
    """A whole file.

    Attributes:
        kind: what reads it: "volume", "slices" (the folder of the files), "markups", "model", "index", "preset",
            "schema", "checkpoint", "case", "manifest", "estimate message", "volume message" or "scene".
        name: what it is, for the table.
        files: contents by name; the first is opened.
        text_bytes: length of the text header of the first file.
    """

    kind: str
    name: str
    files: dict[str, bytes]
    text_bytes: int = 0


def corpus(*, with_scene: bool = True) -> list[Specimen]:
    """All specimens, the same at every call."""
    with tempfile.TemporaryDirectory() as folder:
        specimens = [*_nrrd(Path(folder)), *_metaimage(Path(folder)), *_nifti(Path(folder)), *_dicom(Path(folder))]
        specimens += [*_kretz(), *_documents(Path(folder)), *_messages()]
        return specimens + ([_scene(Path(folder))] if with_scene else [])


def _written(folder: Path, write: Callable[[Path], None], name: str) -> dict[str, bytes]:
    """What `write` puts into an empty folder, the named file first."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        write(Path(place, name))
        others = sorted(path for path in Path(place).iterdir() if path.name != name)
        return {path.name: path.read_bytes() for path in [Path(place, name), *others]}


def _image(dtype: type, seed: int) -> sitk.Image:
    image = sitk.GetImageFromArray(blobs(_SHAPE, seed, np.uint8).astype(dtype))
    image.SetSpacing(_SPACING)
    image.SetOrigin((-30.0, 12.5, 7.25))
    image.SetDirection((0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    return image


def _by_itk(folder: Path, name: str, dtype: type, packed: bool) -> dict[str, bytes]:
    return _written(folder, lambda path: sitk.WriteImage(_image(dtype, len(name)), str(path), packed), name)


def _header_bytes(files: dict[str, bytes], end: bytes) -> int:
    content = next(iter(files.values()))
    found = content.find(end)
    return len(content) if found < 0 else found + len(end)


def _nrrd(folder: Path) -> list[Specimen]:
    volumes = [sample(_SHAPE, _SPACING, seed=seed) for seed in range(3)]
    header = {"space": "RAS", "space directions": np.diag(_SPACING), "space origin": [1.0, 2.0, 3.0]}

    def by_pynrrd(path: Path, encoding: str) -> None:
        nrrd.write(str(path), blobs(_SHAPE).T, {**header, "encoding": encoding})

    def detached(path: Path) -> None:
        by_pynrrd(path, "gzip")

    sets = {
        "nrrd, SimpleITK, raw": _by_itk(folder, "a.nrrd", np.uint8, False),
        "nrrd, SimpleITK, gzip": _by_itk(folder, "a.nrrd", np.int16, True),
        "nrrd, pynrrd, bzip2": _written(folder, lambda path: by_pynrrd(path, "bzip2"), "a.nrrd"),
        "nrrd, pynrrd, ascii": _written(folder, lambda path: by_pynrrd(path, "ascii"), "a.nrrd"),
        "nhdr, pynrrd, gzip": _written(folder, detached, "a.nhdr"),
        "nrrd, own": _written(folder, lambda path: write_volume(path, volumes[0]), "a.nrrd"),
        "seq.nrrd, own, gzip": _written(folder, lambda path: write_sequence(path, volumes), "a.seq.nrrd"),
        "seq.nrrd, own, raw": _written(
            folder, lambda path: write_sequence(path, volumes, compress=False), "a.seq.nrrd"
        ),
    }
    return [Specimen("volume", name, files, _header_bytes(files, b"\n\n")) for name, files in sets.items()]


def _metaimage(folder: Path) -> list[Specimen]:
    sets = {
        "mha, raw": _by_itk(folder, "a.mha", np.uint8, False),
        "mha, zlib": _by_itk(folder, "a.mha", np.uint16, True),
        "mhd, raw": _by_itk(folder, "a.mhd", np.float32, False),
        "mhd, zraw": _by_itk(folder, "a.mhd", np.uint8, True),
    }
    return [Specimen("volume", name, files, _header_bytes(files, b"LOCAL\n")) for name, files in sets.items()]


def _nifti(folder: Path) -> list[Specimen]:
    affine = np.array([[0.0, -4.5, 0, 10], [4.0, 0, 0, -20], [0, 0, 5.0, 30], [0, 0, 0, 1]])

    def image(array: np.ndarray, path: Path) -> None:
        made = nibabel.Nifti1Image(array, affine)
        made.set_sform(affine, 1)
        made.set_qform(affine, 1)
        nibabel.save(made, path)

    one = blobs(_SHAPE).T
    sets = {
        "nii": _written(folder, lambda path: image(one, path), "a.nii"),
        "nii.gz": _written(folder, lambda path: image(one.astype(np.float32), path), "a.nii.gz"),
        "nii.gz, 4D": _written(folder, lambda path: image(np.stack([one, one // 2], -1), path), "a.nii.gz"),
        "hdr and img": _written(folder, lambda path: _pair(one, affine, path), "a.hdr"),
    }
    return [Specimen("volume", name, files) for name, files in sets.items()]


def _pair(array: np.ndarray, affine: np.ndarray, path: Path) -> None:
    pair = nibabel.Nifti1Pair(array, affine)
    pair.set_sform(affine, 1)
    pair.set_qform(affine, 1)
    nibabel.save(pair, path)


def _dicom(folder: Path) -> list[Specimen]:
    volumes = [sample(_SHAPE, _SPACING, seed=seed) for seed in range(2)]
    data = next(iter(_kretz()[0].files.values()))
    sets = {
        "dicom, enhanced US": enhanced_us(volumes[:1]),
        "dicom, enhanced US, 4D, shuffled": enhanced_us(volumes, shuffled=True),
        "dicom, Philips": philips(volumes),
        "dicom, Kretz inside": kretz_in_dicom(data),
    }
    packed, deflated, bare = (enhanced_us(volumes[:1]) for _ in range(3))
    packed.compress(RLELossless, generate_instance_uid=False)
    deflated.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    sets |= {"dicom, RLE": packed, "dicom, deflated": deflated}
    found = []
    for name, dataset in sets.items():
        files = _written(folder, lambda path, dataset=dataset: save(dataset, path), "a.dcm")
        found.append(Specimen("volume", name, files))
    del bare.file_meta

    def without_meta(path: Path) -> None:
        pydicom.dcmwrite(path, bare, implicit_vr=True, little_endian=True, enforce_file_format=False)

    found.append(Specimen("volume", "dicom, no file meta", _written(folder, without_meta, "a.dcm")))
    slices = slices_of(volumes[0])
    written = [_written(folder, lambda path, one=one: save(one, path), f"{n:02d}.dcm") for n, one in enumerate(slices)]
    found.append(Specimen("slices", "dicom, slices", {name: data for one in written for name, data in one.items()}))
    return found


def _kretz() -> list[Specimen]:
    voxels = blobs((20, 22, 40))
    angles = np.linspace(-0.5, 0.5, 22), np.linspace(-0.4, 0.4, 20)
    torus = kretz_file(voxels, 1.6, 40.0, 12.0, *angles)
    cartesian = kretz_file(blobs((20, 20, 20)), 1.0, 0.0, 0.0, (), (), cartesian_mm=4.0)
    return [
        Specimen("volume", "kretz, torus", {"a.vol": torus}),
        Specimen("volume", "kretz, box", {"a.vol": cartesian}),
    ]


def _documents(folder: Path) -> list[Specimen]:
    """Landmarks, model, index, preset and schema."""
    pose = Pose(np.random.default_rng(1).uniform(5, 60, (22, 3)))
    markups = _written(folder, lambda path: write_markups(path, pose), "a.mrk.json")
    model = _written(folder, lambda path: save_model(path, _model()), "a.safetensors")
    schema = resource_path("Landmarks", "fetusmapv2.json").read_bytes()
    with tempfile.TemporaryDirectory(dir=folder) as place:
        file = Path(place, "a.safetensors")
        file.write_bytes(next(iter(model.values())))
        entry = {"name": "toy", "file": file.name, "sha256": file_sha256(file), "size": file.stat().st_size}
    index = json.dumps({"version": 1, "models": [{**entry, "description": "a toy", "default": True}]}).encode()
    with tempfile.TemporaryDirectory(dir=folder) as place:
        state = Path(place, "a.ckpt")
        write_checkpoint(state, lambda path: torch.save({"state_dict": {"weight": torch.ones(64)}, "step": 3}, path))
        checkpoint = {state.name: state.read_bytes()}
    case = json.dumps({"fetus_present": True, "style": "toy"}).encode()
    manifest = {"files": {"a.csv": {"size": 3, "sha256": "0" * 64}}, "asked": ["a.csv", "a.mrb"], "origin": "12ab"}
    preset = {"extends": "unet", "input_size": [32, 32, 16], "sigma": 1.0, "run": {"steps": 6}}
    whole = {
        "markups": Specimen("markups", "landmarks (.mrk.json)", markups),
        "model": Specimen("model", "model (.safetensors)", model),
        "index": Specimen("index", "model index", {"models.json": index, **model}),
        "preset": Specimen("preset", "preset", {"a.json": json.dumps(preset).encode()}),
        "schema": Specimen("schema", "landmark schema", {"a.json": schema}),
        "case": Specimen("case", "facts of a case", {"a.json": case}),
        "manifest": Specimen("manifest", "manifest of a case", {"a.json": json.dumps(manifest).encode()}),
        "checkpoint": Specimen("checkpoint", "checkpoint", checkpoint),
    }
    return [
        replace(one, text_bytes=len(next(iter(one.files.values()))) if one.kind not in ("model", "checkpoint") else 0)
        for one in whole.values()
    ]


def _model() -> Model:
    torch.manual_seed(0)
    network = UNet3d(widths=(2, 3, 4))
    poses = np.random.default_rng(0).normal(size=(5, 22, 3))
    info = ModelInfo(name="toy", network=dict(network.config), input_size=(32, 16, 16), sigma=2.0)
    return Model(network, poses, poses[0] / 3, info)


def _messages() -> list[Specimen]:
    pose = Pose(np.random.default_rng(1).uniform(5, 60, (22, 3)), np.full(22, 0.9), np.full(22, 2.0))
    estimate = Estimate(pose, "found", 0.9, "", "cpu", "asked for", {"network": 1.0}, (), "toy (12ab)", ())
    answer = messages.encoded(messages.Result(1, payloads.result_values(estimate))).encode()
    with tempfile.TemporaryDirectory() as folder:
        values = payloads.request_values(EstimateRequest(sample(_SHAPE, _SPACING)), Path(folder, "a.npy"))
        voxels = Path(folder, "a.npy").read_bytes()
    values["volume"]["file"] = "a.npy"
    asked = messages.encoded(messages.Question(1, "estimate", messages.EngineSettings(), values)).encode()
    return [
        Specimen("estimate message", "answer of the engine", {"a.json": answer}, len(answer)),
        Specimen("volume message", "question to the engine", {"a.json": asked, "a.npy": voxels}, len(asked)),
    ]


def _scene(folder: Path) -> Specimen:
    from FetusMapV2Lib.scene.scene_writing import write_pose_scene

    pose = Pose(np.random.default_rng(1).uniform(5, 60, (22, 3)))
    write = lambda path: write_pose_scene(path, sample(_SHAPE, _SPACING), pose)  # noqa: E731
    return Specimen("scene", "scene (.mrb)", _written(folder, write, "a.mrb"))
