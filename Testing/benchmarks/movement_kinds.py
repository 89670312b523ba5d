"""How well kinds of movement are told apart, on simulated poses of known movements with the errors of landmarks.

    .venv/bin/python Testing/benchmarks/movement_kinds.py [--sequences 25]

Poses and errors only, no pictures: each sequence has two movements of each kind in random order, at four frames a
second. An event counts for the true movement that it overlaps most; events at rest are false, movements without one are
missed.
"""

from __future__ import annotations

import argparse
from collections import Counter

import numpy as np

from FetusMapV2Lib.anatomy.activity import KINDS, Event
from FetusMapV2Lib.anatomy.movement import analyse_movement
from FetusMapV2Lib.anatomy.schema import default_schema
from FetusMapV2Lib.phantom.kinds_of_movement import KnownMovement, moving_poses, seen_with_errors

#: Seeds of no setting: the limits were set on sequences 0 to 29.
FIRST_SEED = 10_000
INTERVAL_S = 0.25
SIMULATED = ("arm", "leg", "trunk", "jump")
#: Standard deviations per axis, mm, of errors that change from frame to frame.
ERRORS_MM = (0.0, 0.35, 0.6)
RADIUS90_MM = 2.5


def main() -> None:
    """Print a table for each error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sequences", type=int, default=25)
    sequences = parser.parse_args().sequences
    for error in ERRORS_MM:
        print(f"\nErrors of {error:g} mm per axis and frame, {sequences} sequences\n")
        print(table(confusion(sequences, error)))


def confusion(sequences: int, error_mm: float, first_seed: int = FIRST_SEED) -> Counter[tuple[str, str]]:
    """How often a true kind ("rest": none) was taken for a kind ("missed": none)."""
    counts: Counter[tuple[str, str]] = Counter()
    for seed in range(first_seed, first_seed + sequences):
        generator = np.random.default_rng(seed)
        positions, known = moving_poses(generator, [str(kind) for kind in generator.permutation(SIMULATED * 2)])
        seen = seen_with_errors(generator, positions, changing_mm=error_mm)
        radii = np.full(seen.shape[:2], RADIUS90_MM)
        movement = analyse_movement(seen, default_schema(), INTERVAL_S * np.arange(len(seen)), radii)
        counts.update(_matched(known, movement.activity.events))
    return counts


def _matched(known: list[KnownMovement], events: tuple[Event, ...]) -> list[tuple[str, str]]:
    pairs, used = [], set()
    for true in known:
        shared = [min(event.last, true.last) - max(event.first, true.first) + 1 for event in events]
        best = int(np.argmax(shared)) if shared else -1
        if best < 0 or shared[best] <= 0:
            pairs.append((true.kind, "missed"))
        else:
            used.add(best)
            pairs.append((true.kind, events[best].kind))
    return pairs + [("rest", event.kind) for number, event in enumerate(events) if number not in used]


def f1_scores(counts: Counter[tuple[str, str]]) -> dict[str, float]:
    """F1 of each simulated kind."""
    scores = {}
    for kind in SIMULATED:
        right = counts[kind, kind]
        wrong = sum(count for (true, found), count in counts.items() if (true == kind) != (found == kind))
        scores[kind] = 2 * right / max(2 * right + wrong, 1)
    return scores


def table(counts: Counter[tuple[str, str]]) -> str:
    """The confusion in Markdown, with F1 of each kind and their mean."""
    found, scores = [*KINDS, "missed"], f1_scores(counts)
    lines = [f"| true | {' | '.join(found)} | F1 |", f"| --- |{' --: |' * (len(found) + 1)}"]
    for true in (*SIMULATED, "rest"):
        score = f"{scores[true]:.2f}" if true in scores else ""
        lines.append(f"| {true} | {' | '.join(str(counts[true, kind]) for kind in found)} | {score} |")
    return "\n".join([*lines, "", f"Macro F1 {np.mean(list(scores.values())):.2f}"])


if __name__ == "__main__":
    main()
