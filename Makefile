# Two commands do everything: `make demo` (from a volume to an edited pose) and `make test` (every check).
# Both set up .venv by themselves; needs Python 3.10+ and the packages that `make system-packages` installs.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

.PHONY: setup system-packages demo test test-quick test-lowest lint rooms docs check-lists translations screenshots \
	benchmark-accuracy benchmark-speed gpu-check bare-root container-root clean

setup: $(STAMP)

system-packages:
	@Testing/packaging/system_packages.sh install

$(STAMP): pyproject.toml constraints.txt
	@Testing/packaging/system_packages.sh check
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[test]"
	touch $(STAMP)

demo: setup
	$(BIN)/fetusmap demo --output demo-output --overwrite

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(MAKE) --jobs 2 --output-sync types-library rooms types-windows types-panel

rooms:
	$(BIN)/lint-imports

types-library:
	$(BIN)/mypy -p FetusMapV2Lib --platform linux --cache-dir .mypy_cache/linux

types-windows:
	$(BIN)/mypy --config-file Testing/packaging/windows_types.ini --cache-dir .mypy_cache/win32

types-panel:
	$(BIN)/mypy --config-file Testing/bench/panel_types.ini --cache-dir .mypy_cache/panel

# Four processes for two cores, as many tests wait for other processes; files stay whole and keep the order of
# Testing/conftest.py: those with slow tests first.
# Compiled modules are kept, whatever the environment says: the tests start hundreds of processes.
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 QT_QPA_PLATFORM=offscreen $(BIN)/python -m pytest \
	-n 4 --dist loadfile --no-loadscope-reorder

test: lint
	$(PYTEST)

test-quick: setup
	$(PYTEST) -m quick

# The library with the lowest versions that pyproject.toml accepts, in an environment of its own (about 6 GB).
LOWEST_PYTHON ?= python3.10
test-lowest:
	Testing/packaging/lowest_versions.sh $(LOWEST_PYTHON)

# Both commands on a Debian that has nothing but the packages of Testing/packaging/debian-packages.txt; needs root.
bare-root:
	Testing/packaging/bare_root.sh

# What examples/cluster/Dockerfile does, in such a root, and a batch in it; needs root.
container-root:
	Testing/packaging/bare_root.sh --container

# The documentation as a site in build/site.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Rewrite the file lists that CMake installs, the drawing of the rooms, and the pictures of the docs.
check-lists: setup
	$(BIN)/python Testing/packaging/update_cmake_lists.py
	$(BIN)/python Testing/packaging/draw_rooms.py

# Collect the texts of the panel for its translations; new ones are marked as unfinished.
translations: setup
	$(BIN)/python Testing/packaging/update_translations.py

screenshots: setup
	FETUSMAPV2_PICTURES=docs/images QT_QPA_PLATFORM=offscreen $(BIN)/python -m pytest Testing/module/test_acceptance_scenario.py -k sample_data

# Everything that only a GPU can say, within 14 minutes; call it again until nothing is left. `GPU=--rehearse` tries it here.
gpu-check: setup
	$(BIN)/python Testing/benchmarks/gpu.py $(GPU)

benchmark-accuracy: setup
	$(BIN)/python Testing/benchmarks/accuracy.py

benchmark-speed: setup
	$(BIN)/python Testing/benchmarks/estimate_speed.py

clean:
	rm -rf build demo-output
