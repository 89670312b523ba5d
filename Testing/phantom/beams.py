"""Simulated volumes in a fifth of the time, for tests of what becomes of them: beams are half as dense."""

from collections.abc import Iterator

import pytest

from FetusMapV2Lib.phantom import speckle


def coarse_beams() -> Iterator[None]:
    """Fewer samples per point spread; anatomy and all steps of the imaging stay as they are. To be made a fixture."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_SAMPLES_AXIAL", "_SAMPLES_LATERAL"):
            patch.setattr(speckle, name, getattr(speckle, name) / 2)
        yield
