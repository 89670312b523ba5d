"""The public interface: loaded when it is used, complete for type checkers, and its examples run."""

from __future__ import annotations

import ast
import doctest
import inspect
import math
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import FetusMapV2Lib
from FetusMapV2Lib.imaging.markups import write_markups

PACKAGE = Path(FetusMapV2Lib.__file__)
NAMES = sorted(set(FetusMapV2Lib.__all__) - {"__version__"})
_HEAVY = ("torch", "numpy", "scipy", "SimpleITK", "pydicom", "typer", "lightning", "vtk", "slicer")


def loaded_by(code: str) -> set[str]:
    """What is in ``sys.modules`` after some code ran in an interpreter of its own."""
    code = f"import sys; sys.path.insert(0, {str(PACKAGE.parents[1])!r}); {code}; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())


def test_importing_the_package_loads_nothing_else() -> None:
    added = loaded_by("import FetusMapV2Lib") - loaded_by("import importlib, typing")
    assert added == {"FetusMapV2Lib", "FetusMapV2Lib.core", "FetusMapV2Lib.core.version"}


def test_a_name_loads_no_more_than_it_needs() -> None:
    assert not loaded_by("from FetusMapV2Lib import UserError").intersection(_HEAVY)
    assert "torch" not in loaded_by("from FetusMapV2Lib import Pose, Volume, read_volume, read_markups, measurements")


def test_type_checkers_see_the_names_where_they_are() -> None:
    tree = ast.parse(PACKAGE.read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module != "importlib"]
    seen = {alias.name: node.module for node in imports for alias in node.names}
    modules = {name: f"FetusMapV2Lib.{module}" for name, module in FetusMapV2Lib._MODULES.items()}
    assert {name: module for name, module in seen.items() if name in NAMES} == modules
    assert sorted(modules) == NAMES and set(NAMES) <= set(dir(FetusMapV2Lib))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Poses'"):
        _ = FetusMapV2Lib.Poses  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "name, package, extra", [("train", "lightning", "train"), ("evaluate", "matplotlib", "evaluate")]
)
def test_a_name_whose_package_is_missing_says_how_to_install_it(monkeypatch, name, package, extra) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(vars(FetusMapV2Lib), name, raising=False)
    with pytest.raises(FetusMapV2Lib.UserError, match=rf'pip install "\.\[{extra}\]"'):
        getattr(FetusMapV2Lib, name)


@pytest.fixture(scope="module")
def beginning(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the examples go on from: the names of the package's own example, in a folder with the files of the case."""
    names: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("examples"))
        run_examples(FetusMapV2Lib, "FetusMapV2Lib", names)
        write_case(names["case"])
        yield names


def write_case(case: Any) -> None:
    from FetusMapV2Lib.imaging.writing import write_volume

    write_volume("case-0000.nrrd", case.volume)
    write_markups("case-0000.mrk.json", case.pose)


def run_examples(thing: Any, name: str, names: dict[str, Any]) -> int:
    """Run the examples in the docstring of a thing and of its public methods; `names` gains what they define."""
    finder = doctest.DocTestFinder(recurse=inspect.isclass(thing))
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in finder.find(thing, name, globs=names):
        said: list[str] = []
        runner.run(test, out=said.append, clear_globs=False)
        assert not runner.failures, "".join(said)
        names.update(test.globs)
    return runner.tries


@pytest.mark.parametrize("name", NAMES)
def test_examples_run(name: str, beginning: dict[str, Any]) -> None:
    thing = getattr(FetusMapV2Lib, name)
    assert run_examples(thing, name, {**beginning, "math": math, "Path": Path, "replace": replace})
