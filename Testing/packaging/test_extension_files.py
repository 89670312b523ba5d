"""The package that Slicer would install: file lists, metadata, and a run from the installed tree alone."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from FetusMapV2Lib.imaging.dicom.dataset import ENHANCED_US_VOLUME, PHILIPS_CARTESIAN

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "Testing" / "packaging" / "update_cmake_lists.py"
STAND_IN = ROOT / "Testing" / "bench" / "cmake"
needs_cmake = pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")

#: Runs where only the installed tree, the bench and Python's own packages can be imported.
_ESTIMATE = """
import os, sys
from pathlib import Path
tree = Path(sys.argv[1])
from bench import application
scene = application.start()
from bench.window import MainWindow
sys.path.insert(0, str(tree))
import FetusMapV2Lib
assert Path(FetusMapV2Lib.__file__).is_relative_to(tree), FetusMapV2Lib.__file__
from FetusMapV2Lib.phantom.simulated_case import simulate_case
from FetusMapV2Lib.scene.volume_nodes import add_volume_node
add_volume_node(scene, simulate_case(11, 0, shape_kji=(80, 60, 60), spacing_mm=1.8).volume)
window = MainWindow()
window.load(tree / "FetusMapV2.py", lambda python: python.FetusMapV2Logic())
ui = window.module_widget.ui
window.click(ui.estimateButton)
assert window.wait_until(lambda: not window.module_widget.state.running)
print("MESSAGE", ui.messageLabel.text)
print("ROWS", ui.resultsTable.rowCount, ui.resultsTable.item(0, 1).text(), flush=True)
os._exit(0)
"""


def test_lists_are_those_of_the_tree():
    result = subprocess.run([sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_metadata_agrees():
    cmake = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    values = dict(re.findall(r'set\(EXTENSION_(\w+) "([^"]*)"\)', cmake))
    s4ext = (ROOT / "FetusMapV2.s4ext").read_text(encoding="utf-8")
    entry = json.loads((ROOT / "FetusMapV2.json").read_text(encoding="utf-8"))
    assert values["DEPENDS"] == "PyTorch"
    assert entry["build_dependencies"] == ["PyTorch"]
    assert "\ndepends PyTorch\n" in s4ext
    assert entry["category"] == values["CATEGORY"]
    assert f"category {values['CATEGORY']}" in s4ext
    assert f"description {values['DESCRIPTION']}" in s4ext
    assert f"iconurl {values['ICONURL']}" in s4ext
    assert entry["scm_url"] in s4ext
    # The schema of catalogue entries, 1.0.2, allows these and no others.
    texts = {"$schema", "build_subdirectory", "category", "dicom_support_rule", "scm_revision", "scm_type", "scm_url"}
    assert set(entry) <= texts | {"build_dependencies", "enabled", "tier"}
    assert entry["$schema"].endswith("/slicer-extension-catalog-entry-schema-v1.0.2.json#")
    assert all(isinstance(entry[name], str) for name in texts & set(entry))
    assert entry["tier"] in range(1, 6)


def test_the_catalogue_names_the_dicom_classes_that_are_read():
    rule = json.loads((ROOT / "FetusMapV2.json").read_text(encoding="utf-8"))["dicom_support_rule"]
    classes = re.findall(r"\(SOPClassUID == '([0-9.]+)'\)", rule)
    assert classes == [ENHANCED_US_VOLUME, PHILIPS_CARTESIAN]
    assert rule == " or ".join(f"(SOPClassUID == '{uid}')" for uid in classes)


@needs_cmake
def test_installed_tree_is_complete(installed):
    names = {path.relative_to(installed).as_posix() for path in installed.rglob("*") if path.is_file()}
    assert {"FetusMapV2.py", "Resources/UI/FetusMapV2.ui", "Resources/Icons/FetusMapV2.png"} <= names
    assert {"FetusMapV2Lib/__init__.py", "Resources/Landmarks/fetusmapv2.json", "Resources/Models/models.json"} <= names
    source = {p.relative_to(ROOT).as_posix() for p in (ROOT / "FetusMapV2Lib").rglob("*.py")}
    assert source <= names


@needs_cmake
@pytest.mark.slow
def test_bundled_model_estimates_from_the_installed_tree_alone(installed, tmp_path):
    bench = tmp_path / "bench only"
    shutil.copytree(ROOT / "Testing" / "bench", bench / "bench", ignore=shutil.ignore_patterns("__pycache__"))
    environment = dict(os.environ, PYTHONPATH=str(bench), QT_QPA_PLATFORM="offscreen", PYTHONSAFEPATH="1")
    command = [sys.executable, "-c", _ESTIMATE, str(installed)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    (rows,) = (line for line in result.stdout.splitlines() if line.startswith("ROWS"))
    assert rows.startswith("ROWS 12 ") and rows.endswith(" mm"), result.stdout + result.stderr


@needs_cmake
def test_a_forgotten_file_stops_the_configuration(tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("CMakeLists.txt", "FetusMapV2", "FetusMapV2Lib", "Resources"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
        else:
            shutil.copy(source, copy / name)
    (copy / "FetusMapV2Lib" / "core" / "errors.py").unlink()
    command = ["cmake", "-S", str(copy), "-B", str(tmp_path / "build"), f"-DSlicer_DIR={STAND_IN}"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode != 0
    assert "nonexistent" in result.stderr
