"""What a training keeps of the model it starts from besides its weights: pose library, template, calibration.

They are kept in the folder of the run, so that a resumed run does not depend on the model's file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from FetusMapV2Lib.core.atomic_files import atomic_write
from FetusMapV2Lib.core.errors import InputError, ModelError
from FetusMapV2Lib.models.architectures import build_network
from FetusMapV2Lib.models.calibration import Calibration
from FetusMapV2Lib.models.model_file import load_model
from FetusMapV2Lib.models.model_index import find_model
from FetusMapV2Lib.models.model_tensors import poses_from
from FetusMapV2Lib.network.unet import UNet3d
from FetusMapV2Lib.training.case_folder import Case

_FILE, _NOTE = "start.safetensors", "start"
Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class StartingPoint:
    """A model that a training starts from.

    Attributes:
        identity: of the model.
        poses, template: see `Model`; the template decides where close views are taken, so the weights go with it.
        calibration: of the model; None if it has none.
        network: its weights; None where a run is resumed, which has weights of its own.
    """

    identity: str
    poses: Array
    template: Array
    calibration: Calibration | None
    network: UNet3d | None = None

    @classmethod
    def of_model(cls, name: str | os.PathLike[str]) -> StartingPoint:
        """Start from a model by name or file.

        Raises:
            ModelError: it cannot be read.
        """
        model = load_model(find_model(name))
        return cls(model.identity, model.poses, model.template, model.calibration, model.network)

    @classmethod
    def of_run(cls, folder: Path) -> StartingPoint | None:
        """What a run was started from; None if it was started from random weights, or by an earlier version.

        Raises:
            InputError: its file is damaged.
        """
        path = folder / _FILE
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt") as content:
                note = json.loads(content.metadata()[_NOTE])
                poses, template = poses_from(content.get_tensor("poses"), content.get_tensor("template"), path)
            kept = note["calibration"]
            calibration = None if kept is None else Calibration.from_dict(kept, where=path)
            return cls(str(note["identity"]), poses, template, calibration)
        except (SafetensorError, OSError, ValueError, LookupError, TypeError, ModelError) as error:
            remedy = "Restore a good copy of it, or start a new run"
            raise InputError("what the run was started from cannot be read", where=path, remedy=remedy) from error

    def write(self, folder: Path) -> None:
        """Keep it in the folder of a run.

        Raises:
            OutputError: it cannot be written.
        """
        calibration = None if self.calibration is None else self.calibration.to_dict()
        note = json.dumps({"identity": self.identity, "calibration": calibration})
        tensors = {"poses": torch.from_numpy(self.poses.copy()), "template": torch.from_numpy(self.template.copy())}
        with atomic_write(folder / _FILE) as temporary:
            temporary.write_bytes(save(tensors, metadata={_NOTE: note}))

    def as_seen(self, cases: Sequence[Case]) -> list[Case]:
        """The cases with landmarks where the network sees them, so that the model's shift holds after it, too."""
        known = self.calibration
        if known is None:
            return list(cases)
        return [case.with_positions(known.as_seen(case.positions, self.template)) for case in cases]

    def load_into(self, config: dict[str, object], *networks: torch.nn.Module | None) -> None:
        """Give networks the model's weights.

        Args:
            config: description of these networks.
            networks: None is left out.

        Raises:
            ModelError: the model has another network.
        """
        assert self.network is not None
        if build_network(config).config != self.network.config:
            raise ModelError(
                "the initial model has another network than the preset",
                where=self.identity,
                remedy="Choose a preset with the same widths",
            )
        for network in networks:
            if network is not None:
                network.load_state_dict(self.network.state_dict())
