"""Checkpoints and the folder of a run: what is damaged or another's is never trained on, and one training at a time."""

from __future__ import annotations

import json
import logging
import pickle
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.torch_version import TorchVersion
from training.tiny_run import PRESET, CutError, fit_on_cpu
from training.toy_cases import write_toy_cases

from FetusMapV2Lib.core import stop_signals
from FetusMapV2Lib.core.errors import InputError, UserError
from FetusMapV2Lib.core.locks import LockedError
from FetusMapV2Lib.core.stop_signals import Stopped
from FetusMapV2Lib.models.model_file import load_model
from FetusMapV2Lib.training.checkpoints import read_checkpoint, write_checkpoint


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("Fälle")
    write_toy_cases(folder, 2)
    return folder


def cut_run(cases: Path, folder: Path, seed: int = 0) -> Path:
    """A run that ended after its first checkpoint."""

    def cut(fraction: float, _: str) -> None:
        if fraction == 0.75:
            raise CutError

    with pytest.raises(CutError):
        fit_on_cpu(PRESET, cases, folder, seed=seed, on_progress=cut)
    return folder


@pytest.fixture(scope="module")
def begun(cases: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cut_run(cases, tmp_path_factory.mktemp("runs") / "begun")


@pytest.fixture
def run(begun: Path, tmp_path: Path) -> Path:
    """A copy of it to damage."""
    return Path(shutil.copytree(begun, tmp_path / "run"))


def refused(run: Path, cases: Path, said: str) -> None:
    with pytest.raises(UserError, match=said) as error:
        fit_on_cpu(PRESET, cases, run, resume=True)
    assert "\n" not in str(error.value) and len(str(error.value)) < 600
    assert not (run / "model.safetensors").exists()


def test_a_flipped_bit_anywhere_is_noticed(run: Path, cases: Path) -> None:
    path = run / "last.ckpt"
    content = path.read_bytes()
    places = random.Random(1).sample(range(len(content)), 40) + list(range(-100, 0, 7))
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << (place % 8)
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="checkpoint"):
            read_checkpoint(path)
    refused(run, cases, "checksum")


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"not a checkpoint",
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2],
        lambda content: content + b"\0",
        lambda content: content[1:],
        lambda content: pickle.dumps({"global_step": 2}),
    ],
    ids=["empty", "text", "a byte short", "half", "a byte long", "beheaded", "pickle"],
)
def test_what_is_no_whole_checkpoint_is_one_line(run: Path, cases: Path, damage: Callable[[bytes], bytes]) -> None:
    path = run / "last.ckpt"
    path.write_bytes(damage(path.read_bytes()))
    refused(run, cases, "the checkpoint cannot be used")


def test_the_checkpoint_of_another_run_is_refused(run: Path, cases: Path, tmp_path: Path) -> None:
    other = cut_run(cases, tmp_path / "other", seed=1)
    shutil.copyfile(other / "last.ckpt", run / "last.ckpt")
    refused(run, cases, "belongs to another run")


@pytest.mark.parametrize("state", [[1], {}, {"global_step": "2", "state_dict": {}}, {"global_step": 2}])
def test_a_foreign_archive_with_a_checksum_is_refused(run: Path, cases: Path, state: object) -> None:
    write_checkpoint(run / "last.ckpt", lambda path: torch.save(state, path))
    refused(run, cases, "no training state")


def test_nothing_in_a_checkpoint_is_run(run: Path, cases: Path, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "ran",)

    write_checkpoint(run / "last.ckpt", lambda path: torch.save({"global_step": 2, "state_dict": Evil()}, path))
    refused(run, cases, "cannot be used")
    assert not (tmp_path / "ran").exists()


def test_a_run_of_an_earlier_version_goes_on_with_a_warning(
    run: Path, cases: Path, caplog: pytest.LogCaptureFixture
) -> None:
    notes = json.loads((run / "run.json").read_text(encoding="utf-8"))
    del notes["checkpoints_have_checksums"]
    (run / "run.json").write_text(json.dumps(notes), encoding="utf-8")
    path = run / "last.ckpt"
    state = torch.load(path, weights_only=True)
    del state["run"]
    torch.save(state, path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1  # an archive has check sums of its own
    path.write_bytes(content)
    refused(run, cases, "damaged")
    torch.save(state, path)
    with caplog.at_level(logging.WARNING):
        assert fit_on_cpu(PRESET, cases, run, resume=True).is_file()
    assert "no checksum" in caplog.text
    read_checkpoint(path)  # the next one has it


def test_torch_that_could_run_code_of_a_checkpoint_is_refused(
    run: Path, cases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "__version__", TorchVersion("2.5.1+cpu"))
    with pytest.raises(UserError, match=r"PyTorch 2\.5\.1\+cpu cannot read checkpoints safely.*2\.6 or newer"):
        fit_on_cpu(PRESET, cases, run, resume=True)


@pytest.mark.parametrize(
    ("notes", "said"),
    [
        ("", "not valid JSON"),
        ("[]", "no JSON object"),
        ("[" * 9999, "record of the run"),
        ({"preset": None}, "must have a JSON object as preset"),
        ({"seed": True}, "seed must be a whole number"),
        ({"training": "case-00"}, "training must be a list"),
        ({"training": [7]}, r"training\[0\] must be text"),
        ({"held_out": 5}, "held_out must be a list"),
    ],
)
def test_notes_that_cannot_be_used_are_one_line(run: Path, cases: Path, notes: object, said: str) -> None:
    path = run / "run.json"
    if isinstance(notes, dict):
        notes = json.dumps({**json.loads(path.read_text(encoding="utf-8")), **notes})
    path.write_text(str(notes), encoding="utf-8")
    refused(run, cases, said)


def test_a_second_training_in_the_folder_is_refused(cases: Path, tmp_path: Path) -> None:
    asked = []

    def another(fraction: float, _: str) -> None:
        if not asked:
            asked.append(fraction)
            for resume in (False, True):
                with pytest.raises(LockedError, match="in use by process"):
                    fit_on_cpu(PRESET, cases, tmp_path / "run", resume=resume)

    assert fit_on_cpu(PRESET, cases, tmp_path / "run", on_progress=another).is_file()
    assert asked
    assert not (tmp_path / "run" / ".training.lock").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_run_that_is_told_to_stop_keeps_its_last_step(
    cases: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    def tell(fraction: float, _: str) -> None:
        if fraction == 0.25:
            signal.raise_signal(number)

    folder, handler = tmp_path / "run", signal.getsignal(number)
    with pytest.raises(Stopped) as stop:
        fit_on_cpu(PRESET, cases, folder, on_progress=tell)
    assert stop.value.exit_code == code
    assert stop.value.kept == f"Stopped after step 1 of 4; {folder / 'last.ckpt'} is kept: go on from it with --resume."
    assert read_checkpoint(folder / "last.ckpt")["global_step"] == 1
    assert not (folder / "model.safetensors").exists() and not list(folder.glob(".*"))
    assert signal.getsignal(number) == handler
    cut, whole = (load_model(fit_on_cpu(PRESET, cases, one, resume=True)) for one in (folder, tmp_path / "whole"))
    assert cut.identity == whole.identity


def test_a_second_signal_ends_a_run_at_once(cases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop_signals, "SAME_REQUEST_S", 0.0)
    steps = []

    def tell(fraction: float, _: str) -> None:
        steps.append(fraction)
        if fraction == 0.75:
            for _ in range(2):
                signal.raise_signal(signal.SIGTERM)

    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(Stopped) as stop:
            fit_on_cpu(PRESET, cases, tmp_path, on_progress=tell)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert (stop.value.exit_code, steps[-1]) == (143, 0.75)
    assert read_checkpoint(tmp_path / "last.ckpt")["global_step"] == 2
    assert not (tmp_path / ".training.lock").exists()


def test_a_wish_that_cannot_be_met_leaves_no_folder(cases: Path, tmp_path: Path) -> None:
    for preset, device in (("no-such-preset", "cpu"), (PRESET, "abacus")):
        with pytest.raises(UserError):
            fit_on_cpu(preset, cases, tmp_path / "run", device=device)
    assert not (tmp_path / "run").exists()
