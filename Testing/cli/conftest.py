"""The command line as a user meets it: arguments in, exit code and both streams out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from FetusMapV2Lib import cli


@dataclass(frozen=True)
class Answer:
    """What one command gave back."""

    code: int
    out: str
    err: str

    def errors(self) -> list[str]:
        """The lines that report an error."""
        return [line for line in self.err.splitlines() if line.startswith("Error:")]


Command = Callable[..., Answer]


@pytest.fixture
def fetusmap(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs `fetusmap ARGUMENTS` in this process, through the same entry as the installed command."""

    def run(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["fetusmap", *map(str, arguments)])
        capfd.readouterr()
        code: object = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code
        printed = capfd.readouterr()
        assert "Traceback" not in printed.out + printed.err
        return Answer(int(code or 0), printed.out, printed.err)  # type: ignore[call-overload]

    return run


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model that takes everything for a fetus."""
    import torch
    from cli.synthetic_balls import BallReader, model_of

    from FetusMapV2Lib.models.calibration import uncalibrated
    from FetusMapV2Lib.models.model_file import Model, save_model
    from FetusMapV2Lib.network.unet import UNet3d

    torch.manual_seed(1)
    network = UNet3d(widths=(2, 3, 4))
    stub = model_of(BallReader(), input_size=(32, 24, 24))
    info = replace(stub.info, name="untrained", network=dict(network.config))
    path = tmp_path_factory.mktemp("models") / "untrained.safetensors"
    save_model(path, Model(network, stub.poses, stub.template, info, uncalibrated()))
    return path


@pytest.fixture
def sees_balls(monkeypatch: pytest.MonkeyPatch) -> None:
    """`estimate` gets an engine whose answer on ball volumes is known."""
    from cli.synthetic_balls import ball_engine

    from FetusMapV2Lib.estimation.engine import PoseEngine

    monkeypatch.setattr(PoseEngine, "load", classmethod(lambda cls, *_: ball_engine()))


@pytest.fixture
def sees_only_balls(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `sees_balls`, and where there are none it finds no fetus."""
    from cli.synthetic_balls import ball_engine

    from FetusMapV2Lib.estimation.engine import PoseEngine
    from FetusMapV2Lib.models.calibration import uncalibrated

    calibration = replace(uncalibrated(), detection_threshold=0.2)
    monkeypatch.setattr(PoseEngine, "load", classmethod(lambda cls, *_: ball_engine(calibration=calibration)))
