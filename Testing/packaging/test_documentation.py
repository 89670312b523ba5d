"""The documents: what they name exists, the drawing shows the rooms as they are, the site builds without a warning."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest
import yaml

import FetusMapV2Lib
from FetusMapV2Lib.core.notices import RESEARCH_USE

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}
#: Long pages begin with what to take away.
LONG = ("docs/evaluation.md", "docs/memory.md", "docs/systems.md")


def rooms() -> list[str]:
    return sorted(path.parent.name for path in (ROOT / "FetusMapV2Lib").glob("*/__init__.py"))


def test_the_drawing_is_of_the_rooms_as_they_are() -> None:
    spec = importlib.util.spec_from_file_location("draw_rooms", ROOT / "Testing" / "packaging" / "draw_rooms.py")
    draw = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(draw)
    assert sorted(chain.from_iterable(draw.floors())) == rooms()
    assert draw.with_table(TEXTS["docs/development.md"]) == TEXTS["docs/development.md"], "run `make check-lists`"
    assert draw.DRAWING.read_text(encoding="utf-8") == draw.drawing(), "run `make check-lists`"


@pytest.mark.parametrize("page", TEXTS)
def test_links_lead_somewhere(page: str) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", TEXTS[page])
    assert [target for target in targets if not (ROOT / page).parent.joinpath(target).exists()] == []


@pytest.mark.parametrize("page", TEXTS)
def test_files_that_are_named_exist(page: str) -> None:
    named = set(re.findall(r"(?<![\w./-])((?:[\w-]+/)+[\w-]+\.(?:py|sh|md|json|txt|cff))(?![\w.])", TEXTS[page]))
    places = (ROOT, ROOT / "FetusMapV2Lib", ROOT / "FetusMapV2", (ROOT / page).parent, ROOT / "Testing")
    lost = {name for name in named if not any((place / name).exists() for place in places)}
    # results of commands
    assert not {name for name in lost if not name.startswith(("run/", "results/", "predictions/"))}


def test_commands_and_targets_that_are_named_exist() -> None:
    from FetusMapV2Lib.cli.app import app

    commands = {command.name or command.callback.__name__ for command in app.registered_commands}
    commands |= {group.name for group in app.registered_groups}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([\w-]+):", makefile, flags=re.MULTILINE))
    text = "\n".join(TEXTS.values())
    assert set(re.findall(r"(?:`|^|bin/)fetusmap ([a-z][\w-]*)", text, flags=re.MULTILINE)) <= commands
    assert set(re.findall(r"(?:`|^)make ([a-z][\w-]*)", text, flags=re.MULTILINE)) <= targets | {"cmake"}


def test_every_room_and_public_name_has_its_place_in_the_reference() -> None:
    names = set(FetusMapV2Lib.__all__) - {"__version__"}
    assert set(re.findall(r"^::: FetusMapV2Lib\.(\w+)$", TEXTS["docs/api/index.md"], flags=re.MULTILINE)) == names
    assert set(re.findall(r"api/index\.md#FetusMapV2Lib\.(\w+)", TEXTS["docs/python.md"])) == names
    pages = {Path(page).stem for page in TEXTS if page.startswith("docs/api/")}
    assert pages == {"index", *rooms()} - {"cli"}
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert [page for page in TEXTS if page.startswith("docs/") and page.removeprefix("docs/") not in menu] == []


@pytest.mark.parametrize("page", LONG)
def test_a_long_page_begins_with_what_to_take_away(page: str) -> None:
    head, first, rest = TEXTS[page].split("\n## ", 2)
    assert first.startswith("What to take away")
    assert 5 <= len(first.strip().splitlines()) <= 14
    assert head.count("\n") <= 4 and len(rest) > 5000


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_loads_nothing_from_others(tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:9"
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "HTTP_PROXY": nowhere, "HTTPS_PROXY": nowhere}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    menu = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), yaml.SafeLoader)["nav"]
    assert len(pages) > 25 and [next(iter(part)) for part in menu][:5] == [
        "Home", "Clinician", "Batch user", "Researcher", "Developer",
    ]  # fmt: skip
    loaded = re.compile(r"<(?:script|img|iframe)[^>]*\ssrc=[\"']?https?:|<link[^>]*stylesheet[^>]*href=[\"']?https?:")
    for page in pages:
        assert not loaded.search(page.read_text(encoding="utf-8")), page
    assert "# 5. Refinement around it" in (tmp_path / "site" / "python.html").read_text(encoding="utf-8")
    reference = (tmp_path / "site" / "api" / "index.html").read_text(encoding="utf-8")
    assert all(f'id="FetusMapV2Lib.{name}"' in reference for name in FetusMapV2Lib._MODULES)


@pytest.mark.parametrize("name", ["single", "long", "twins"])
def test_the_reports_in_the_documents_have_the_record_on_one_sheet(name: str) -> None:
    from pypdf import PdfReader

    sheets = [page.extract_text() for page in PdfReader(ROOT / "docs" / "examples" / f"{name}.report.pdf").pages]
    assert "Signature" in sheets[0] and "Details" in sheets[1]
    assert RESEARCH_USE in " ".join(sheets[0].split()) and (ROOT / "docs" / "examples" / f"{name}.png").is_file()
