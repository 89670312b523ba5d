"""The campaigns of training and engine in their short form; docs/reliability.md tells what long ones gave."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from cli.synthetic_balls import model_of
from robustness import checkpoint_bitrot, endurance, kill_campaign, start_stop

from FetusMapV2Lib.models.model_file import save_model
from FetusMapV2Lib.network.unet import UNet3d

linux = pytest.mark.skipif(sys.platform != "linux", reason="counts what Linux tells of processes")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Quick to load and to run."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    network = UNet3d(widths=(2, 3, 4))
    save_model(path, model_of(network, input_size=(32, 24, 24)).with_info(network=dict(network.config)))
    return str(path)


def test_no_flipped_bit_of_a_checkpoint_is_trained_on(tmp_path: Path) -> None:
    assert checkpoint_bitrot.campaign(20, 3, tmp_path) == {"refused": 20}


@linux
def test_estimates_leave_memory_files_and_threads_as_they_were(model: str) -> None:
    taken = endurance.campaign(20, model, (32, 24, 24), warm=10)
    memory = np.array([one.rss_mib for one in taken])
    assert memory[-5:].mean() - memory[:5].mean() < endurance.FLAT_MIB
    assert len({(one.files, one.threads) for one in taken}) == 1


@linux
def test_whichever_way_an_engine_ends_nothing_is_left(model: str) -> None:
    ways, left = start_stop.campaign(4, 1, model)  # the others are slower, and have tests of their own
    assert len(ways) == 4
    assert (left.processes, left.files) == (0, {}) and left.open_files <= 0
    assert left.threads <= 0


@linux
def test_a_command_that_is_ended_at_any_moment_leaves_whole_files_and_no_process(tmp_path: Path) -> None:
    known = kill_campaign.jobs(tmp_path / "material", kill_campaign.QUICK)
    tally = kill_campaign.campaign(2, 7, tmp_path, {"estimate": known["estimate"]})
    assert tally.wrong == []
    assert len(tally.ended) == 2
