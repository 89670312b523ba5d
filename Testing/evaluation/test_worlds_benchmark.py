"""The tables of the benchmark of several worlds, from answers that are known."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks import worlds as benchmark
from training.toy_cases import BODY

from FetusMapV2Lib.anatomy.schema import default_schema


class Answer:
    """What a model says of one volume, as far as these tables ask."""

    def __init__(self, positions: np.ndarray) -> None:
        self.positions = positions


def world(positions: list[np.ndarray], truths: list[np.ndarray]) -> benchmark.World:
    return benchmark.World([Answer(one) for one in positions], np.array(truths), np.full(len(truths), np.inf))


def with_arm(length: float) -> np.ndarray:
    """The toy body with a left arm of this length in crown-rump lengths, stretched to the left."""
    body, schema = BODY.copy(), default_schema()
    shoulder, elbow, wrist = schema.rows("la")
    part = length / 2 * np.linalg.norm(body[schema.index("cranial_crest")] - body[schema.index("rump")])
    body[elbow], body[wrist] = body[shoulder] + [part, 0, 0], body[shoulder] + [2 * part, 0, 0]
    return body


def test_ends_of_limbs_are_counted_by_the_length_of_the_limb() -> None:
    """A wrist is far off in one body; another body is lost and a third has no known wrist: neither counts."""
    wrist = default_schema().rows("la")[-1]
    truths = [with_arm(length) for length in (0.3, 0.36, 0.45, 0.45, 0.45)]
    seen = [truth.copy() for truth in truths]
    seen[2][wrist, 0] -= benchmark.FAR_MM + 1
    seen[3] += 20.0
    truths[4][wrist] = np.nan
    lengths, errors = benchmark.lengths_and_errors(world(seen, truths), ("la",))
    assert lengths == pytest.approx([0.3, 0.36, 0.45]) and errors == pytest.approx([0, 0, benchmark.FAR_MM + 1])
    parts = [world(seen[:2], truths[:2]), world(seen[2:], truths[2:])]
    rows = {row[0]: row[1:] for row in benchmark.rows_by_limb(parts)}
    assert all(len(cells) == 3 for cells in rows.values()) and len(rows) == 8
    assert rows["arms, 0.42-1.00 CRL"] == ["", "1 of 1", "1 of 1"]
    assert rows["arms, 0.34-0.38 CRL"][0] == "0 of 1"
    assert sum(int(cells[2].split(" of ")[0]) for cells in rows.values() if cells[2]) == 1


def test_bodies_are_told_by_how_far_the_sac_is() -> None:
    truths = [BODY, BODY + 1.0, BODY]
    seen = [BODY + np.array([30.0, 0, 0]), BODY + 1.0, BODY + np.array([2.0, 0, 0])]
    one = benchmark.World([Answer(body) for body in seen], np.array(truths), np.array([1.0, 2.0, np.inf]))
    near, far = benchmark.rows_by_sac([one])
    assert near[1] == "2: 15.00 / 15.00, 1 lost" and far[1] == "1: 2.00 / 2.00, 0 lost"
