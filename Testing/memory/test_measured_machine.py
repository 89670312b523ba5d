"""A device is measured once; damaged, foreign and impossible measurements cost a line, never a plan."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from FetusMapV2Lib.core.errors import UserError
from FetusMapV2Lib.memory import measured_machine
from FetusMapV2Lib.memory.cost_model import CostModel
from FetusMapV2Lib.memory.kernels import TorchKernels
from FetusMapV2Lib.memory.ledger import Ledger
from FetusMapV2Lib.memory.machine import Machine
from FetusMapV2Lib.memory.machine_files import (
    SHIPPED,
    cached_path,
    machine_named,
    measurement_key,
    precision_name,
    read_cached,
    read_machine_file,
    shipped_for,
    write_cached,
)
from FetusMapV2Lib.memory.measured_machine import machine_for
from FetusMapV2Lib.memory.micro_benchmarks import OperationTimer, prepared
from FetusMapV2Lib.memory.operations import CONVOLUTIONS, Operation
from FetusMapV2Lib.memory.plan import Choices
from FetusMapV2Lib.memory.planner import plan_training
from FetusMapV2Lib.memory.timings import Timing, Timings
from FetusMapV2Lib.memory.unit_builder import build_units
from FetusMapV2Lib.network.unet import UNet3d

SIZE = (16, 16, 16)
CPU = torch.device("cpu")
F32 = torch.float32


@pytest.fixture(scope="module")
def network() -> UNet3d:
    return UNet3d(1, 3, (4, 8))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FETUSMAPV2_DATA", str(tmp_path / "Eigene Daten"))
    return tmp_path / "Eigene Daten"


def convolution(rows: int, seconds: float, weight: tuple[int, ...] = (8, 8, 3, 3, 3), workspace: int = 0) -> Timing:
    return Timing.of(asked(rows, weight), seconds, workspace)


def asked(rows: int, weight: tuple[int, ...] = (8, 8, 3, 3, 3)) -> Operation:
    flops = 2 * math.prod(weight) * 16 * 16 * rows
    return Operation("conv", (1, weight[0], rows, 16, 16), F32, 0, flops, weight, (1, 1, 1, 1, 1, 1))


def test_heights_between_measured_slabs_are_interpolated():
    timings = Timings((convolution(8, 0.010, workspace=800), convolution(32, 0.034)), launch_s=0.001)
    assert timings.of(asked(8)) == 0.010
    assert timings.of(asked(16)) == pytest.approx(0.018)
    assert timings.of(asked(64)) == pytest.approx(0.001 + 0.033 * 2)
    assert timings.of(asked(4)) == pytest.approx(0.001 + 0.009 / 2)
    assert timings.workspace(asked(4)) == 400
    assert timings.seconds([(asked(8), 3)]) == pytest.approx(0.03)


def test_only_what_cannot_hide_behind_the_computation_is_waited_for():
    """Two copies of 3 s each beside 4 s of work: the second is over 2 s after it; a third is done by the time."""
    ledger = Ledger(duration=lambda operation: 4.0, transfer_s=1.0)
    first, second = ledger.transfer(3), ledger.transfer(3)
    ledger.work("add", torch.zeros(1), 0)
    ledger.wait(first)
    assert ledger.waited == 0
    ledger.wait(second)
    assert ledger.waited == 2
    ledger.work("add", torch.zeros(1), 0)
    third = ledger.transfer(3)
    ledger.work("add", torch.zeros(1), 0)
    ledger.wait(third)
    assert ledger.waited == 2
    assert Machine(flops_per_s=math.inf, bytes_per_s=math.inf, launch_s=0.0).seconds(ledger) == 2


def test_channels_that_were_not_measured_are_scaled_from_the_most_similar():
    timings = Timings((convolution(8, 0.01), convolution(8, 0.5, (128, 128, 3, 3, 3))))
    assert timings.of(asked(8, (8, 16, 3, 3, 3))) == pytest.approx(0.02)
    assert timings.workspace(asked(8, (4, 4, 3, 3, 3))) == 0


def test_passes_that_were_not_measured_go_by_the_bytes_of_the_others():
    timings = Timings((Timing("copy", (10,), "float32", 1000, 0, (), (), 0.01),))
    assert timings.of(Operation("copy", (10,), F32, 2000)) == pytest.approx(0.02)
    assert timings.of(Operation("times", (10,), F32, 500)) == pytest.approx(0.005)


def test_every_kind_that_is_counted_can_be_timed():
    """But for units that run as they are."""
    network = UNet3d(1, 3, (4, 8))
    kinds = set()
    machine = Machine()
    for choices in (Choices(), Choices(in_place=False, split_concat=False, fused_head=False), Choices(slab_rows=8)):
        counted = CostModel(build_units(network), SIZE, machine=machine).operations(choices)
        kinds |= {operation for operation in counted if operation.kind not in ("call", "call_backward")}
    one_of_each = {operation.kind: operation for operation in kinds}
    timer = OperationTimer(TorchKernels(), CPU, 0.001)
    assert set(one_of_each) > CONVOLUTIONS
    for kind, operation in one_of_each.items():
        found = timer.time(operation)
        assert found is not None and found.seconds > 0, kind
    assert prepared(TorchKernels(), one_of_each["copy"]._replace(kind="magic"), CPU) is None


def test_a_device_is_measured_once(network, folder):
    told: list[str] = []
    options = {"device": "cpu", "limit_s": 0.2, "tell": told.append}
    first = machine_for(network, SIZE, **options)
    assert first.basis == "measured" and first.timings is not None
    assert {step.way for step in first.timings.steps} >= {"plain"}
    assert len(told) == 2 and str(folder) in told[1]
    assert machine_for(network, SIZE, **options) == first and len(told) == 2
    plan = plan_training(network, SIZE, machine=first)
    assert plan.prediction.basis.startswith("measured, ")
    assert plan.prediction.seconds > 0 and "predicted" in plan.summary()
    fast = plan_training(network, SIZE, machine=first, budget_bytes=10**10).prediction
    assert fast.seconds <= fast.vanilla_seconds


def test_measuring_leaves_the_network_and_random_numbers_alone(network, folder):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    random = torch.get_rng_state()
    machine_for(network, SIZE, device="cpu", limit_s=0.1, tell=lambda line: None)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert torch.equal(torch.get_rng_state(), random)


def kept(network: UNet3d) -> tuple[dict[str, str], Machine]:
    key = measurement_key(network, SIZE, CPU, "fp32", 1)
    machine = replace(Machine.cpu(), basis="measured", timings=Timings((convolution(8, 0.01),)))
    assert write_cached(key, machine) == cached_path(key)
    assert read_cached(key) == machine
    return key, machine


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"version": 1}', "\0"])
def test_damaged_measurements_are_made_again(network, folder, damage):
    key, _ = kept(network)
    cached_path(key).write_text(damage, encoding="utf-8")
    assert read_cached(key) is None
    assert machine_for(network, SIZE, device="cpu", limit_s=0.05, tell=lambda line: None).measured
    assert read_cached(key) is not None


def test_measurements_of_another_device_version_or_network_are_not_used(network, folder):
    key, _ = kept(network)
    content = json.loads(cached_path(key).read_text(encoding="utf-8"))
    for changed in ({"version": 2}, {"key": {**key, "driver": "another"}}):
        cached_path(key).write_text(json.dumps({**content, **changed}), encoding="utf-8")
        assert read_cached(key) is None
    others = [
        measurement_key(UNet3d(1, 3, (4, 12)), SIZE, CPU, "fp32", 1),
        measurement_key(network, SIZE, CPU, "bf16", 1),
        measurement_key(network, (32, 16, 16), CPU, "fp32", 1),
    ]
    assert len({cached_path(one) for one in [key, *others]}) == 4


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_costs_a_line(network, folder):
    folder.mkdir()
    folder.chmod(0o500)
    assert machine_for(network, SIZE, device="cpu", limit_s=0.05, tell=lambda line: None).measured


def test_a_file_in_place_of_the_folder_costs_a_line(network, folder, caplog):
    folder.write_text("in the way")
    assert machine_for(network, SIZE, device="cpu", limit_s=0.05, tell=lambda line: None).measured
    assert "cannot be kept" in caplog.text


def test_what_cannot_be_measured_is_planned_by_the_table(network, folder, monkeypatch):
    def out_of_memory(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB\nmore")

    monkeypatch.setattr(measured_machine, "time_operations", out_of_memory)
    told: list[str] = []
    assert machine_for(network, SIZE, device="cpu", tell=told.append) == Machine.cpu()
    assert "out of memory. Tried to allocate 20 GiB)" in told[-1] and "assumed" in told[-1]


def test_without_a_gpu_plans_rest_on_a_table(network, folder):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    machine = machine_for(network, SIZE, device="cuda", autocast=torch.bfloat16)
    assert (machine.name, machine.basis) == ("NVIDIA H200", "from table")
    assert machine == machine_named("h200", "bf16")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_tables_say_how_each_number_came_about(name):
    from FetusMapV2Lib.core.resources import resource_path

    file = read_machine_file(resource_path("Machines", f"{name}.json"))
    assert set(file.precisions) == {"fp32", "tf32", "bf16"}
    for machine in file.precisions.values():
        assert machine.basis == "from table" and machine.timings is None
        differing = {
            field
            for field, value in vars(machine).items()
            if isinstance(value, float) and value != vars(Machine())[field]
        }
        assert differing <= set(file.how)


def test_a_table_foretells_the_steps_that_it_was_made_of():
    """One step of the paper's network at 176x112x112 on an H200: 0.117 s in TF32, 0.082 s with channels innermost."""
    machine = machine_named("h200", "tf32")
    flops, voxels = 5_690_018_611_200, 176 * 112 * 112
    assert machine.plain_seconds(voxels, flops) == pytest.approx(0.117, rel=0.001)
    assert machine.plain_seconds(voxels, flops, channels_last=True) == pytest.approx(0.082, rel=0.001)


def test_machines_have_names(tmp_path):
    assert machine_named("cpu", "fp32") == Machine.cpu()
    assert shipped_for("NVIDIA H200 NVL", "fp32").name == "NVIDIA H200"
    assert "not of this NVIDIA A100" in shipped_for("NVIDIA A100", "tf32").name
    with pytest.raises(UserError, match="unknown machine 'magic'"):
        machine_named("magic", "fp32")
    path = tmp_path / "notes.json"
    path.write_text("{}")
    with pytest.raises(UserError, match="lacks the key version"):
        machine_named(str(path), "fp32")
    assert precision_name("cpu", None) == "fp32" and precision_name("cuda", torch.bfloat16) == "bf16"
