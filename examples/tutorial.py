"""The Python library step by step: a simulated volume, its pose, measurements, a corrected landmark, files, memory.

    python examples/tutorial.py [--output tutorial-output] [--spacing 0.5] [--scene]

Only the public interface is used, `import FetusMapV2Lib`. With --scene a Slicer scene and a report are written, too,
which needs Slicer's libraries: pip install ".[slicer]". The last step needs pip install ".[train]".
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

import FetusMapV2Lib as fm  # noqa: N813

#: Along k, j, i: room for a fetus of 15 weeks.
_EXTENT_MM = (138.0, 94.0, 94.0)
_RUMP = 10


def main(arguments: list[str] | None = None) -> int:
    """The tutorial; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("tutorial-output"), help="folder for the files")
    parser.add_argument("--spacing", type=float, default=0.5, help="voxel size of the simulated volume, mm")
    parser.add_argument("--scene", action="store_true", help="write a Slicer scene and a report, too")
    options = parser.parse_args(arguments)
    try:
        tutorial(options.output, options.spacing, scene=options.scene)
    except fm.UserError as error:  # a file, device or model that cannot be used: one line says what to do
        print(error, file=sys.stderr)
        return 2
    return 0


def tutorial(output: Path, spacing_mm: float, *, scene: bool) -> None:
    """All steps, one after the other."""
    # 1. A volume. With a file of your own: volume = fm.read_volume("case.nrrd"). A simulated one comes with its truth.
    k, j, i = (round(extent / spacing_mm) for extent in _EXTENT_MM)
    case = fm.simulate_case(seed=1, index=0, shape_kji=(k, j, i), spacing_mm=spacing_mm, gestational_age_days=91)
    volume = case.volume
    print(f"volume: {k}x{j}x{i} voxels of {spacing_mm:g} mm")

    # 2. The pose. Load the engine once; it estimates any number of volumes.
    engine = fm.PoseEngine.load()
    estimate = engine.estimate(volume, on_progress=lambda fraction, stage: None)
    if not estimate.has_pose:
        print(f"no fetus found: {estimate.reason}")
        return
    error_mm = np.linalg.norm(estimate.pose.positions - case.pose.positions, axis=1)
    print(f"pose by {estimate.model} on {estimate.device}: mean error {error_mm.mean():.1f} mm")

    # 3. Measurements, with half of their 90 % intervals.
    found = fm.measurements(estimate.pose)
    for length in found.lengths:
        print(f"  {length.name}: {length.value_mm:.1f} ± {length.uncertainty_mm:.1f} mm")
    print(f"  gestational age by {found.dating.name}: {found.dating.weeks_text}")
    for check in found.doubts:
        print(f"  to be looked at: {check.name}, {check.remark}")

    # 4. A correction. A pose does not change: another one is made, here with the rump where the truth has it.
    positions = estimate.pose.positions.copy()
    positions[_RUMP - 1] = case.pose.positions[_RUMP - 1]
    edited = replace(estimate, pose=estimate.pose.with_positions(positions))

    # 5. Refinement around it: landmark 10 stays where it was put, the others may follow.
    refined = engine.refine(volume, edited, pinned=[_RUMP])
    print(f"moved by the refinement: {len(refined.refinement.moved)} landmarks")

    # 6. Files: landmarks that Slicer opens, tables, FHIR; all of them or none.
    kinds = ("landmarks", "csv", "json", "fhir", *(("scene", "html") if scene else ()))
    paths = fm.export(refined, volume, output, fm.ExportOptions(kinds=kinds, overwrite=True))
    for path in paths.values():
        print(f"written: {path}")
    again = fm.read_markups(paths["landmarks"])
    assert np.allclose(again.positions, refined.pose.positions, atol=1e-5)

    # 7. GPU memory: what training the paper's network takes within 3 GiB. Nothing is run.
    plan = fm.plan_memory("unet", {"memory.budget": "3GiB"})
    print(f"memory plan: {plan.summary()}")


if __name__ == "__main__":
    sys.exit(main())
