"""Host memory: transfers in order, memory that is used again, and nothing lost when a step breaks off."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from memory.networks import error, managed, run, small_unet, volume
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from FetusMapV2Lib.memory.execution import Execution
from FetusMapV2Lib.memory.kernels import TorchKernels
from FetusMapV2Lib.memory.ledger import Ledger
from FetusMapV2Lib.memory.meter import PeakMeter
from FetusMapV2Lib.memory.offload import Copies, CudaCopies, HostMemory, HostRows, Parked
from FetusMapV2Lib.memory.plan import Choices, UnitChoice
from FetusMapV2Lib.memory.shape_tensors import ShapeKernels
from FetusMapV2Lib.memory.unit_builder import build_units

CPU = torch.device("cpu")


@dataclass(eq=False)
class Copied:
    into: tuple[Any, ...]
    source: tuple[Any, ...]
    done: bool = False


class LateCopies:
    """Copies as late as a GPU may: only when the computation waits. What was dropped or changed before then shows."""

    def __init__(self) -> None:
        self.queue: list[Copied] = []
        self.hosts = 0

    def host(self, count: int) -> Tensor:
        self.hosts += 1
        return torch.full((count,), 255, dtype=torch.uint8)

    def copy(self, into: Tensor, source: Tensor) -> Copied:
        self.queue.append(Copied(_place(into), _place(source)))
        return self.queue[-1]

    def wait(self, copied: Copied) -> None:
        if copied.done:
            return
        while self.queue:
            first = self.queue.pop(0)
            _at(first.into).copy_(_at(first.source))
            first.done = True
            if first is copied:
                return


def _place(x: Tensor) -> tuple[Any, ...]:
    """Where a tensor lies, without keeping it; its storage lives with any view of it."""
    return StorageWeakRef(x.untyped_storage()), x.dtype, x.storage_offset(), tuple(x.shape), x.stride()


def _at(place: tuple[Any, ...]) -> Tensor:
    weak, dtype, offset, shape, stride = place
    storage = torch.UntypedStorage._new_with_weak_ptr(weak.cdata)
    assert storage is not None, "memory was freed while a copy uses it"
    return torch.empty(0, dtype=dtype).set_(storage, offset, shape, stride)


@pytest.fixture(params=["late", "cpu", "cuda"])
def memory(request: pytest.FixtureRequest) -> HostMemory:
    if request.param == "cuda":
        if not torch.cuda.is_available():
            pytest.skip("no GPU")
        return HostMemory(torch.device("cuda"))
    return HostMemory(CPU, LateCopies() if request.param == "late" else None)


def step(memory: HostMemory, tensors: list[Tensor], breaks_at: int | None = None) -> None:
    """A forward pass that parks tensors, and a backward pass that fetches them, as the executors do."""
    expected = [x.clone() for x in tensors]
    parked: list[Parked] = []
    while tensors:
        parked.append(memory.park(tensors.pop(0)))
    while parked:
        if len(parked) == breaks_at:
            raise RuntimeError("broken off")
        found = memory.fetch(parked.pop())
        assert torch.equal(found, expected.pop())
        found.zero_()  # it is the caller's


def tensors(memory: HostMemory, seed: int = 0, scale: int = 1) -> list[Tensor]:
    draw = torch.Generator().manual_seed(seed)
    shapes = [(1, 3, 4 * scale, 2, 2), (1, 5, 2, 3, 2), (2, 3, 2, 2, 2), (1, 1, 6, 2, 2)]
    made = [torch.randn(shape, generator=draw).to(memory.device) for shape in shapes]
    made[1] = made[1].contiguous(memory_format=torch.channels_last_3d)
    made[2] = made[2].bfloat16()
    return made


def test_what_is_parked_comes_back(memory):
    step(memory, tensors(memory))


def test_layouts_come_back(memory):
    x = tensors(memory)[1]
    assert memory.fetch(memory.park(x)).stride() == x.stride()


def test_a_slice_comes_back(memory):
    x = torch.arange(48.0, device=memory.device).view(1, 4, 3, 2, 2)
    expected = x[:, 1:3].clone()
    assert torch.equal(memory.fetch(memory.park(x[:, 1:3])), expected)


def test_host_memory_does_not_grow_over_steps(memory):
    step(memory, tensors(memory))
    first = memory.allocated
    for seed in range(3):
        step(memory, tensors(memory, seed))
    assert memory.allocated == first
    if isinstance(memory.copies, LateCopies):
        assert memory.copies.hosts == 4


def test_host_memory_of_another_size_is_given_back():
    memory = HostMemory(CPU, LateCopies())
    for scale in (1, 8, 1, 8):
        step(memory, tensors(memory, scale=scale))
        assert memory.allocated <= 2 * sum(x.numel() * x.element_size() for x in tensors(memory, scale=scale))


def test_a_step_that_breaks_off_leaves_nothing_on_the_device(memory):
    with pytest.raises(RuntimeError, match="broken off"):
        step(memory, tensors(memory), breaks_at=2)
    gc.collect()
    memory.clear()
    assert not memory._outgoing and not memory._incoming
    step(memory, tensors(memory, seed=1))


def test_two_tensors_at_most_are_under_way():
    memory = HostMemory(CPU, LateCopies())
    given = tensors(memory)
    held = [StorageWeakRef(x.untyped_storage()) for x in given]
    parked = []
    while given:
        parked.append(memory.park(given.pop(0)))
    assert [each.expired() for each in held] == [True, True, False, False]
    memory.fetch(parked.pop())
    assert all(each.expired() for each in held)


def test_the_one_parked_before_is_fetched_ahead():
    memory = HostMemory(CPU, LateCopies())
    parked = [memory.park(x) for x in tensors(memory)]
    memory.fetch(parked[3])
    assert [each[0]() for each in memory._incoming] == [parked[2]]
    memory.fetch(parked[0])  # out of order: what was fetched ahead stays
    assert [each[0]() for each in memory._incoming] == [parked[2]]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("batch", [1, 2])
def test_rows_are_written_and_read_in_slabs(memory, last, batch):
    x = torch.randn(batch, 3, 9, 2, 4, generator=torch.Generator().manual_seed(0)).to(memory.device)
    x = x.contiguous(memory_format=torch.channels_last_3d) if last else x
    rows = HostRows(memory, tuple(x.shape), x)
    for _ in range(2):
        for i in range(0, 9, 2):
            rows.write(i, min(i + 2, 9), x[:, :, i : min(i + 2, 9)].clone())
        for i in range(0, 9, 2):
            a, b = max(i - 1, 0), min(i + 3, 9)
            found = rows.read(a, b)
            assert torch.equal(found, x[:, :, a:b])
            found.zero_()
    rows.clear()
    memory.clear()


def test_rows_in_even_steps_are_fetched_ahead():
    memory = HostMemory(CPU, LateCopies())
    rows = HostRows(memory, (1, 1, 8, 1, 1), torch.zeros(1, 1, 8, 1, 1))
    rows.write(0, 8, torch.arange(8.0).view(1, 1, 8, 1, 1))
    assert [rows.read(i, i + 2).flatten().tolist() for i in (0, 2, 4)] == [[0, 1], [2, 3], [4, 5]]
    assert rows._ahead is not None and rows._ahead[:2] == (6, 8)
    assert rows.read(0, 3).flatten().tolist() == [0, 1, 2]  # a guess that was wrong


def test_host_memory_of_rows_is_used_again():
    memory = HostMemory(CPU, LateCopies())
    like = torch.zeros(1, 2, 4, 2, 2)
    for _ in range(3):
        rows = HostRows(memory, (1, 2, 4, 2, 2), like)
        rows.write(0, 4, like)
        del rows
        memory.clear()
    assert memory.copies.hosts == 1


@pytest.mark.parametrize("kind", ["whole", "slabs", "streamed"])
def test_executors_leave_alone_what_is_under_way(kind):
    """Gradients are exact, and host memory stays the same over steps, however late the copies are."""
    network, x = small_unet(), volume(size=(16, 8, 16))
    expected = run(network, network, x)
    units = {unit.name: UnitChoice(host=True, rows=4 * (kind == "slabs")) for unit in build_units(network).units}
    streamed = Choices(slab_rows=4, streamed_to_host=("z", "dy"))
    call = managed(network, streamed if kind == "streamed" else Choices(units=units))
    memory = call._host[CPU] = HostMemory(CPU, LateCopies())
    sizes = []
    for _ in range(2):
        found = run(network, call, x)
        assert error(found[0], expected[0]) < 1e-12 and error(found[1], expected[1]) < 1e-12
        sizes.append((memory.allocated, memory.copies.hosts))
        assert not memory._outgoing and not memory._incoming
    assert sizes[0] == sizes[1] and sizes[0][1] > 0


class DeviceMeter(PeakMeter):
    """Counts what does not lie in host memory, which alone is made as bytes."""

    def __init__(self) -> None:
        super().__init__("cpu")
        self.host: set[int] = set()

    def _add(self, tensor: Tensor) -> None:
        place = tensor.untyped_storage().data_ptr()
        if tensor.dtype == torch.uint8:
            self.host.add(place)
        elif place not in self.host:
            super()._add(tensor)


def peak_of_shapes(network: nn.Module, choices: Choices, size: tuple[int, ...], *, copies_beside: bool) -> int:
    """Of a pass with shape tensors."""
    layout = torch.channels_last_3d if choices.channels_last else torch.contiguous_format
    kernels = ShapeKernels(Ledger(), layout=layout, copies_beside=copies_beside)
    kernels.ledger.take(4 * sum(p.numel() for p in network.parameters()))
    executor = Execution(build_units(network)).executor(choices, kernels, keep=True)
    executor.backward(executor.output(kernels.new(size, torch.float32)))
    return kernels.ledger.peak


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("kind", ["whole", "slabs", "streamed"])
def test_a_plan_for_a_gpu_counts_what_is_under_way(kind, last):
    """The predicted peak is that of a real pass whose copies are late; if they were made at once it is lower."""
    network, size = small_unet(torch.float32), (1, 1, 32, 16, 32)
    units = {unit.name: UnitChoice(host=True, rows=8 * (kind == "slabs")) for unit in build_units(network).units}
    streamed = Choices(slab_rows=4, streamed_to_host=("z", "dy"), channels_last=last)
    choices = streamed if kind == "streamed" else Choices(units=units, channels_last=last)
    copies, x = LateCopies(), torch.zeros(size)
    meter = DeviceMeter()
    meter.count(x, list(network.parameters()))
    layout = torch.channels_last_3d if last else torch.contiguous_format
    kernels = TorchKernels(layout, HostMemory(CPU, copies))
    executor = Execution(build_units(network)).executor(choices, kernels, keep=True)
    with torch.no_grad(), meter:
        executor.backward(executor.output(x))
    late = peak_of_shapes(network, choices, size, copies_beside=True)
    assert late == pytest.approx(meter.peak, rel=0.03)
    assert peak_of_shapes(network, choices, size, copies_beside=False) < late


def test_a_single_tensor_that_is_sent_leaves_the_device_when_a_unit_has_run():
    """No two others need to follow it."""
    network, size = small_unet(torch.float32), (1, 1, 32, 16, 32)
    sent = Choices(units={"down.0.second": UnitChoice(host=True)}, in_place=False)
    peaks = [peak_of_shapes(network, c, size, copies_beside=True) for c in (Choices(in_place=False), sent)]
    assert peaks[1] < 0.97 * peaks[0]
    copies = LateCopies()
    memory = HostMemory(CPU, copies)
    memory.park(torch.ones(1))
    memory.next_unit()
    assert copies.queue
    memory.next_unit()
    assert not copies.queue


def test_late_copies_notice_a_tensor_that_is_dropped_too_early():
    copies: Copies = LateCopies()
    host, x = copies.host(4).view(torch.float32), torch.ones(1)
    event = copies.copy(host, x)
    del x
    with pytest.raises(AssertionError, match="freed"):
        copies.wait(event)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_the_copies_of_a_gpu_are_page_locked_and_asynchronous():
    copies = CudaCopies(torch.device("cuda"))
    host, x = copies.host(1 << 20), torch.ones(1 << 20, dtype=torch.uint8, device="cuda")
    assert host.is_pinned()
    copies.copy(host, x).synchronize()
    assert bool((host == 1).all())
