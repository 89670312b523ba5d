"""Two small simulated patients as files, and the fetus of the first."""

from __future__ import annotations

from pathlib import Path

import pytest

from FetusMapV2Lib.imaging.case_search import CaseFiles, find_cases
from FetusMapV2Lib.phantom.simulated_case import simulate_case, write_case

#: Seeds of the patients; the model finds both.
SEEDS = (13, 5)


@pytest.fixture(scope="session")
def patients(tmp_path_factory: pytest.TempPathFactory) -> list[CaseFiles]:
    """``case-0000`` and ``case-0001``, small enough for a quick estimate."""
    folder = tmp_path_factory.mktemp("patients")
    for number, seed in enumerate(SEEDS):
        write_case(folder, simulate_case(seed, 0, shape_kji=(80, 60, 60), spacing_mm=1.8), number)
    return find_cases(folder)


@pytest.fixture
def landmarks_file(patients: list[CaseFiles]) -> Path:
    return patients[0].landmarks_path
