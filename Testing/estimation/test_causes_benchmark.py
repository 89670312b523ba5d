"""Causes of failure as Testing/benchmarks/why_volumes_fail.py names them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from benchmarks.why_volumes_fail import Stages

FAR = Stages(found=15.0, torso=14.0, aimed=14.0, along=(15.0, 16.0), turned=40.0, sac_mm=np.inf)


@pytest.mark.parametrize(
    ("what", "cause"),
    [
        ({"found": 2.9}, "right"),
        ({"found": 5.0, "torso": 2.0}, "limbs"),
        ({}, "network, with fluid"),
        ({"sac_mm": 1.4}, "network, no fluid"),
        ({"aimed": 6.2}, "network, with fluid"),
        ({"aimed": 2.8}, "search, not met"),
        ({"aimed": 2.8, "along": (15.0, 3.0)}, "search, not chosen"),
        ({"aimed": 2.8, "along": ()}, "search, not met"),
    ],
)
def test_the_first_cause_that_holds_is_named(what: dict[str, object], cause: str) -> None:
    assert replace(FAR, **what).cause == cause
