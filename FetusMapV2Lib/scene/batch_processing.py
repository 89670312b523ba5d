"""Many changes of a scene as one for its views: they look at it once, at the end."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import slicer


@contextlib.contextmanager
def batch_processing(scene: slicer.vtkMRMLScene) -> Iterator[None]:
    """Let views and selectors wait until the end of the block; each would otherwise follow every single node."""
    scene.StartState(scene.BatchProcessState)
    try:
        yield
    finally:
        scene.EndState(scene.BatchProcessState)
