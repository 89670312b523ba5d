#!/bin/sh
# Tests of the library, an estimate and a training among them, with the lowest versions that pyproject.toml accepts.
#
# Usage: lowest_versions.sh [PYTHON]    (the lowest is Python 3.10; makes .venv-lowest, about 6 GB)
set -eu
cd "$(dirname "$0")/../.."
environment=.venv-lowest

"${1:-python3.10}" -m venv "$environment"
"$environment/bin/python" -m pip install --quiet --constraint constraints-lowest.txt --editable ".[train,evaluate]"
"$environment/bin/python" -m pip install --quiet --constraint constraints-lowest.txt \
  pytest pytest-timeout hypothesis nibabel pynrrd highdicom fhir.resources pypdf
OMP_NUM_THREADS=1 QT_QPA_PLATFORM=offscreen "$environment/bin/python" -m pytest -m "not slow" --timeout 1200 \
  Testing/core Testing/anatomy Testing/imaging Testing/phantom Testing/network Testing/models Testing/estimation \
  Testing/training Testing/reporting Testing/remote Testing/cli/test_app.py Testing/cli/test_habits.py Testing/cli/test_models.py
