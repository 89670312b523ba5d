"""Rules that the module's files must keep, read from the files themselves and from a fresh process."""

from __future__ import annotations

import ast
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted([*(ROOT / "FetusMapV2").rglob("*.py"), *(ROOT / "FetusMapV2Lib" / "presenting").glob("*.py")])
UI = {path.name: ET.parse(path).getroot() for path in sorted((ROOT / "FetusMapV2" / "Resources" / "UI").glob("*.ui"))}
FRAME = "FetusMapV2.ui"


@pytest.mark.parametrize("name", UI)
def test_every_selector_is_connected_to_the_scene(name):
    ui = UI[name]
    root = ui.find("widget")
    selectors = {w.get("name") for w in ui.iter("widget") if w.get("class").startswith("qMRML") and w is not root}
    connected = {
        c.findtext("receiver")
        for c in ui.iter("connection")
        if c.findtext("sender") == root.get("name")
        and c.findtext("signal") == "mrmlSceneChanged(vtkMRMLScene*)"
        and c.findtext("slot") == "setMRMLScene(vtkMRMLScene*)"
    }
    assert selectors == connected
    assert not selectors or root.get("class") == "qMRMLWidget"


def test_there_are_selectors_to_connect():
    assert sum(w.get("class") == "qMRMLNodeComboBox" for ui in UI.values() for w in ui.iter("widget")) >= 2


def test_names_of_widgets_are_unique_in_the_panel():
    names = [w.get("name") for ui in UI.values() for w in ui.iter("widget")]
    assert len(names) == len(set(names))


def test_bound_names_are_parameters():
    bound = {
        p.findtext("string")
        for ui in UI.values()
        for p in ui.iter("property")
        if p.get("name") == "SlicerParameterName"
    }
    tree = ast.parse((ROOT / "FetusMapV2/FetusMapV2Panel/parameters.py").read_text(encoding="utf-8"))
    node = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "FetusMapV2ParameterNode")
    parameters = {member.target.id for member in node.body if isinstance(member, ast.AnnAssign)}
    assert bound <= parameters
    assert parameters - bound == {"model"}  # a list that is known only at run time


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_translatable_texts_are_literals(path):
    # A text that is put together before _() sees it cannot be looked up in a translation.
    for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "_":
            assert len(call.args) == 1
            assert isinstance(call.args[0], ast.Constant), f"{path.name}:{call.lineno}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_the_panel_gives_no_advice_for_the_command_line(path):
    for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "line":
            assert [keyword.arg for keyword in call.keywords] == ["with_option"], f"{path.name}:{call.lineno}"


def test_research_line_is_outside_every_collapsible_part():
    top = {
        item.find("widget").get("name")
        for item in UI[FRAME].findall("widget/layout/item")
        if item.find("widget") is not None
    }
    assert "researchLabel" in top


def test_loading_the_module_imports_neither_torch_nor_pip_nor_the_scenarios_of_its_test():
    code = (
        "import sys; from pathlib import Path; from bench import application; scene = application.start()\n"
        "from bench.modules import load_module\n"
        f"load_module(Path({str(ROOT / 'FetusMapV2' / 'FetusMapV2.py')!r}))\n"
        "scenarios = {f'FetusMapV2Panel.{name}' for name in ('acceptance_scenario', 'two_patients_scenario')}\n"
        "heavy = ({'torch', 'pip', 'imp', 'lightning', 'monai'} | scenarios) & set(sys.modules)\n"
        "import os; print('HEAVY', sorted(heavy), flush=True); os._exit(0)"
    )
    command = [sys.executable, "-c", code]
    environment = {"PYTHONPATH": str(ROOT / "Testing"), "QT_QPA_PLATFORM": "offscreen", "PATH": ""}
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=500)
    assert "HEAVY []" in result.stdout, result.stdout + result.stderr
