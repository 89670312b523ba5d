"""Time from moving one landmark until skeletons, names, plane, lengths, calliper and measurements have followed.

    python Testing/benchmarks/scene_update.py [--moves 1000]

Prints the median per move, the same for a bare node of 22 points, and the ratio.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import slicer

from FetusMapV2Lib.anatomy.pose import Pose
from FetusMapV2Lib.scene.pose_scene import PoseScene
from FetusMapV2Lib.scene.scene_files import open_scene

LIMIT_MS = 5.0


def milliseconds(node: Any, path: np.ndarray, after: Callable[[], object] = lambda: None) -> list[float]:
    """Time of each move of the points in turn along `path` (moves, 3)."""
    times = []
    for number, (x, y, z) in enumerate(path.tolist()):
        row = number % 22
        begin = time.perf_counter()
        node.SetNthControlPointPositionWorld(row, x, y, z)
        after()
        times.append(1000 * (time.perf_counter() - begin))
    return times


def bare_node(scene: slicer.vtkMRMLScene, positions: np.ndarray) -> Any:
    """A fiducial node of 22 points that nothing depends on."""
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode")
    for x, y, z in positions.tolist():
        node.AddControlPoint(x, y, z)
    return node


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--moves", type=int, default=1000)
    moves = parser.parse_args().moves
    random = np.random.default_rng(1)
    positions = random.normal(0, 20, (22, 3))
    path = random.normal(0, 20, (moves, 3))
    with open_scene() as scene:
        for name in ("Red", "Yellow", "Green"):  # the projected skeleton in three slices
            scene.AddNewNodeByClass("vtkMRMLSliceNode").SetLayoutName(name)
        bare = statistics.median(milliseconds(bare_node(scene, positions), path))
        fetus = PoseScene.create(scene, Pose(positions, np.full(22, 0.8), np.full(22, 2.0)))
        table: list[object] = []
        fetus.add_listener(lambda which: table.append(which.measurements()))
        begin = time.process_time()
        times = milliseconds(fetus.landmarks_node, path)
        processor = 1000 * (time.process_time() - begin) / moves
        full = statistics.median(times)
        assert len(table) == moves, "each move is told once"
    print(f"moves                              {moves}")
    print(f"bare node of 22 points, median     {bare:8.4f} ms")
    print(f"pose with all followers, median    {full:8.4f} ms   (95 %: {np.percentile(times, 95):.3f} ms)")
    print(f"the same, processor time, mean     {processor:8.4f} ms")
    print(f"ratio                              {full / bare:8.1f}")
    print(f"limit {LIMIT_MS:.0f} ms: {'met' if full <= LIMIT_MS else 'MISSED'}")


if __name__ == "__main__":
    main()
