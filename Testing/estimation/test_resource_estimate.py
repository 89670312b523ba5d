"""The memory that an estimate is expected to take."""

from __future__ import annotations

from FetusMapV2Lib.estimation.resource_estimate import expected_bytes

MIB = 2**20


def test_on_the_cpu_the_process_is_counted_and_on_a_gpu_what_lies_there() -> None:
    assert expected_bytes(100 * MIB, 10 * MIB, on_gpu=False) == (450 + 2 * 100 + 3 * 10) * MIB
    assert expected_bytes(100 * MIB, 10 * MIB, on_gpu=True) == (125 + 6 * 10) * MIB
    assert expected_bytes(None, 10 * MIB, on_gpu=False) is None
