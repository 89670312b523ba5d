"""What all tests share: no waiting for the disk, a user without models, the quick tests, the order of all."""

import contextlib
import gc
import os
import signal
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

os.fsync = lambda descriptor: None  # what tests write need not outlast a power cut

# Who starts the tests in the background of a shell, or with nohup, has them ignore Ctrl-C, which some tests send.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Without an NVIDIA GPU, Triton's interpreter runs the kernels; Triton reads this when it is first imported.
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")

# A busy machine is no fault of what is tested.
with contextlib.suppress(ImportError):
    hypothesis = import_module("hypothesis")
    hypothesis.settings.register_profile(
        "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
    )
    hypothesis.settings.load_profile("patient")

HERE = Path(__file__).parent

#: Marked `quick`: the folders, files and single tests of `make test-quick`, for every room, on every system.
QUICK = (
    "core/test_atomic_files.py",
    "core/test_decimal_point.py",
    "core/test_errors.py",
    "core/test_jobs.py",
    "core/test_json_files.py",
    "core/test_label_layout.py",
    "core/test_safe_text.py",
    "core/test_serialisation.py",
    "core/test_user_folders.py",
    "anatomy",
    "imaging/dicom/test_philips.py",
    "imaging/formats/test_kretz.py",
    "imaging/formats/test_metaimage.py",
    "imaging/formats/test_nifti.py",
    "imaging/formats/test_nrrd.py",
    "imaging/test_case_search.py",
    "imaging/test_geometry.py",
    "imaging/test_grid.py",
    "imaging/test_markups.py",
    "imaging/test_reading.py",
    "imaging/test_writing.py",
    "network/test_heatmap.py",
    "network/test_unet.py",
    "phantom/test_build.py",
    "phantom/test_fetus.py",
    "phantom/test_ultrasound_probe.py",
    "memory/paper/test_graph.py",
    "memory/test_planner.py",
    "models/test_calibration.py",
    "models/test_model_index.py",
    "models/test_pose_library.py",
    "estimation/test_body_hypotheses.py",
    "estimation/test_bundled_model.py::test_a_fetus_is_found_where_it_is",
    "estimation/test_detection.py",
    "estimation/test_limb_decoding.py",
    "estimation/test_network_views.py",
    "estimation/test_shape_prior.py",
    "remote/test_messages.py",
    "training/test_losses.py",
    "training/test_network_images.py",
    "training/test_preset.py",
    "evaluation/test_accuracy_table.py",
    "evaluation/test_metrics.py",
    "evaluation/test_statistics.py",
    "sending/test_destinations.py",
    "scene/test_observations.py",
    "scene/test_pose_scene.py",
    "scene/test_pose_snapshot.py",
    "presenting",
    "reporting/test_fhir.py",
    "reporting/test_guide_map.py",
    "reporting/test_values.py",
    "exporting/test_result_document.py",
    "cli/test_app.py",
    "cli/test_estimate.py::test_from_file_to_files",
    "cli/test_result_names.py",
    "module/test_panel.py::test_estimate_shows_landmarks_measurements_and_the_research_line",
    "packaging/test_documentation.py",
    "packaging/test_project_files.py",
    "test_public_api.py::test_a_name_whose_package_is_missing_says_how_to_install_it",
    "test_public_api.py::test_an_unknown_name_is_an_attribute_error",
    "test_public_api.py::test_importing_the_package_loads_nothing_else",
    "test_public_api.py::test_type_checkers_see_the_names_where_they_are",
)

#: Files of more than ten seconds in all, longest first; they begin right after those that have a slow test.
LONG = (
    "serving/test_page.py",
    "memory/test_planner.py",
    "module/test_two_patients_scenario.py",
    "memory/test_benchmark.py",
    "estimation/test_bundled_model.py",
    "packaging/test_wheel.py",
    "memory/paper/test_framework.py",
    "module/test_acceptance_scenario.py",
    "cli/test_items.py",
    "cli/test_estimate.py",
    "module/test_report.py",
    "cli/test_evaluate.py",
    "training/test_presets.py",
    "estimation/test_drawn_before.py",
    "module/test_movement.py",
    "cli/test_reproduce.py",
    "module/test_examples.py",
    "module/test_manners.py",
    "phantom/test_simulated_case.py",
    "phantom/test_ultrasound.py",
    "adaptation/test_adapting.py",
)

#: Time limit of a test marked `slow`: many times what it takes, for machines that are slow and busy.
SLOW_LIMIT_S = 1800


def place_of(item: pytest.Item) -> str:
    """The name of a test as in `QUICK`."""
    path = item.path.relative_to(HERE).as_posix()
    return f"{path}::{getattr(item, 'originalname', item.name)}"


def is_quick(place: str) -> bool:
    return any(place == one or place.startswith((f"{one}/", f"{one}::")) for one in QUICK)


def pytest_configure(config: pytest.Config) -> None:
    for place in (*QUICK, *LONG):
        if not (HERE / place.partition("::")[0]).exists():
            raise pytest.UsageError(f"Testing/conftest.py names Testing/{place}, which does not exist")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Import no other file for the quick tests: that alone takes half a minute."""
    if config.getoption("markexpr") != "quick" or collection_path.suffix != ".py":
        return None
    place = collection_path.relative_to(HERE).as_posix()
    return None if is_quick(place) or any(one.startswith(f"{place}::") for one in QUICK) else True


@pytest.hookimpl(hookwrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """Collect without the collector of garbage, which goes through all modules and tests again and again.

    They stay to the end, so later collections need not look at them either: one of everything takes half a second.
    """
    gc.disable()
    with contextlib.suppress(ImportError, AttributeError):
        rewrite_a_share(session.config)
    yield
    gc.freeze()
    gc.enable()


def rewrite_a_share(config: pytest.Config) -> None:
    """Of several processes that collect the same files, let each prepare the assertions of a part of them for all.

    Otherwise each does it for all files at the same moment, which is half of what collecting takes. Where pytest has
    moved what is used here, that is what happens.
    """
    from _pytest.assertion import rewrite

    workers = getattr(config, "workerinput", None)
    if workers is None or sys.dont_write_bytecode or config.args_source != config.ArgsSource.TESTPATHS:
        return
    state = config.stash[rewrite.assertstate_key]
    files = [path for path in sorted(HERE.rglob("test_*.py")) if not pytest_ignore_collect(path, config)]
    for path in files[int(workers["workerid"].removeprefix("gw")) :: workers["workercount"]]:
        folder = rewrite.get_cache_dir(path)
        kept = folder / f"{path.stem}{rewrite.PYC_TAIL}"
        if rewrite._read_pyc(path, kept) is None and rewrite.try_makedirs(folder):
            with contextlib.suppress(SyntaxError):  # which collecting tells as it should be told
                source, code = rewrite._rewrite_test(path, config)
                rewrite._write_pyc(state, code, source, kept)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the quick tests, give the slow ones their time, and put files with slow tests and long files first.

    So no process is left alone with a slow one at the end.
    """
    slow_files = set()
    for item in items:
        if item.get_closest_marker("slow"):
            slow_files.add(item.path)
            item.add_marker(pytest.mark.timeout(SLOW_LIMIT_S))
        elif is_quick(place_of(item)):
            item.add_marker(pytest.mark.quick)
    ranks = {HERE / place: rank for rank, place in enumerate(LONG, 1)} | dict.fromkeys(slow_files, 0)
    items.sort(key=lambda item: ranks.get(item.path, len(LONG) + 1))
    if len({item.path.relative_to(HERE).parts[0] for item in items}) > 1:
        # Some rooms draw by Mesa, others load Triton, whose LLVM ends a process in which Mesa's has drawn before.
        with contextlib.suppress(ImportError):
            import_module("triton")


@pytest.fixture(scope="session", autouse=True)
def own_data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user without models, whoever runs the tests; the folder does not exist."""
    folder = tmp_path_factory.getbasetemp() / "no user data"
    os.environ["FETUSMAPV2_DATA"] = str(folder)
    return folder
