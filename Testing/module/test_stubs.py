"""The stubs that mypy reads for Slicer's modules promise nothing that the bench, or slicer-core, lacks."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

STUBS = Path(__file__).resolve().parents[1] / "bench" / "stubs"
#: Classes of the stubs whose objects the bench makes from classes of other names, each with how to get one.
_OBJECTS = {
    "slicer.Application": "slicer.app",
    "slicer.LayoutManager": "slicer.app.layoutManager()",
    "slicer.SliceWidget": "slicer.app.layoutManager().sliceWidget('Red')",
    "slicer.ThreeDWidget": "slicer.app.layoutManager().threeDWidget(0)",
    "slicer.View": "slicer.app.layoutManager().sliceWidget('Red').sliceView()",
    "slicer.InteractorStyle": "slicer.app.layoutManager().sliceWidget('Red').sliceView().interactorStyle()",
    "slicer.UserInformation": "slicer.app.applicationLogic().GetUserInformation()",
    "slicer.modules.MarkupsModule": "slicer.modules.markups",
    "slicer.modules.MarkupsLogic": "slicer.modules.markups.logic()",
    "slicer.modules.PlotsModule": "slicer.modules.plots",
    "slicer.modules.PlotsLogic": "slicer.modules.plots.logic()",
}
#: Attributes that only objects have, or that stand for any name.
_OF_OBJECTS = {
    "slicer.util.ChildWidgets",
    "slicer.ScriptedLoadableModule.ScriptedLoadableModule",
    "slicer.ScriptedLoadableModule.ScriptedLoadableModuleLogic",
    "slicer.ScriptedLoadableModule.ScriptedLoadableModuleWidget",
}


def names(body: list[ast.stmt]) -> Iterator[str]:
    """The functions and attributes that a class or a module of a stub declares."""
    for statement in body:
        if isinstance(statement, ast.FunctionDef):
            yield statement.name
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            yield statement.target.id


def stubs() -> list[tuple[str, ast.Module]]:
    """Module names and trees of all stubs."""
    found = []
    for path in sorted(STUBS.rglob("*.pyi")):
        module = ".".join(path.relative_to(STUBS).with_suffix("").parts).removesuffix(".__init__")
        found.append((module, ast.parse(path.read_text(encoding="utf-8"))))
    return found


@pytest.mark.parametrize(("module", "tree"), stubs(), ids=[module for module, _tree in stubs()])
def test_the_bench_has_all_that_a_stub_declares(main_window: Any, module: str, tree: ast.Module) -> None:
    import slicer

    real = importlib.import_module(module)
    missing = [f"{module}.{name}" for name in names(tree.body) if not hasattr(real, name)]
    for statement in tree.body:
        if not isinstance(statement, ast.ClassDef):
            continue
        full = f"{module}.{statement.name}"
        found = eval(_OBJECTS[full], {"slicer": slicer}) if full in _OBJECTS else getattr(real, statement.name, None)
        declared = [] if full in _OF_OBJECTS else list(names(statement.body))
        if found is None and full not in _OF_OBJECTS:
            missing.append(full)
        missing += [f"{full}.{name}" for name in declared if found is not None and not hasattr(found, name)]
    assert not missing
