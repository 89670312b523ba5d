"""Network descriptions: reversible blocks are named, kept in model files, and give the network back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.memory.paper.reversible import ReversibleBlock
from FetusMapV2Lib.models.architectures import build_network, described_reversible
from FetusMapV2Lib.models.model_file import Model, ModelInfo, load_model, save_model
from FetusMapV2Lib.network.unet import UNet3d, parameter_bytes

PLAIN: dict[str, object] = {"kind": "unet", "landmarks": 22, "widths": [4, 6, 8]}


def test_patterns_choose_the_passes_that_may_be_reversible() -> None:
    assert described_reversible(PLAIN, ["down.*"])["passes"] == ["down.0.second", "down.1.second", "down.2.second"]
    assert described_reversible(PLAIN, ["up.[!0]*"])["passes"] == ["up.1.convs.second"]
    with pytest.raises(UserError, match="may become reversible"):
        described_reversible(PLAIN, ["head"])


def test_a_reversible_network_has_the_weights_of_a_plain_one_and_comes_back_from_a_file(tmp_path: Path) -> None:
    torch.manual_seed(3)
    description = {**PLAIN, "reversible": described_reversible(PLAIN, ["*"])}
    network = build_network(description)
    blocks = [part for part in network.modules() if isinstance(part, ReversibleBlock)]
    assert isinstance(network, UNet3d) and len(blocks) == 5
    # only the norms are more: four of half the width instead of one
    assert parameter_bytes(network) - parameter_bytes(build_network(PLAIN)) == 4 * 2 * (4 + 6 + 8 + 4 + 6)
    info = ModelInfo("rev", network.config, (16, 16, 16), 2.0)
    save_model(tmp_path / "rev.safetensors", Model(network.eval(), np.zeros((1, 22, 3)), np.zeros((22, 3)), info))
    again = load_model(tmp_path / "rev.safetensors").network
    volume = torch.randn(1, 1, 16, 16, 16)
    with torch.inference_mode():
        assert torch.equal(again(volume), network(volume))
    assert again.config == network.config


@pytest.mark.parametrize(
    "reversible",
    [{"passes": ["down.0.first"], "couplings": 2, "depth": 1}, {"passes": ["down.9"]}, {"couplings": 2, "depth": 1}],
)
def test_a_wrong_description_is_said(reversible: dict[str, object]) -> None:
    with pytest.raises(UserError):
        build_network({**PLAIN, "reversible": reversible})
